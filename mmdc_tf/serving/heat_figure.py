"""The picture of an explanation: the model's image, and each heatmap over it with its score."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from mmdc_tf.explain.drawing import UNIFORM, draw_heat, draw_image, draw_scale, is_uniform
from mmdc_tf.explain.heat_scores import HeatScore
from mmdc_tf.serving.card import ModelCard
from mmdc_tf.serving.explanation import GRAD_CAM, LAYER_CAM, Explanation
from mmdc_tf.serving.output import printable

PANEL_WIDTH, PANEL_HEIGHT = 3.1, 3.5  # inches
LEAST_WIDTH = 6.2
LESION = "#56b4e9"  # Okabe and Ito's sky blue, which is in no part of the colour map
LONGEST_NAME = 60
MEANING = (
    "Grad-CAM (Selvaraju et al. 2017): where the network finds what speaks for the class. Attention: where the model "
    "looks, the same for all classes. Heat: share of each map's own maximum, so maps say where, not how much."
)
SCORES = (
    "Blue line: lesion mask. Hit: the maximum lies in the lesion (pointing game). Inside: the share of the heat in the "
    "lesion; chance: the lesion's share of the image, which a map that merely favours the middle exceeds too."
)


def heat_figure(
    explanation: Explanation,
    card: ModelCard,
    name: str,
    lesion: np.ndarray | None,
    scores: Mapping[str, HeatScore | None],
) -> Figure:
    """The preprocessed image, then a panel a heatmap; the card's notice stands below.

    Args:
        explanation: as from ``Explainer.explain``.
        card: the model's.
        name: of the scan, for the title.
        lesion: bool (S, S), outlined; None where there is none.
        scores: name of a heatmap to its score, which stands above it; None for a uniform one; empty without a lesion.
    """
    width = max(LEAST_WIDTH, PANEL_WIDTH * (1 + len(explanation.heats)))
    meaning = MEANING if lesion is None else f"{MEANING} {SCORES}"
    caption = [*textwrap.wrap(meaning, int(width * 16)), printable(card.notice)]
    bands = (0.7, PANEL_HEIGHT + (0.3 if scores else 0.0), 0.15 + 0.16 * len(caption))  # inches
    figure = Figure(figsize=(width, sum(bands)), layout="constrained")
    top, middle, bottom = np.asarray(figure.subfigures(3, 1, height_ratios=bands))
    top.text(0.5, 0.5, _title(explanation, card, name), ha="center", va="center", parse_math=False)
    _draw_panels(middle, explanation, card.class_names[explanation.class_index], lesion, scores)
    bottom.text(0.5, 0.5, "\n".join(caption), fontsize=8, ha="center", va="center")
    return figure


def heat_panels(explanation: Explanation, card: ModelCard) -> list[Figure]:
    """A figure a heatmap, over the preprocessed image: for a page that arranges them by its width.

    Args:
        explanation, card: as for ``heat_figure``.
    """
    figures, image = [], explanation.scan.image[..., 0]
    for kind, heat in explanation.heats.items():
        title = _panel_title(kind, heat, card.class_names[explanation.class_index], {})
        height = PANEL_HEIGHT + 0.2 * len(title.splitlines())
        figure = Figure(figsize=(PANEL_WIDTH, height), layout="compressed")  # an image keeps its shape
        axes = figure.subplots()
        _draw_image(axes, image, title, None)
        _draw_heat(axes, heat, kind)
        figures.append(figure)
    return figures


def _draw_panels(
    figure: SubFigure,
    explanation: Explanation,
    class_name: str,
    lesion: np.ndarray | None,
    scores: Mapping[str, HeatScore | None],
) -> None:
    panels = figure.subplots(1, 1 + len(explanation.heats))
    image = explanation.scan.image[..., 0]  # of every recipe the grey image
    _draw_image(panels[0], image, "preprocessed image", lesion)
    for axes, (kind, heat) in zip(panels[1:], explanation.heats.items(), strict=True):
        _draw_image(axes, image, _panel_title(kind, heat, class_name, scores), lesion)
        _draw_heat(axes, heat, kind)


def _title(explanation: Explanation, card: ModelCard, name: str) -> str:
    shown = name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"
    pairs = zip(card.class_names, explanation.probabilities, strict=True)
    kind = "probability" if card.temperature is None else "calibrated probability"
    each = ", ".join(f"{label} {share:.2f}" for label, share in pairs)
    return "\n".join(map(printable, (shown, f"{kind}: {each}{card.mark}")))


def _panel_title(kind: str, heat: np.ndarray, class_name: str, scores: Mapping[str, HeatScore | None]) -> str:
    lines = [f"{kind} for {class_name}" if kind in (GRAD_CAM, LAYER_CAM) else kind]
    if not heat.any():
        lines.append("no heat: nothing speaks for this class")
    elif is_uniform(heat):
        lines.append(UNIFORM + "; score n/a" * bool(scores))
    elif kind in scores:
        lines.append(score_text(scores[kind]))
    return "\n".join(map(printable, lines))


def score_text(score: HeatScore | None) -> str:
    """A score in words, as it stands beside a heatmap."""
    if score is None:
        return "n/a (uniform)"
    hit = "hit" if score.hit else "miss"
    return f"{hit}; {100 * score.heat_inside:.1f} % inside (chance {100 * score.lesion_area:.1f} %)"


def _draw_image(axes: Axes, image: np.ndarray, title: str, lesion: np.ndarray | None) -> None:
    draw_image(axes, image, title)
    if lesion is not None and not lesion.all():  # what fills the image has no outline
        axes.contour(lesion.astype(float), levels=[0.5], colors=[LESION], linewidths=1.3)


def _draw_heat(axes: Axes, heat: np.ndarray, kind: str) -> None:
    measure = "heat" if kind in (GRAD_CAM, LAYER_CAM) else "attention"
    draw_scale(axes.figure, draw_heat(axes, heat), axes, measure, orientation="horizontal", fraction=0.05)
