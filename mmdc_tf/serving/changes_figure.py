"""The pictures of what a model would say with other ages and densities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdc_tf.serving.card import ModelCard
from mmdc_tf.serving.demo_answers import DENSITIES, Changes
from mmdc_tf.serving.metadata import MetadataValue
from mmdc_tf.serving.output import printable
from mmdc_tf.serving.prediction import Prediction

# Okabe and Ito: told apart by colour-blind readers too, and by their marks
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
MARKS = ("o", "s", "^", "D", "v", "P")
SIZE = (4.4, 3.7)  # inches
AGE_TICKS = tuple(range(30, 91, 10))
UNKNOWN_AGE, UNKNOWN_DENSITY = 20.0, 0.0
"""Where "unknown" stands on the axes, left of all values."""


def age_figure(changes: Changes, prediction: Prediction, card: ModelCard) -> Figure:
    """Each class's probability over age, with the density as given.

    Args:
        changes: as from ``Answers.changes``.
        prediction: with the values as given; what it says of an unknown one stands at the left, hollow.
        card: the model's.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    unknown = prediction.with_unknown.get("age", prediction.probabilities)
    _draw(axes, changes.ages, changes.by_age, UNKNOWN_AGE, unknown)
    _mark_given(axes, prediction.age, UNKNOWN_AGE)
    _name(axes, card, "age (years)", UNKNOWN_AGE, AGE_TICKS)
    return _titled(figure, f"By age; density {_words(prediction.density)}", card)


def density_figure(changes: Changes, prediction: Prediction, card: ModelCard) -> Figure:
    """Each class's probability over density, with the age as given; arguments as for ``age_figure``."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    unknown = prediction.with_unknown.get("density", prediction.probabilities)
    _draw(axes, DENSITIES, changes.by_density, UNKNOWN_DENSITY, unknown)
    _mark_given(axes, prediction.density, UNKNOWN_DENSITY)
    _name(axes, card, "BI-RADS density", UNKNOWN_DENSITY, DENSITIES)
    return _titled(figure, f"By density; age {_words(prediction.age)}", card)


def _draw(
    axes: Axes, values: tuple[float, ...], found: np.ndarray, unknown_at: float, unknown: Mapping[str, float]
) -> None:
    for index, (label, share) in enumerate(unknown.items()):
        colour, mark = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
        axes.plot(values, found[:, index], color=colour, marker=mark, markersize=4, label=printable(label))
        axes.plot([unknown_at], [share], color=colour, marker=mark, markersize=6, markerfacecolor="white")


def _mark_given(axes: Axes, given: MetadataValue, unknown_at: float) -> None:
    place = unknown_at if given.value is None else given.value
    axes.axvline(place, color="black", linewidth=0.9, linestyle=":", label="as given")


def _name(axes: Axes, card: ModelCard, name: str, unknown_at: float, ticks: tuple[int, ...]) -> None:
    if card.threshold is not None:
        threshold = printable(f"threshold of {card.positive_class}")
        axes.axhline(card.threshold, color="grey", linewidth=1, linestyle="--", label=threshold)
    axes.set_xticks([unknown_at, *ticks], ["un-\nknown", *map(str, ticks)])
    axes.set_xlabel(name)
    axes.set_ylabel("probability" if card.temperature is None else "calibrated probability")
    axes.set_ylim(-0.03, 1.03)
    axes.grid(axis="y", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _titled(figure: Figure, title: str, card: ModelCard) -> Figure:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(f"{title}{card.mark}", fontsize=10)
    return figure


def _words(value: MetadataValue) -> str:
    return "unknown" if value.value is None else f"{value.value:g}"
