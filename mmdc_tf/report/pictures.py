"""The figures of a table's report: each drawn once, written as PNG and PDF, and kept as an address for the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from mmdc_tf.datasets.splits import PROTOCOLS
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import OK
from mmdc_tf.io import picture_address, write_with
from mmdc_tf.report.calibration_figures import calibrated_rows, decision_figure, reliability_figure
from mmdc_tf.report.dot_plot import dot_plot
from mmdc_tf.report.figures import bars, write_png
from mmdc_tf.report.formatting import PROTOCOL_TITLES
from mmdc_tf.report.learning_curves import learning_figure, row_histories
from mmdc_tf.report.result_figures import (
    RowPredictions,
    confusion_overview,
    finished_predictions,
    precision_recall_overview,
    roc_overview,
    row_figure,
)

MOST_PANELS = 8
"""Rows in one figure: two lines of panels, which stay readable on a printed page."""
PAGE_COLOURS = 64
KINDS = ("accuracy", "bars", "confusion", "roc", "precision-recall", "reliability", "decision", "learning", "row")
FREE = "leak-free"
Draw = Callable[[PaperTable, Sequence[Any], dict[str, Any]], Figure]
_Overview = tuple[str, str, str, Sequence[Any], Draw]


@dataclass(frozen=True)
class Picture:
    """A figure that was drawn.

    Args:
        kind: of ``KINDS``.
        title: for people: of a row's own figure its label and source.
        alt: what it shows, for who cannot see it.
        address: the picture in ``PAGE_COLOURS`` colours as a ``data:`` address.
        width: of the figure in inches.
        file: the PNG; the PDF lies beside it.
    """

    kind: str
    title: str
    alt: str
    address: str
    width: float
    file: Path


@dataclass(frozen=True)
class _Drawing:
    """A figure to be drawn: what it shows, and how."""

    kind: str
    part: str
    title: str
    alt: str
    draw: Callable[[], Figure]


def table_pictures(
    table: PaperTable, results: pd.DataFrame, run: dict[str, Any], output: Path, place: Path
) -> list[Picture]:
    """Draws all figures of a table and writes them as ``TABLE-KIND.png`` and ``.pdf``.

    Args:
        table: the paper's table.
        results: as from ``mmdc_tf.experiments.results.table_results``.
        run: the content of ``run.json``.
        output: the run's folder.
        place: the folder for the files. Figures of this table there that are not drawn again are removed.

    Returns:
        The figures that have something to show, in the order of ``KINDS``.

    Raises:
        InputError: a file of the run cannot be used.
        OSError: a file cannot be written.
    """
    found = [_picture(drawing, table.name, place) for drawing in _drawings(table, results, run, output)]
    _remove_others(table.name, place, {picture.file.stem for picture in found})
    return found


def _drawings(table: PaperTable, results: pd.DataFrame, run: dict[str, Any], output: Path) -> Iterator[_Drawing]:
    if not (results["status"] == OK).any():
        return
    alt = "Accuracy of each row: published, under the paper protocol and leak-free, with intervals"
    title = "Published, paper protocol, leak-free"
    yield _Drawing("accuracy", "", title, alt, partial(dot_plot, table, results, run))
    if table.figure:
        alt = "Bars: accuracy, precision, recall and F1 of each row under each protocol"
        yield _Drawing("bars", "", "The paper's four numbers as bars", alt, partial(bars, table, results, run))
    parts = {protocol: finished_predictions(table, protocol, output / table.name) for protocol in PROTOCOLS}
    for kind, name, title, rows, draw in _overviews(table, parts[FREE], output):
        yield from _in_parts(kind, name, title, rows, partial(_of_some, draw, table, run))
    yield from _of_rows(table, parts, run)


def _overviews(table: PaperTable, free: list[RowPredictions], output: Path) -> Iterator[_Overview]:
    """Kind, part of the name, title, rows and what draws them."""
    yield "confusion", "", "Confusion matrices, leak-free", free, confusion_overview
    yield "roc", "", "ROC curves, leak-free", free, roc_overview
    yield "precision-recall", "", "Precision-recall curves, leak-free", free, precision_recall_overview
    rows = calibrated_rows(table, FREE, output)
    yield "reliability", "", "Reliability before and after temperature scaling, leak-free", rows, reliability_figure
    decided = [row for row in rows if row.positive is not None]
    yield "decision", "", "Decision curves, leak-free", decided, decision_figure
    for protocol in PROTOCOLS[::-1]:
        title = f"Learning curves, {PROTOCOL_TITLES[protocol].lower()}"
        trained = row_histories(table, protocol, output / table.name)
        yield "learning", protocol, title, trained, partial(learning_figure, protocol=protocol)


def _of_some(draw: Draw, table: PaperTable, run: dict[str, Any], rows: Sequence[Any]) -> Figure:
    return draw(table, rows, run)


def _in_parts(
    kind: str, name: str, title: str, rows: Sequence[Any], draw: Callable[[Sequence[Any]], Figure]
) -> Iterator[_Drawing]:
    """A figure for so many rows at a time as stay readable."""
    parts = [rows[start : start + MOST_PANELS] for start in range(0, len(rows), MOST_PANELS)]
    for index, part in enumerate(parts, start=1):
        place = "-".join(filter(None, (name, str(index) if len(parts) > 1 else "")))
        alt = f"{title}: {', '.join(one.row.label for one in part)}"
        yield _Drawing(kind, place, title, alt, partial(draw, part))


def _of_rows(table: PaperTable, parts: dict[str, list[RowPredictions]], run: dict[str, Any]) -> Iterator[_Drawing]:
    """A figure of each row alone."""
    for row in table.rows:
        sides = [part for protocol in PROTOCOLS for part in parts[protocol] if part.row.name == row.name]
        if sides:
            title = f"{row.label}, {row.citation}"
            alt = f"{title}: confusion matrix, ROC and precision-recall curves under each protocol"
            yield _Drawing("row", row.name, title, alt, partial(row_figure, sides, run))


def _picture(drawing: _Drawing, table: str, place: Path) -> Picture:
    path = place / f"{'-'.join(filter(None, (table, drawing.kind, drawing.part)))}.png"
    figure = drawing.draw()
    write_png(figure, path)
    figure.set_layout_engine("none")  # it is laid out now; doing so again for the PDF would take as long again
    write_with(path.with_suffix(".pdf"), lambda temporary: figure.savefig(temporary, format="pdf"))
    return Picture(drawing.kind, drawing.title, drawing.alt, _address(path), figure.get_figwidth(), path)


def _address(path: Path) -> str:
    """With few colours, in which a drawing looks the same and takes a third of the space: a page holds dozens."""
    few = Image.open(path).convert("RGB").quantize(PAGE_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, "png")
    return picture_address(buffer.getvalue())


def _remove_others(table: str, place: Path, drawn: set[str]) -> None:
    """Removes figures of an earlier report that this one does not have."""
    own = re.compile(rf"{table}-({'|'.join(KINDS)})(-.+)?\.(png|pdf)")
    for path in place.glob(f"{table}-*"):
        if own.fullmatch(path.name) and path.stem not in drawn:
            path.unlink()
