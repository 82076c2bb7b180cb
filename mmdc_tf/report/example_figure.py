"""A few test images as the network saw them, with what it said of them."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdc_tf.evaluation.predictions import CONFIDENCE
from mmdc_tf.explain.drawing import draw_image

ACROSS = 4
PANEL_WIDTH, PANEL_HEIGHT = 1.9, 2.35  # inches
LONGEST_NAME, TITLE_SIZE = 28, 7.5  # characters; points
WRONG, RIGHT = "#d55e00", "#0072b2"  # Okabe and Ito: told apart by colour-blind readers too; the words say it again


def examples_figure(examples: pd.DataFrame, images: list[np.ndarray], title: str, caption: str) -> Figure:
    """A panel an image, framed by whether the answer is right.

    Args:
        examples: as from ``choose_examples``, at least one.
        images: uint8 (S, S, 3) each, in the order of the examples.
        title: stands above.
        caption: stands below.
    """
    lines, width = math.ceil(len(examples) / ACROSS), PANEL_WIDTH * ACROSS
    above, below = textwrap.wrap(title, int(width * 11)), textwrap.wrap(caption, int(width * 16))
    bands = (0.15 + 0.2 * len(above), PANEL_HEIGHT * lines, 0.15 + 0.16 * len(below))  # inches
    figure = Figure(figsize=(width, sum(bands)), layout="constrained")
    top, middle, bottom = np.asarray(figure.subfigures(3, 1, height_ratios=bands))
    top.text(0.5, 0.5, "\n".join(above), fontsize=11, ha="center", va="center", parse_math=False)
    panels = middle.subplots(lines, ACROSS, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, image, example in zip(panels.flat, images, examples.to_dict("records"), strict=False):
        _draw(axes, image, example)
    bottom.text(0.5, 0.5, "\n".join(below), fontsize=8, ha="center", va="center", parse_math=False)
    return figure


def _draw(axes: Axes, image: np.ndarray, example: dict[Any, Any]) -> None:
    is_right = example["y_true"] == example["y_pred"]
    words = [
        _shortened(example["sample_id"]),
        f"{'right' if is_right else 'wrong'}: {example['y_pred']} {example[CONFIDENCE]:.2f}",
        f"truth: {example['y_true']}",
    ]
    axes.set_axis_on()
    draw_image(axes, image[..., 0], "\n".join(words), TITLE_SIZE)  # of every recipe the grey image
    axes.label_outer()
    axes.spines[:].set(color=RIGHT if is_right else WRONG, linewidth=2.5)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"
