"""Loss and accuracy over the epochs of each network, from the ``history.csv`` of its trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator

from mmdc_tf.errors import counted
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import finished_files, trainings_of
from mmdc_tf.report.formatting import PROTOCOL_TITLES, made_from
from mmdc_tf.report.panels import panel_title, panels_figure, style_axes

HISTORY = "history.csv"
TRAINING, VALIDATION = "#e69f00", "#0072b2"  # Okabe and Ito: told apart by colour-blind readers too
HEIGHT = 3.9  # of a panel, inches
CAPTION = (
    "Thin: each fold and seed; thick: their mean, at each epoch over the trainings that came so far (they stop early). "
    "Training: mean over the epoch, on moved images, with dropout and class weights, so that it may lie below "
    "validation. Rows without a network have no epochs."
)
CHOSEN = {
    "paper": "Under the paper protocol the validation images are the scored ones: the best epoch is the number.",
    "image-level": "The best epoch on the validation part is kept; the test fold has relatives in both other parts.",
    "leak-free": "The best epoch on the validation part is kept; the test fold has no part in it.",
}


@dataclass(frozen=True)
class RowHistory:
    """How the trainings of a finished row went.

    Args:
        row: what was trained.
        trainings: a table a fold and seed, columns as ``mmdc_tf.training.trainer.HISTORY_COLUMNS``.
    """

    row: Row
    trainings: tuple[pd.DataFrame, ...]

    @property
    def mean(self) -> pd.DataFrame:
        """The mean over the trainings, indexed by epoch."""
        return pd.concat(self.trainings).groupby("epoch").mean()


def row_histories(table: PaperTable, protocol: str, folder: Path) -> list[RowHistory]:
    """The finished networks of a table under one protocol, in the paper's order.

    Args:
        table: the paper's table.
        protocol: one of ``splits.PROTOCOLS``.
        folder: the table's, as ``OUT/table1``.
    """
    networks = [row for row in table.rows if row.model is not None]
    files = [finished_files(trainings_of(folder / row.name / protocol), HISTORY) for row in networks]
    pairs = zip(networks, files, strict=True)
    return [RowHistory(row, tuple(map(pd.read_csv, paths))) for row, paths in pairs if paths]


def learning_figure(table: PaperTable, rows: Sequence[RowHistory], run: dict[str, Any], protocol: str) -> Figure:
    """A panel a row: the loss above, the accuracy below.

    Args:
        table: its title stands above.
        rows: at least one.
        run: the content of ``run.json``.
        protocol: under which the rows were trained.
    """
    title = f"{table.title}: learning curves, {PROTOCOL_TITLES[protocol].lower()}"
    return panels_figure(rows, HEIGHT, _draw, title, " ".join([*made_from(run), CAPTION, CHOSEN[protocol]]))


def _draw(figure: SubFigure, place: SubplotSpec, history: RowHistory, is_left: bool) -> None:
    grid = place.subgridspec(2, 1)
    upper = figure.add_subplot(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    _draw_lines(upper, history, "loss", 1.0)
    _draw_lines(lower, history, "accuracy", 100.0)
    upper.set(ylabel="loss (nats)" if is_left else "")
    upper.set_ylim(0, 1.08 * upper.dataLim.y1)
    upper.tick_params(labelbottom=False)
    lower.set(ylim=(0, 100), ylabel="accuracy (per cent)" if is_left else "", xlabel="epoch")
    lower.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    count = len(history.trainings)
    panel_title(upper, history.row, counted(count, "training"))
    style_axes(upper)
    style_axes(lower)


def _draw_lines(axes: Axes, history: RowHistory, name: str, factor: float) -> None:
    """The training part's numbers and the validation part's, times ``factor``."""
    for column, colour, label in ((name, TRAINING, "training"), (f"val_{name}", VALIDATION, "validation")):
        for one in history.trainings:
            axes.plot(one["epoch"], factor * one[column], color=colour, linewidth=0.6, alpha=0.5)
        mean = factor * history.mean[column]
        axes.plot(mean.index, mean, "o-", color=colour, linewidth=1.6, markersize=2.5, label=label)
