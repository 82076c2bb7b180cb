"""What the predictions of a run look like: confusion matrices, curves, calibration, and how trainings went."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay, confusion_matrix

from mmdc_tf.errors import counted
from mmdc_tf.evaluation.calibration import SHARES, decision_curve
from mmdc_tf.evaluation.metrics import BINS
from mmdc_tf.evaluation.predictions import class_names
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.scoring import CalibratedRow
from mmdc_tf.report.figures import ACROSS, BLUE, GREEN, ORANGE, add_legend, framed, named, styled
from mmdc_tf.report.formatting import PROTOCOL_TITLES, made_from

POOLED = "Test folds pooled, each image once a seed."
GUESS = "Each class against the rest; dotted: a guess."


class Overview(NamedTuple):
    """A figure with a panel a row of the table."""

    title: str  # in small letters
    caption: str
    heights: tuple[float, ...]  # of a panel's axes, from the top, in inches
    draw: Callable[..., str | None]  # a row's data into its axes; may give facts for above them
    legend: bool = True  # that of the first axes stands above all panels


@styled
def overview(
    kind: str, table: PaperTable, rows: Sequence[tuple[Row, Any]], run: dict[str, Any], protocol: str
) -> Figure:
    """A panel a row, of one kind of ``OVERVIEWS``.

    Args:
        kind, table, run: what is drawn, and of what.
        rows: at least one, each with its data: of "reliability" and "decision" a ``CalibratedRow``, of "learning" the
            ``history.csv`` of each training as tables, of the others the predictions.
        protocol: that all are of.
    """
    view, across = OVERVIEWS[kind], min(ACROSS, len(rows))
    down = math.ceil(len(rows) / across)
    title = f"{table.title}: {view.title}, {PROTOCOL_TITLES[protocol].lower()}"
    caption = [*made_from(run), view.caption, *([CHOSEN[protocol]] if kind == "learning" else [])]
    figure = framed(max(6.0, 3.2 * across), sum(view.heights) * down, title, caption)
    grid = figure.subplots(len(view.heights) * down, across, squeeze=False, height_ratios=view.heights * down)
    panels = grid.reshape(down, -1, across).swapaxes(1, 2).reshape(down * across, -1)
    for index, panel in enumerate(panels):
        if index >= len(rows):
            [axes.remove() for axes in panel]
            continue
        row, data = rows[index]
        facts = view.draw(data, *panel)
        names = named(row.label, row.citation)
        panel[0].set_title(f"{names}\n{facts}" if facts else names, fontsize=7.5)
        if index % across:
            [axes.set_ylabel("") for axes in panel]
    if view.legend:
        add_legend(figure, panels[0][0].get_legend_handles_labels()[0])
    return figure


@styled
def row_figure(row: Row, parts: dict[str, pd.DataFrame], run: dict[str, Any]) -> Figure:
    """One row alone, a line a protocol: confusion matrix, ROC and precision-recall curves of its predictions."""
    caption = [*made_from(run), OVERVIEWS["confusion"].caption, GUESS]
    figure = framed(10.6, 3.4 * len(parts), f"{row.label}, {row.citation}", caption)
    panels = figure.subplots(len(parts), 3, squeeze=False)
    for line, (protocol, predictions) in zip(panels, parts.items(), strict=True):
        line[0].set_title(f"{PROTOCOL_TITLES[protocol]}: n = {len(predictions):,}")
        for axes, draw in zip(line, (_draw_confusion, _draw_roc, _draw_precision_recall), strict=True):
            draw(predictions, axes)
    return figure


@styled
def confusion_figure(predictions: pd.DataFrame, title: str) -> Figure:
    """One confusion matrix: counts, per cent of each line below them and as colour."""
    side = 1.6 + 0.75 * len(class_names(predictions))  # inches
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=9)
    _draw_confusion(predictions, axes)
    return figure


def _draw_confusion(predictions: pd.DataFrame, axes: Axes) -> None:
    names = class_names(predictions)
    counts = confusion_matrix(predictions["y_true"], predictions["y_pred"], labels=names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    display = ConfusionMatrixDisplay(shares, display_labels=names)
    display.plot(ax=axes, cmap="Blues", colorbar=False, im_kw={"vmin": 0, "vmax": 1})
    for text, share, count in zip(display.text_.flat, shares.flat, counts.flat, strict=True):
        text.set(text=f"{count:,}\n{100 * share:.0f} %", color="white" if share > 0.55 else "black")
    axes.grid(visible=False)
    axes.set(xlabel="prediction", ylabel="truth")
    [label.set(rotation=90, va="center") for label in axes.get_yticklabels()]


def _sides(predictions: pd.DataFrame) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, truth and probability of each class that has samples on both sides."""
    truths = {name: (predictions["y_true"] == name).to_numpy() for name in class_names(predictions)}
    return [
        (name, one, predictions[f"p_{name}"].to_numpy()) for name, one in truths.items() if 0 < one.sum() < len(one)
    ]


def _draw_roc(predictions: pd.DataFrame, axes: Axes) -> None:
    for name, truth, probability in _sides(predictions):
        RocCurveDisplay.from_predictions(truth, probability, name=name, ax=axes)
    axes.plot([0, 1], [0, 1], ":", color="grey", lw=0.8)
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")


