"""What a saved model looks at in a scan, and the picture of it: Grad-CAM and its own attention, from file to figure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdc_tf.errors import ConfigurationError, InputError, counted, did_you_mean, printable
from mmdc_tf.explain.drawing import UNIFORM, draw_heat, draw_image, draw_scale, is_uniform
from mmdc_tf.explain.gradcam import attention_maps, enlarged, fine_layer, grad_cam, grad_cam_layer, layer_cam
from mmdc_tf.explain.heat_scores import HeatScore, heat_score, read_lesion
from mmdc_tf.preprocessing import PreprocessedScan
from mmdc_tf.serving.card import ModelCard, load_model
from mmdc_tf.serving.output import measure
from mmdc_tf.serving.predictor import Predictor, checked

GRAD_CAM, LAYER_CAM = "Grad-CAM", "LayerCAM"
PANEL_WIDTH, PANEL_HEIGHT, LEAST_WIDTH = 3.1, 3.5, 6.2  # inches
LESION = "#56b4e9"  # Okabe and Ito's sky blue, which is in no part of the colour map
LONGEST_NAME, POINTED = 60, 60
"""Characters of a scan's name; images at most on which the place of the heat is scored."""
MEANING = (
    "Grad-CAM (Selvaraju et al. 2017): where the network finds what speaks for the class. Attention: where the model "
    "looks, the same for all classes. Heat: share of each map's own maximum, so maps say where, not how much."
)
SCORES = (
    "Blue line: lesion mask. Hit: the maximum lies in the lesion (pointing game). Inside: the share of the heat in the "
    "lesion; chance: the lesion's share of the image, which a map that merely favours the middle exceeds too."
)


@dataclass(frozen=True)
class Explanation:
    """What a model says of a scan, and where it looks.

    Args:
        scan: as the model's recipe left it.
        probabilities: float64 (classes,), calibrated where the model has a temperature.
        class_index: the class that ``GRAD_CAM`` is of.
        heats: name to float32 (S, S) in [0, 1]: ``GRAD_CAM``, then ``LAYER_CAM`` where Grad-CAM's map is too coarse to
            point, then the model's own attention.
    """

    scan: PreprocessedScan
    probabilities: np.ndarray
    class_index: int
    heats: dict[str, np.ndarray]


class Explainer(Predictor):
    """A ``Predictor`` that also says where it looks. ``load_explainer`` makes one."""

    def class_index(self, name: str) -> int:
        """The place of a class among the model's; ``ConfigurationError`` for a name that is none of them."""
        names = self.card.class_names
        if name not in names:
            raise ConfigurationError(
                f"Expected a class of {', '.join(names)}. Received: class={name!r}. "
                f"{did_you_mean(name, names, 'Choose one of them.')}"
            )
        return names.index(name)

    @property
    def fine_layer(self) -> str | None:
        """The layer of LayerCAM, where Grad-CAM's map is too coarse to point."""
        return fine_layer(self.model)

    def explain(
        self, path: str | Path, class_name: str | None = None, age: float | None = None, density: float | None = None
    ) -> Explanation:
        """Reads a scan, predicts it and makes the heatmaps; a second view is unknown: the first stands for both.

        Args:
            path: an image file.
            class_name: the class that Grad-CAM asks about; None for the most probable.
            age, density: as for ``predict``.

        Raises:
            UnreadableImageError: names the file.
            ConfigurationError: an unknown class.
            InputError, RuntimeError: a value out of range, or as ``preprocess_scan``.
        """
        sample = self._sample(Path(path), checked("age", age), checked("density", density))
        inputs = self._tensors([sample])
        probabilities = self.card.calibrated(self._probabilities(inputs))[0]
        index = int(probabilities.argmax()) if class_name is None else self.class_index(class_name)
        heats = {GRAD_CAM: grad_cam(self.model, inputs, index, grad_cam_layer(self.model))[0]}
        if self.fine_layer is not None:
            heats[LAYER_CAM] = layer_cam(self.model, inputs, index, self.fine_layer)[0]
        sides = (self.card.image_size, self.card.image_size)
        heats |= {name: enlarged(maps, sides)[0] for name, maps in attention_maps(self.model, inputs).items()}
        return Explanation(sample.scan, probabilities, index, heats)


@dataclass(frozen=True)
class PointingGame:
    """How often the map of the predicted class finds an outlined lesion; shares in [0, 1].

    Args:
        kind: ``GRAD_CAM``, or ``LAYER_CAM`` where Grad-CAM's map is too coarse to point.
        images: that were scored; a uniform map counts as a miss.
        hits: share of them whose map has its maximum in the lesion.
        inside: share of the heat in the lesion, mean over images.
        area: the lesion's share of the image, mean over images: what a point drawn evenly would hit.
        middle: share of the lesions that cover the middle of the image: what a map that merely favours it would hit.
        lost: images whose lesion the crop left out.
    """

    kind: str
    images: int
    hits: float
    inside: float
    area: float
    middle: float
    lost: int

    @property
    def columns(self) -> dict[str, float]:
        """As columns of a table."""
        return {f"heat_{name}": getattr(self, name) for name in ("images", "hits", "inside", "area", "middle")}

    def __str__(self) -> str:
        missed = f" The crop left no lesion of {counted(self.lost, 'other image')}." if self.lost else ""
        return (
            f"Of {counted(self.images, 'image')} with an outlined lesion, {self.kind} has its maximum in the lesion on "
            f"{100 * self.hits:.0f} % (a point drawn evenly: {100 * self.area:.0f} %, the middle of the image: "
            f"{100 * self.middle:.0f} %) and {100 * self.inside:.0f} % of its heat inside.{missed}"
        )


