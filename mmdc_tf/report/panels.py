"""Figures of small multiples: a panel a row of a table, with title, legend and caption in bands of their own."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import SubplotSpec

from mmdc_tf.experiments.rows import Row

ACROSS = 4  # panels beside each other
PANEL_WIDTH, LEAST_WIDTH = 3.2, 6.0  # inches
Item = TypeVar("Item")
Draw = Callable[[SubFigure, SubplotSpec, Item, bool], None]
"""Draws an item at a place; it is told whether that is at the left."""


def panels_figure(
    items: Sequence[Item], height: float, draw: Draw[Item], title: str, caption: str, legend: bool = True
) -> Figure:
    """Title and legend above, the panels, and the caption below.

    Args:
        items: at least one; a panel each.
        height: of a panel, in inches.
        draw: as ``Draw``.
        title, caption: of the figure; wrapped here.
        legend: whether that of the first axes stands above the panels.
    """
    across = min(ACROSS, len(items))
    width = max(LEAST_WIDTH, PANEL_WIDTH * across)
    figure, top, middle = framed_figure(width, height * math.ceil(len(items) / across), title, caption, legend)
    _draw_panels(middle, items, across, draw)
    if legend:
        handles, labels = middle.axes[0].get_legend_handles_labels()
        top.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def framed_figure(
    width: float, height: float, title: str, caption: str, legend: bool = True
) -> tuple[Figure, SubFigure, SubFigure]:
    """An empty figure with a title above and a caption below, each in a band of its own so that nothing overlaps.

    Args:
        width: of the figure, in inches.
        height: of the band in the middle, in inches.
        title, caption: as they are, no formulas; wrapped here.
        legend: whether the upper band has room for a line of one below the title.

    Returns:
        The figure, its upper band, and the one in the middle.
    """
    above = textwrap.wrap(title, int(width * 10), break_on_hyphens=False)
    below = textwrap.wrap(caption, int(width * 16), break_on_hyphens=False)
    bands = (0.12 + 0.33 * legend + 0.22 * len(above), height, 0.1 + 0.15 * len(below))  # inches
    figure = Figure(figsize=(width, sum(bands)), layout="constrained")
    top, middle, bottom = np.asarray(figure.subfigures(3, 1, height_ratios=bands))
    top.text(0.5, 0.93, "\n".join(above), fontsize=12, ha="center", va="top", parse_math=False)
    bottom.text(0.5, 0.5, "\n".join(below), fontsize=8, ha="center", va="center", parse_math=False)
    return figure, top, middle


def style_axes(axes: Axes) -> None:
    """Small figures, a faint grid, no frame above and at the right."""
    axes.tick_params(labelsize=7)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(8)
    axes.grid(linewidth=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def panel_title(axes: Axes, row: Row, facts: str) -> None:
    """Label, source and a line of facts. Two rows may have one label: the source tells them apart."""
    names = [textwrap.shorten(text, 46, placeholder=" …") for text in (row.label, row.citation)]
    axes.set_title("\n".join([*names, *([facts] if facts else [])]), fontsize=7.5, loc="left", parse_math=False)


def _draw_panels(figure: SubFigure, items: Sequence[Item], across: int, draw: Draw[Item]) -> None:
    grid = figure.add_gridspec(math.ceil(len(items) / across), across)
    for index, item in enumerate(items):
        draw(figure, grid[divmod(index, across)], item, index % across == 0)
