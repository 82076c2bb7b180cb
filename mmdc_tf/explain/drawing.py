"""Images and heat on matplotlib's axes, drawn alike wherever a heatmap is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage

COLOUR_MAP = "inferno"  # perceptually uniform: equal steps of heat look equal, to colour-blind readers too
OPACITY = 0.45
LEAST_RANGE = 0.05
"""Of a map, as a share of its maximum: below it all of it would be drawn as hot, and its maximum is where noise is."""
UNIFORM = "uniform: no heat drawn"


def draw_image(axes: Axes, image: np.ndarray, title: str, title_size: float = 9) -> None:
    """A grey image with its size at the axes.

    Args:
        axes: of a panel.
        image: (S, S), grey levels 0 to 255.
        title: as it is, no formulas.
        title_size: in points.
    """
    height, width = image.shape
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=title_size, parse_math=False)
    axes.set(xticks=[0, width - 1], yticks=[0, height - 1])
    axes.set_xlabel("x (pixels)", fontsize=8, labelpad=-4)
    axes.set_ylabel("y (pixels)", fontsize=8, labelpad=-8)
    axes.tick_params(labelsize=7)


def is_uniform(heat: np.ndarray) -> bool:
    """Whether a map says nothing of where: its range is below ``LEAST_RANGE`` of its maximum; not one of zeros.

    Args:
        heat: float (h, w), no value below 0.
    """
    return bool(heat.max() > 0 and np.ptp(heat) < LEAST_RANGE * heat.max())


def draw_heat(axes: Axes, heat: np.ndarray) -> AxesImage:
    """Heat over an image that is drawn already: float (S, S) in [0, 1]; nothing of a uniform map."""
    heat = np.full_like(heat, np.nan) if is_uniform(heat) else heat
    return axes.imshow(heat, cmap=COLOUR_MAP, vmin=0, vmax=1, alpha=OPACITY)


def draw_scale(
    figure: Figure | SubFigure, drawn: AxesImage, axes: Axes | list[Axes], measure: str, **place: Any
) -> None:
    """What the colours of a heatmap mean.

    Args:
        figure: that holds the axes.
        drawn: of ``draw_heat``.
        axes: beside which it stands.
        measure: "heat" or "attention".
        **place: of ``Figure.colorbar``.
    """
    bar = figure.colorbar(drawn, ax=axes, pad=0.02, **place)
    if bar.solids is not None:
        bar.solids.set_alpha(1.0)  # the colours themselves, not blended with white
    bar.set_label(f"{measure} (share of its maximum), {COLOUR_MAP}", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def pixels(figure: Figure, dpi: int = 100) -> np.ndarray:
    """A figure as an image: uint8 (H, W, 3), RGB.

    Args:
        figure: drawn here.
        dpi: pixels an inch.
    """
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
