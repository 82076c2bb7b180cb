"""What the predictions of a run look like: confusion matrices, ROC curves and precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import SubplotSpec

from mmdc_tf.evaluation.curves import ClassCurve, class_curves
from mmdc_tf.evaluation.metrics import confusion_counts
from mmdc_tf.evaluation.predictions import class_names
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import OK, row_predictions, row_status
from mmdc_tf.report.figures import COLOURS
from mmdc_tf.report.formatting import PROTOCOL_TITLES, made_from
from mmdc_tf.report.panels import framed_figure, panel_title, panels_figure, style_axes

COLOUR_MAP = "Blues"  # one hue from light to dark: colour-blind readers lose nothing
DARK = 0.55  # share of a line above which its number stands in white
LINE_STYLES = ("-", "--", "-.", ":")
CURVES_HEIGHT, CONFUSION_HEIGHT = 3.3, 3.2  # of a panel, inches
ROW_WIDTH, ROW_HEIGHT = 10.6, 3.5  # inches; the height is of a line of panels
POOLED = "Test folds pooled, each image once a seed."
CONFUSION = f"Lines: truth; columns: prediction; per cent of the line, coloured. {POOLED}"
ROC = (
    f"Each class against the rest. {POOLED} Folds have models of their own, whose probabilities need not be on one "
    "scale: the AUC here may differ from the table's, the mean over folds. Dotted: a guess."
)
PRECISION_RECALL = (
    f"Each class against the rest. {POOLED} AP: average precision; a guess has the class's share, dotted."
)


@dataclass(frozen=True)
class RowPredictions:
    """What a finished row predicted under one protocol.

    Args:
        row: what was trained.
        protocol: one of ``splits.PROTOCOLS``.
        predictions: of all folds and seeds.
    """

    row: Row
    protocol: str
    predictions: pd.DataFrame

    @cached_property
    def curves(self) -> list[ClassCurve]:
        """As from ``class_curves``."""
        return class_curves(self.predictions)


def finished_predictions(table: PaperTable, protocol: str, folder: Path) -> list[RowPredictions]:
    """The finished rows of a table under one protocol, in the paper's order.

    Args:
        table: the paper's table.
        protocol: one of ``splits.PROTOCOLS``.
        folder: the table's, as ``OUT/table1``.

    Raises:
        InputError: a predictions file lacks a column.
    """
    rows = [row for row in table.rows if row_status(folder, row.name, protocol) == OK]
    return [RowPredictions(row, protocol, row_predictions(folder, row.name, protocol)) for row in rows]


def confusion_figure(matrix: np.ndarray, class_names: Sequence[str], title: str) -> Figure:
    """One confusion matrix: counts, per cent of each line in brackets and as colour.

    Args:
        matrix: int (k, k): rows are the truth, columns the prediction.
        class_names: k names, in the order of both.
        title: stands above.
    """
    side = 1.6 + 0.75 * len(class_names)  # inches
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    draw_confusion(axes, matrix, class_names)
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    return figure


def draw_confusion(axes: Axes, matrix: np.ndarray, class_names: Sequence[str]) -> None:
    """As ``confusion_figure``, into axes that are there."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap=COLOUR_MAP, vmin=0, vmax=1)
    for (line, column), count in np.ndenumerate(counts):
        share = shares[line, column]
        text = f"{count:,}\n{100 * share:.0f} %"
        axes.text(column, line, text, ha="center", va="center", fontsize=8, color="white" if share > DARK else "black")
    places = range(len(class_names))
    axes.set_xticks(places, class_names, fontsize=8, parse_math=False)
    axes.set_yticks(places, class_names, fontsize=8, rotation=90, va="center", parse_math=False)
    axes.set_xlabel("prediction", fontsize=8)
    axes.set_ylabel("truth", fontsize=8)
    axes.tick_params(length=0)


def confusion_overview(table: PaperTable, rows: Sequence[RowPredictions], run: dict[str, Any]) -> Figure:
    """A confusion matrix a row.

    Args:
        table: its title stands above.
        rows: at least one, all of one protocol.
        run: the content of ``run.json``.
    """
    return _overview(table, rows, run, CONFUSION_HEIGHT, _confusion_panel, "confusion matrices", CONFUSION)


def roc_overview(table: PaperTable, rows: Sequence[RowPredictions], run: dict[str, Any]) -> Figure:
    """The ROC curves of each row, one a class; arguments as ``confusion_overview``."""
    return _overview(table, rows, run, CURVES_HEIGHT, _roc_panel, "ROC curves", ROC)


def precision_recall_overview(table: PaperTable, rows: Sequence[RowPredictions], run: dict[str, Any]) -> Figure:
    """The precision-recall curves of each row, one a class; arguments as ``confusion_overview``."""
    name = "precision-recall curves"
    return _overview(table, rows, run, CURVES_HEIGHT, _precision_recall_panel, name, PRECISION_RECALL)