def _draw_precision_recall(predictions: pd.DataFrame, axes: Axes) -> None:
    for name, truth, probability in _sides(predictions):
        shown = PrecisionRecallDisplay.from_predictions(truth, probability, name=name, ax=axes, drop_intermediate=True)
        axes.axhline(truth.mean(), color=shown.line_.get_color(), linestyle=":", lw=0.8)
    axes.set(xlabel="recall", ylabel="precision")


def _draw_reliability(row: CalibratedRow, upper: Axes, lower: Axes) -> str:
    for name, part, colour in (("before", row.before, ORANGE), ("after temperature scaling", row.after, BLUE)):
        confidence = part[[f"p_{one}" for one in class_names(part)]].max(axis=1).clip(upper=1.0)
        right = part["y_true"] == part["y_pred"]
        CalibrationDisplay.from_predictions(
            right, confidence, n_bins=BINS, pos_label=True, name=name, ax=upper, color=colour
        )
        lower.hist(confidence, BINS, range=(0, 1), histtype="step", color=colour)
    upper.legend_ = None  # it stands above all panels
    upper.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="", ylabel="accuracy (fraction)")
    upper.tick_params(labelbottom=False)
    lower.set(xlim=(0, 1), xlabel="confidence (fraction)", ylabel="predictions")
    lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    return f"T {row.temperature:.2f}, ECE {row.scores['ece_before']:.3f} → {row.scores['ece_after']:.3f}"


def _draw_decision(row: CalibratedRow, axes: Axes) -> str:
    truth, _ = row.decisions()
    curve = decision_curve(truth, row.after[f"p_{row.positive}"].to_numpy()).set_index("threshold")
    for name, colour, line in (("model", BLUE, "-"), ("treat_all", GREEN, "--"), ("treat_none", "black", ":")):
        axes.plot(curve[name], line, color=colour, label=name.replace("_", " "))
    axes.set(xlim=(0, 1), ylim=(-0.3 * truth.mean(), 1.1 * truth.mean()))  # treating all falls without limit
    axes.set(xlabel="threshold probability", ylabel="net benefit per image")
    reached = [row.reached[name] for name in SHARES[:2]]
    found, cleared = ("n/a" if share is None else f"{100 * share:.1f} %" for share in reached)
    asked = 100 * row.files[0]["sensitivity_asked"]
    return f"{row.positive}: sensitivity {found} (asked {asked:g} %),\nspecificity {cleared}"


def _draw_learning(trainings: Sequence[pd.DataFrame], upper: Axes, lower: Axes) -> str:
    mean = pd.concat(trainings).groupby("epoch").mean()
    for axes, name, factor in ((upper, "loss", 1), (lower, "accuracy", 100)):
        for column, colour, label in ((name, ORANGE, "training"), (f"val_{name}", BLUE, "validation")):
            for one in trainings:
                axes.plot(one["epoch"], factor * one[column], "-", color=colour, lw=0.6, alpha=0.5)
            axes.plot(factor * mean[column], "o-", color=colour, lw=1.6, ms=2.5, label=label)
    upper.set(ylabel="loss (nats)", ylim=(0, 1.08 * upper.dataLim.y1), xlim=lower.get_xlim())
    upper.tick_params(labelbottom=False)
    lower.set(ylabel="accuracy (per cent)", ylim=(0, 100), xlabel="epoch")
    lower.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return counted(len(trainings), "training")


OVERVIEWS = {
    "confusion": Overview(
        "confusion matrices",
        f"Lines: truth; columns: prediction; per cent of the line, coloured. {POOLED}",
        (3.2,),
        _draw_confusion,
        legend=False,
    ),
    "roc": Overview(
        "ROC curves",
        f"{GUESS} {POOLED} Folds have models of their own, whose probabilities need not be on one scale: the AUC here "
        "may differ from the table's, the mean over folds.",
        (3.3,),
        _draw_roc,
        legend=False,
    ),
    "precision-recall": Overview(
        "precision-recall curves",
        f"{GUESS} {POOLED} AP: average precision.",
        (3.3,),
        _draw_precision_recall,
        legend=False,
    ),
    "reliability": Overview(
        "reliability before and after temperature scaling",
        f"Highest probability in {BINS} bins of equal width. {POOLED} T: temperature, mean over folds and seeds, each "
        "fitted on its training's validation part. ECE: expected calibration error, a fraction. Bins with few "
        "predictions scatter.",
        (2.8, 0.9),
        _draw_reliability,
    ),
    "decision": Overview(
        "decision curves",
        "Net benefit: true positives minus false positives weighted by the odds of the threshold, per image (Vickers "
        f"and Elkin 2006), after temperature scaling. {POOLED} Above the panels: at each training's threshold, which "
        "reaches the sensitivity asked for on the validation part.",
        (2.9,),
        _draw_decision,
    ),
    "learning": Overview(
        "learning curves",
        "Thin: each fold and seed; thick: their mean, at each epoch over the trainings that came so far (they stop "
        "early). Training: mean over the epoch, on moved images, with dropout and class weights, so that it may lie "
        "below validation. Rows without a network have no epochs.",
        (1.9, 1.9),
        _draw_learning,
    ),
}
CHOSEN = {
    "paper": "Under the paper protocol the validation images are the scored ones: the best epoch is the number.",
    "image-level": "The best epoch on the validation part is kept; the test fold has relatives in both other parts.",
    "leak-free": "The best epoch on the validation part is kept; the test fold has no part in it.",
}
