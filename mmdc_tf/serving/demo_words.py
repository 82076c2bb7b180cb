"""The page's words and tables, as HTML of the templates ``demo_*``, which escape every name of a file or card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import counted
from mmdc_tf.evaluation.text import fixed
from mmdc_tf.io import page_templates, picture_address
from mmdc_tf.serving.card import ModelCard
from mmdc_tf.serving.demo_answers import Answer, Spread
from mmdc_tf.serving.metadata import HEADER, UNKNOWN, MetadataValue
from mmdc_tf.serving.output import introduction
from mmdc_tf.serving.prediction import Prediction

FLAGS = {
    "blank": "The scan has one value everywhere: there is nothing to see in it.",
    "no_region": "The preprocessing found nothing to keep, and kept the whole scan.",
    "no_breast_found": "No breast on film was found, so the whole scan was kept.",
    "unusual_intensity": "The image is nearly black, nearly white or without contrast.",
    "wrong_modality": "The DICOM header names another modality than the model was trained on.",
    "transparent": "The file is partly transparent; black was put behind it.",
    "window_skipped": "A window in the DICOM header is not valid and was passed over.",
    "lut_bits_corrected": "The DICOM file's table of greys names more or fewer bits than it uses.",
    "presentation_shape_differs": "The DICOM header contradicts itself on whether 0 is white; it was shown white.",
    "age_not_read": "The age in the DICOM header cannot be read; it counts as unknown.",
    "age_differs_from_header": "The age given differs from that in the DICOM header.",
    "other_view_missing": "The model also takes the other view of the breast, which cannot be given here.",
    "not_calibrated": "The probabilities are not calibrated.",
}
CHANGES = "What age and density change"
NOTHING_YET = "Upload a scan, or try the example."
ONE_MODEL = "One model: no interval. A model in its run's folder is compared with the other folds and seeds of its row."
NOT_SURE = "how much the answer depends on the training images and the start. No confidence interval."
_TEMPLATE_MARKS = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;"})
"""What Gradio's own templates would take for theirs."""
_TEMPLATES = page_templates("mmdc_tf.serving", fixed=fixed)


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Args:
        image: uint8 (h, w) grey or (h, w, 3) RGB.
        alt: what it shows, for who cannot see it.
        caption: what stands below; "" where it stands in the picture.
    """

    image: np.ndarray
    alt: str
    caption: str = ""

    @property
    def address(self) -> str:
        """The picture itself, so that no file is written."""
        pixels = self.image if self.image.ndim == 2 else cv2.cvtColor(self.image, cv2.COLOR_RGB2BGR)
        return picture_address(cv2.imencode(".png", pixels)[1].tobytes())


def styles() -> str:
    """The page's own CSS."""
    return _TEMPLATES.get_template("demo.css").render()


def pictures(shown: Sequence[Picture], kind: str = "") -> str:
    """Pictures beside each other, or below each other on a narrow screen.

    Args:
        shown: in order.
        kind: "wide" for few large ones, "narrow" for many small ones.
    """
    return _render("demo_pictures.html.j2", pictures=shown, kind=kind)


def head(card: ModelCard, file: Path) -> str:
    """The title, what the page is not for, and what the model is."""
    *facts, _ = introduction(card, file).splitlines()
    return _render("demo_head.html.j2", facts=facts, notice=card.notice)


def paragraph(text: str = NOTHING_YET, title: str = "") -> str:
    """A text of one paragraph, below a title where there is one."""
    return _render("demo_text.html.j2", text=text, title=title, problem=False)


def problem(text: str) -> str:
    """A sentence that says what went wrong."""
    return _render("demo_text.html.j2", text=text, title="", problem=True)


