"""Images and heat on matplotlib's axes, drawn alike wherever a heatmap is shown, and a figure of several of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage

COLOUR_MAP = "inferno"  # perceptually uniform: equal steps of heat look equal, to colour-blind readers too
OPACITY = 0.45
PANEL_WIDTH, PANEL_HEIGHT, LEAST_WIDTH = 1.75, 1.95, 6.0  # inches, of ``heat_rows``
LEAST_RANGE = 0.05
"""Of a map, as a share of its maximum: below it all of it would be drawn as hot, and its maximum is where noise is."""
UNIFORM = "uniform: no heat drawn"


def draw_image(axes: Axes, image: np.ndarray, title: str, title_size: float = 9) -> None:
    """A grey image (S, S), levels 0 to 255, with its size at the axes; no formulas in the title."""
    height, width = image.shape
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=title_size, parse_math=False)
    axes.set(xticks=[0, width - 1], yticks=[0, height - 1])
    axes.set_xlabel("x (pixels)", fontsize=8, labelpad=-4)
    axes.set_ylabel("y (pixels)", fontsize=8, labelpad=-8)
    axes.tick_params(labelsize=7)


def is_uniform(heat: np.ndarray) -> bool:
    """Whether a map (no value below 0) says nothing of where: a range below ``LEAST_RANGE`` of its maximum, not 0."""
    return bool(heat.max() > 0 and np.ptp(heat) < LEAST_RANGE * heat.max())


def draw_heat(axes: Axes, heat: np.ndarray) -> AxesImage:
    """Heat over an image that is drawn already: float (S, S) in [0, 1]; nothing of a uniform map."""
    heat = np.full_like(heat, np.nan) if is_uniform(heat) else heat
    return axes.imshow(heat, cmap=COLOUR_MAP, vmin=0, vmax=1, alpha=OPACITY)


def draw_scale(
    figure: Figure | SubFigure, drawn: AxesImage, axes: Axes | list[Axes], measure: str, **place: Any
) -> None:
    """What the colours that ``draw_heat`` gave mean; ``measure``: "heat" or "attention"; ``place``: of ``colorbar``."""
    bar = figure.colorbar(drawn, ax=axes, pad=0.02, **place)
    if bar.solids is not None:
        bar.solids.set_alpha(1.0)  # the colours themselves, not blended with white
    bar.set_label(f"{measure} (share of its maximum), {COLOUR_MAP}", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def pixels(figure: Figure, dpi: int = 100) -> np.ndarray:
    """A figure, drawn with so many pixels an inch: uint8 (H, W, 3), RGB."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def heat_rows(
    title: str, images: np.ndarray, above: Sequence[str], heats: np.ndarray, below: Sequence[str], caption: str
) -> Figure:
    """Images in one line, the same under their heat in the next.

    Args:
        title, caption: stand at the top and at the bottom.
        images: (n, S, S), grey levels 0 to 255.
        above, below: a title for each image, and for each heatmap.
        heats: float (n, S, S) in [0, 1].
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
    for axes in panels.flat:
        axes.label_outer()
    # beside both lines, so that their columns stay in line
    draw_scale(middle, drawn[0], list(panels.flat), "heat", shrink=0.6, fraction=0.03)
    bottom.text(0.5, 0.5, "\n".join(lines), fontsize=8, ha="center", va="center")
    return figure
