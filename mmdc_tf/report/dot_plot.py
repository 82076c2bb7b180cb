"""The one figure that says what the split is worth: published, paper protocol and leak-free, a line a row."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import OK
from mmdc_tf.report.formatting import made_from
from mmdc_tf.report.panels import framed_figure

PUBLISHED = "#000000"
OURS = {  # colour (Okabe and Ito: told apart by colour-blind readers too), marker, words
    "paper": ("#e69f00", "s", "ours, paper protocol (leaks)"),
    "image-level": ("#d55e00", "D", "ours, image-level folds (leak)"),
    "leak-free": ("#0072b2", "o", "ours, leak-free"),
}
WIDTH, ROW_HEIGHT = 8.6, 0.46  # inches
SHIFT = 0.15  # of a line's height, from its middle to the first protocol and to the last


def dot_plot(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> Figure:
    """The accuracies of the rows that have a result under at least one protocol.

    Args:
        table: its title stands above.
        results: as from ``mmdc_tf.experiments.results.table_results``.
        run: the content of ``run.json``.
    """
    sides = [part.set_index("protocol").to_dict("index") for _, part in results.groupby("row", sort=False)]
    rows = [row for row in sides if any(line["status"] == OK for line in row.values())]
    height = 0.6 + ROW_HEIGHT * max(len(rows), 1)  # inches
    figure, top, middle = framed_figure(WIDTH, height, table.title, _caption(run))
    _draw(middle.subplots(), rows)
    legend = [Line2D([], [], color=PUBLISHED, marker="|", linestyle="", ms=13, mew=2.5, label="published")]
    for protocol in dict.fromkeys(results["protocol"]):
        colour, marker, words = OURS[protocol]
        legend.append(Line2D([], [], color=colour, marker=marker, ms=6.5, linewidth=1.2, label=words))
    top.legend(handles=legend, loc="lower center", ncols=len(legend), frameon=False, fontsize=9)
    return figure


def _caption(run: dict[str, Any]) -> str:
    """Published numbers are of real data, whatever ours are of."""
    phantom = ["The published numbers are of real data, ours are not."] if run.get("synthetic") else []
    return " ".join([*made_from(run), *phantom, "Lines: 95 % bootstrap over groups within each fold."])


def _draw(axes: Axes, rows: list[dict[Any, dict[Any, Any]]]) -> None:
    """A line a row, each its lines of the results by protocol; the first at the top."""
    for place, row in enumerate(rows):
        axes.plot(row["paper"]["paper_accuracy"], place, "|", color=PUBLISHED, ms=13, mew=2.5)
        for (protocol, line), shift in zip(row.items(), np.linspace(-SHIFT, SHIFT, len(row)), strict=True):
            _draw_ours(axes, place + shift, line, *OURS[protocol][:2])
    axes.set_yticks(range(len(rows)), [_label(row["paper"]) for row in rows], parse_math=False)
    axes.set(xlim=(0, 100), ylim=(max(len(rows), 1) - 0.5, -0.5), xlabel="accuracy (per cent)")
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(axis="x", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_ours(axes: Axes, place: float, line: dict[Any, Any], colour: str, marker: str) -> None:
    if line["status"] != OK:
        return
    axes.hlines(place, line["accuracy_ci_low"], line["accuracy_ci_high"], color=colour, linewidth=1.2)
    axes.plot(line["accuracy"], place, marker, color=colour, ms=6.5)


def _label(line: dict[Any, Any]) -> str:
    """Labels alone are not unique: the source tells them apart."""
    return "\n".join(textwrap.shorten(line[name], 44, placeholder=" …") for name in ("label", "citation"))