def row_figure(parts: Sequence[RowPredictions], run: dict[str, Any]) -> Figure:
    """One row alone, a line a protocol: confusion matrix, ROC and precision-recall curves, numbers in the legends.

    Args:
        parts: of one row, a protocol each.
        run: the content of ``run.json``.
    """
    row = parts[0].row
    caption = " ".join([*made_from(run), CONFUSION, "Curves: each class against the rest; dotted: a guess."])
    title, height = f"{row.label}, {row.citation}", ROW_HEIGHT * len(parts)
    figure, _, middle = framed_figure(ROW_WIDTH, height, title, caption, legend=False)
    panels = middle.subplots(len(parts), 3, squeeze=False)
    for (confusion, roc, recall), part in zip(panels, parts, strict=True):
        draw_confusion(confusion, confusion_counts(part.predictions), class_names(part.predictions))
        title = f"{PROTOCOL_TITLES[part.protocol]}: n = {len(part.predictions):,}"
        confusion.set_title(title, fontsize=9, loc="left")
        _draw_roc(roc, part.curves, [f"{one.class_name}: AUC {one.auc:.3f}" for one in part.curves])
        labels = [f"{one.class_name}: AP {one.average_precision:.3f}" for one in part.curves]
        _draw_precision_recall(recall, part.curves, labels)
        for axes in (roc, recall):
            style_axes(axes)
            axes.legend(loc="upper left", bbox_to_anchor=(-0.1, -0.2), fontsize=8, frameon=False, ncols=2)
    return figure


def _overview(
    table: PaperTable,
    rows: Sequence[RowPredictions],
    run: dict[str, Any],
    height: float,
    draw: Any,
    name: str,
    caption: str,
) -> Figure:
    title = f"{table.title}: {name}, {PROTOCOL_TITLES[rows[0].protocol].lower()}"
    return panels_figure(rows, height, draw, title, " ".join([*made_from(run), caption]), draw != _confusion_panel)


def _confusion_panel(figure: SubFigure, place: SubplotSpec, part: RowPredictions, is_left: bool) -> None:
    axes = figure.add_subplot(place)
    draw_confusion(axes, confusion_counts(part.predictions), class_names(part.predictions))
    panel_title(axes, part.row, "")


def _roc_panel(figure: SubFigure, place: SubplotSpec, part: RowPredictions, is_left: bool) -> None:
    axes = figure.add_subplot(place)
    _draw_roc(axes, part.curves, [one.class_name for one in part.curves])
    panel_title(axes, part.row, f"AUC {_listed({one.class_name: one.auc for one in part.curves})}")
    _finish(axes, is_left)


def _precision_recall_panel(figure: SubFigure, place: SubplotSpec, part: RowPredictions, is_left: bool) -> None:
    axes = figure.add_subplot(place)
    _draw_precision_recall(axes, part.curves, [one.class_name for one in part.curves])
    panel_title(axes, part.row, f"AP {_listed({one.class_name: one.average_precision for one in part.curves})}")
    _finish(axes, is_left)


def _draw_roc(axes: Axes, curves: Sequence[ClassCurve], labels: Sequence[str]) -> None:
    for index, (one, label) in enumerate(zip(curves, labels, strict=True)):
        axes.plot(one.false_positive_rate, one.true_positive_rate, **_look(index), label=label)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="false positive rate", ylabel="true positive rate (recall)")
    axes.set_box_aspect(1)  # as high as the confusion matrix beside it


def _draw_precision_recall(axes: Axes, curves: Sequence[ClassCurve], labels: Sequence[str]) -> None:
    for index, (one, label) in enumerate(zip(curves, labels, strict=True)):
        look = _look(index)
        precision = np.append(one.precision[:-1], one.precision[-2])  # the last one, 1 by convention, is of no sample
        axes.plot(one.recall, precision, **look, drawstyle="steps-post", label=label)
        axes.axhline(one.share, color=look["color"], linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_box_aspect(1)


def _look(index: int) -> dict[str, Any]:
    """Colour and line of a class: the line tells classes apart in print without colour too."""
    colour, line = COLOURS[index % len(COLOURS)], LINE_STYLES[index % len(LINE_STYLES)]
    return {"color": colour, "linestyle": line, "linewidth": 1.3}


def _listed(numbers: dict[str, float]) -> str:
    return ", ".join(f"{name} {number:.2f}" for name, number in numbers.items())


def _finish(axes: Axes, is_left: bool) -> None:
    """Names of vertical axes at the left edge of the figure alone; those below keep all panels equally high."""
    style_axes(axes)
    if not is_left:
        axes.set_ylabel("")