def pointing_game(explainer: Explainer, samples: pd.DataFrame) -> PointingGame | None:
    """Scores the heatmaps of at most ``POINTED`` images, evenly spaced among those with a lesion mask.

    Source: Zhang et al., "Top-Down Neural Attention by Excitation Backprop", IJCV 2018, section 4.1.

    Args:
        explainer: the model.
        samples: columns ``image_path``, ``lesion_masks``, ``age`` and ``density``.

    Returns:
        None where no lesion is outlined.

    Raises:
        UnreadableImageError: an image cannot be read.
    """
    kind = GRAD_CAM if explainer.fine_layer is None else LAYER_CAM
    outlined = samples[samples["lesion_masks"].str.len() > 0]
    scores, lesions, lost = [], [], 0
    for one in outlined.iloc[:: math.ceil(len(outlined) / POINTED) or 1].to_dict("records"):
        explanation = explainer.explain(one["image_path"], None, one["age"], one["density"])
        try:
            lesion = read_lesion(map(Path, one["lesion_masks"]), explanation.scan, explainer.card.recipe)
        except InputError:
            lost += 1
            continue
        if lesion is not None:
            lesions.append(lesion)
            scores.append(heat_score(explanation.heats[kind], lesion) or HeatScore(False, 0.0, float(lesion.mean())))
    if not scores:
        return None
    values = [(score.hit, score.heat_inside, score.lesion_area) for score in scores]
    hits, inside, area = np.mean(values, axis=0).tolist()
    middle = float(np.mean([lesion[len(lesion) // 2, len(lesion) // 2] for lesion in lesions]))
    return PointingGame(kind, len(scores), hits, inside, area, middle, lost)


def load_explainer(path: str | Path, card: ModelCard | None = None) -> Explainer:
    """Loads a saved network and its card; arguments and errors as for ``card.load_model``."""
    return Explainer(*load_model(path, card))


def heat_figure(
    explanation: Explanation,
    card: ModelCard,
    name: str,
    lesion: np.ndarray | None,
    scores: Mapping[str, HeatScore | None],
) -> Figure:
    """The preprocessed image of the scan ``name``, then a panel a heatmap; the card's notice stands below.

    Args:
        lesion: bool (S, S), outlined; None where there is none.
        scores: name of a heatmap to its score, which stands above it; empty without a lesion.
    """
    width = max(LEAST_WIDTH, PANEL_WIDTH * (1 + len(explanation.heats)))
    meaning = MEANING if lesion is None else f"{MEANING} {SCORES}"
    caption = [*textwrap.wrap(meaning, int(width * 16)), printable(card.notice)]
    bands = (0.7, PANEL_HEIGHT + (0.3 if scores else 0.0), 0.15 + 0.16 * len(caption))  # inches
    figure = Figure(figsize=(width, sum(bands)), layout="constrained")
    top, middle, bottom = np.asarray(figure.subfigures(3, 1, height_ratios=bands))
    pairs = zip(card.class_names, explanation.probabilities, strict=True)
    shares = ", ".join(f"{label} {share:.2f}" for label, share in pairs)
    shown = name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"
    title = (shown, f"{measure(card)}: {shares}{card.mark}")
    top.text(0.5, 0.5, "\n".join(map(printable, title)), ha="center", va="center", parse_math=False)
    panels = middle.subplots(1, 1 + len(explanation.heats))
    draw_image(panels[0], explanation.scan.image[..., 0], "preprocessed image")  # of every recipe the grey image
    for axes, kind in zip(panels[1:], explanation.heats, strict=True):
        _draw_panel(axes, explanation, card, kind, scores)
    if lesion is not None and not lesion.all():  # what fills the image has no outline
        for axes in panels:
            axes.contour(lesion.astype(float), levels=[0.5], colors=[LESION], linewidths=1.3)
    bottom.text(0.5, 0.5, "\n".join(caption), fontsize=8, ha="center", va="center")
    return figure


def heat_panels(explanation: Explanation, card: ModelCard) -> dict[str, Figure]:
    """A figure a heatmap, over the preprocessed image: for a page that arranges them by its width."""
    figures = {}
    for kind in explanation.heats:
        # compressed: images keep their shape
        figures[kind] = Figure(figsize=(PANEL_WIDTH, PANEL_HEIGHT + 0.4), layout="compressed")
        _draw_panel(figures[kind].subplots(), explanation, card, kind, {})
    return figures


def _draw_panel(
    axes: Axes, explanation: Explanation, card: ModelCard, kind: str, scores: Mapping[str, HeatScore | None]
) -> None:
    heat, of_class = explanation.heats[kind], kind in (GRAD_CAM, LAYER_CAM)
    lines = [f"{kind} for {card.class_names[explanation.class_index]}" if of_class else kind]
    if not heat.any():
        lines.append("no heat: nothing speaks for this class")
    elif is_uniform(heat):
        lines.append(UNIFORM + "; score n/a" * bool(scores))
    elif kind in scores:
        lines.append(score_text(scores[kind]))
    draw_image(axes, explanation.scan.image[..., 0], "\n".join(map(printable, lines)))
    what = "heat" if of_class else "attention"
    draw_scale(axes.figure, draw_heat(axes, heat), axes, what, orientation="horizontal", fraction=0.05)


def score_text(score: HeatScore | None) -> str:
    """A score in words, as it stands beside a heatmap."""
    if score is None:
        return "n/a (uniform)"
    hit = "hit" if score.hit else "miss"
    return f"{hit}; {100 * score.heat_inside:.1f} % inside (chance {100 * score.lesion_area:.1f} %)"
