"""A figure of a few images side by side, each with its heatmap below."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mmdc_tf.explain.drawing import draw_heat, draw_image, draw_scale

PANEL_WIDTH, PANEL_HEIGHT = 1.75, 1.95  # inches
LEAST_WIDTH = 6.0


def heat_rows(
    title: str, images: np.ndarray, above: Sequence[str], heats: np.ndarray, below: Sequence[str], caption: str
) -> Figure:
    """Images in one line, the same under their heat in the next.

    Args:
        title: stands at the top.
        images: (n, S, S), grey levels 0 to 255.
        above: a title for each image.
        heats: float (n, S, S) in [0, 1].
        below: a title for each heatmap.
        caption: stands at the bottom.
    """
    width = max(LEAST_WIDTH, PANEL_WIDTH * len(images) + 0.8)
    lines = textwrap.wrap(caption, int(width * 16))
    bands = (0.4, 2 * PANEL_HEIGHT, 0.15 + 0.16 * len(lines))  # inches
    figure = Figure(figsize=(width, sum(bands)), layout="constrained")
    top, middle, bottom = np.asarray(figure.subfigures(3, 1, height_ratios=bands))
    top.text(0.5, 0.5, title, fontsize=11, ha="center", va="center", parse_math=False)
    panels = middle.subplots(2, len(images), squeeze=False)
    for column, image in enumerate(images):
        draw_image(panels[0, column], image, above[column])
        draw_image(panels[1, column], image, below[column])
    drawn = [draw_heat(axes, heat) for axes, heat in zip(panels[1], heats, strict=True)]
    _label_outside_only(panels)
    # beside both lines, so that their columns stay in line
    draw_scale(middle, drawn[0], list(panels.flat), "heat", shrink=0.6, fraction=0.03)
    bottom.text(0.5, 0.5, "\n".join(lines), fontsize=8, ha="center", va="center")
    return figure


def _label_outside_only(panels: np.ndarray) -> None:
    """All panels have the same axes: their names stand at the left and below."""
    for axes in panels.flat:
        axes.label_outer()