def verdict(answer: Answer, card: ModelCard, spread: Spread | None = None, note: str = ONE_MODEL) -> str:
    """What the model says of a scan: probabilities, decision, age and density, flags.

    Args:
        answer: with a prediction or a problem.
        card: the model's.
        spread: over the row's models; None where there is none, or none yet.
        note: why there is none.
    """
    one = answer.prediction
    if one is None:
        return problem(f"{answer.name}: {answer.problem}")
    return _render(
        "demo_verdict.html.j2",
        name=answer.name,
        measure=f"{'probability' if card.temperature is None else 'calibrated probability'}{card.mark}",
        probabilities=one.probabilities,
        spread=spread,
        interval=_interval(spread) if spread else note,
        decision=_decision(one, card),
        metadata=_metadata(one),
        flags=[FLAGS.get(flag, flag) for flag in one.flags],
        notice=card.notice,
    )


def waiting(models: int) -> str:
    """What stands in place of the interval until so many more models have answered."""
    return f"Interval: waiting for {counted(models, 'more trained model')} of this row …" if models else ONE_MODEL


def _interval(spread: Spread) -> str:
    models, names = len(spread.trainings), ", ".join(spread.trainings)
    return f"Interval: lowest to highest over {models} trained models of this row ({names}): {NOT_SURE}"


def _decision(prediction: Prediction, card: ModelCard) -> str:
    if prediction.decision is None or prediction.positive_class is None:
        return f"Most probable: {prediction.predicted_class}{card.mark}. No threshold is stored with the model."
    said, compared = ("yes", "reaches") if prediction.decision else ("no", "is below")
    wanted = f", chosen for a sensitivity of {card.sensitivity:g} on the {card.fitted_on}" if card.sensitivity else ""
    return (
        f"Decision: {prediction.positive_class} {said}{card.mark}. Its probability "
        f"{prediction.probabilities[prediction.positive_class]:.3f} {compared} the stored threshold "
        f"{prediction.threshold:.3f}{wanted}. Most probable: {prediction.predicted_class}."
    )


def _metadata(prediction: Prediction) -> str:
    shown = [_told("Age", prediction.age, " years"), _told("Density", prediction.density, "")]
    seen = " ".join(text for text in (prediction.laterality, prediction.view) if text)
    return " ".join([*shown, *([f"View in the DICOM header: {seen}."] if seen else [])])


def _told(name: str, value: MetadataValue, unit: str) -> str:
    written = value.in_header if isinstance(value.in_header, str | None) else f"{value.in_header:g}"
    in_header = "" if written is None else f"; the DICOM header says {written}"
    if value.value is None:
        return f"{name}: {UNKNOWN if value.source == UNKNOWN else 'not used by this model'}{in_header}."
    if value.source == HEADER:
        return f"{name}: {value.value:g}{unit} (from the DICOM header)."
    return f"{name}: {value.value:g}{unit} ({value.source}{in_header})."


def overview(answers: Sequence[Answer], card: ModelCard) -> str:
    """One line a scan: probabilities, decision and flags, or why there is none."""
    decision = [] if card.threshold is None or card.positive_class is None else [f"{card.positive_class}?"]
    columns = ["file", *card.class_names, *decision, "mind"]
    return _render("demo_overview.html.j2", columns=columns, answers=answers, notice=card.notice)


def changes(prediction: Prediction) -> str:
    """What age and density are worth to the answer: the class's probability with each of them unknown."""
    if not prediction.with_unknown:
        return paragraph("Age and density are both unknown: set one to see what it is worth.", CHANGES)
    label = prediction.positive_class or prediction.predicted_class
    given = prediction.probabilities[label]
    unknown = {name: probabilities[label] for name, probabilities in prediction.with_unknown.items()}
    parts = [f"{value:.3f} with {name} unknown ({value - given:+.3f})" for name, value in unknown.items()]
    return paragraph(f"{label}: {given:.3f} as given; {'; '.join(parts)}.", CHANGES)


def _render(template: str, **content: Any) -> str:
    return _TEMPLATES.get_template(template).render(content).strip().translate(_TEMPLATE_MARKS)
