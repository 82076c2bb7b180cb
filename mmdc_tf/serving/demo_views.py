"""The page's words, tables and pictures, as HTML of the templates ``demo_*``, which escape all names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import counted, printable
from mmdc_tf.evaluation.text import fixed
from mmdc_tf.explain.drawing import pixels
from mmdc_tf.io import page_templates, picture_address
from mmdc_tf.serving.card import ModelCard
from mmdc_tf.serving.demo_answers import DENSITIES, Answer
from mmdc_tf.serving.explanation import MEANING, Explanation, heat_panels
from mmdc_tf.serving.output import HEADER, UNKNOWN, MetadataValue, Prediction, introduction, measure

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
ONE_MODEL = "One model: no interval. A model in its run's folder is compared with the other folds and seeds of its row."
NOT_SURE = "how much the answer depends on the training images and the start. No confidence interval."
STEPS = (
    "What the recipe “{recipe}”, stored with the model, makes of a scan. The last picture is what the model sees. "
    "White on black: a mask of what is kept."
)
# Okabe and Ito: told apart by colour-blind readers too, and by their marks
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
MARKS = ("o", "s", "^", "D", "v", "P")
DPI = 170
AXES = {"age": ("age (years)", 20.0, tuple(range(30, 91, 10))), "density": ("BI-RADS density", 0.0, DENSITIES)}
"""Of the curves: what it shows, where "unknown" stands, left of all values, and the values with a tick."""
_TEMPLATE_MARKS = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;"})
"""What Gradio's own templates would take for theirs."""
_TEMPLATES = page_templates("mmdc_tf.serving", fixed=fixed)


def styles() -> str:
    """The page's own CSS."""
    return _TEMPLATES.get_template("demo.css").render()


def head(card: ModelCard, file: Path) -> str:
    """The title, what the page is not for, and what the model is."""
    *lines, _ = introduction(card, file).splitlines()
    return _render("demo_head.html.j2", lines=lines, notice=card.notice)


def paragraph(text: str, title: str = "", problem: bool = False) -> str:
    """A text of one paragraph, below a title where there is one, or marked as what went wrong."""
    return _render("demo_text.html.j2", text=text, title=title, problem=problem)


def overview(answers: Sequence[Answer], card: ModelCard) -> str:
    """One line a scan: probabilities, decision and flags, or why there is none."""
    decision = [] if card.threshold is None or card.positive_class is None else [f"{card.positive_class}?"]
    columns = ["file", *card.class_names, *decision, "mind"]
    return _render("demo_overview.html.j2", columns=columns, answers=answers, notice=card.notice)


def verdict(answer: Answer, card: ModelCard, spread: pd.DataFrame | None = None, note: str = ONE_MODEL) -> str:
    """What the model says of a scan: probabilities, decision, age and density, flags; or the problem.

    ``note`` says why there is no ``spread`` over the row's models, or none yet.
    """
    one = answer.prediction
    if one is None:
        return paragraph(f"{answer.name}: {answer.problem}", problem=True)
    if spread is not None:
        names = f"{len(spread)} trained models of this row ({', '.join(spread.index)})"
        note = f"Interval: lowest to highest over {names}: {NOT_SURE}"
    seen = " ".join(text for text in (one.laterality, one.view) if text)
    metadata = [_told("Age", one.age, " years"), _told("Density", one.density, "")]
    return _render(
        "demo_verdict.html.j2",
        name=answer.name,
        measure=f"{measure(card)}{card.mark}",
        probabilities=one.probabilities,
        ends=None if spread is None else (spread.min(), spread.max()),
        interval=note,
        decision=_decision(one, card),
        metadata=" ".join([*metadata, *([f"View in the DICOM header: {seen}."] if seen else [])]),
        flags=[FLAGS.get(flag, flag) for flag in one.flags],
        notice=card.notice,
    )


def waiting(models: int) -> str:
    """What stands in place of the interval until so many more models have answered."""
    return f"Interval: waiting for {counted(models, 'more trained model')} of this row …" if models else ONE_MODEL


def _decision(one: Prediction, card: ModelCard) -> str:
    if one.decision is None or one.positive_class is None:
        return f"Most probable: {one.predicted_class}{card.mark}. No threshold is stored with the model."
    said, compared = ("yes", "reaches") if one.decision else ("no", "is below")
    wanted = f", chosen for a sensitivity of {card.sensitivity:g} on the {card.fitted_on}" if card.sensitivity else ""
    share = one.probabilities[one.positive_class]
    return (
        f"Decision: {one.positive_class} {said}{card.mark}. Its probability {share:.3f} {compared} the stored "
        f"threshold {one.threshold:.3f}{wanted}. Most probable: {one.predicted_class}."
    )


def _told(name: str, value: MetadataValue, unit: str) -> str:
    written = value.in_header if isinstance(value.in_header, str | None) else f"{value.in_header:g}"
    in_header = "" if written is None else f"; the DICOM header says {written}"
    if value.value is None:
        return f"{name}: {UNKNOWN if value.source == UNKNOWN else 'not used by this model'}{in_header}."
    if value.source == HEADER:
        return f"{name}: {value.value:g}{unit} (from the DICOM header)."
    return f"{name}: {value.value:g}{unit} ({value.source}{in_header})."


def heats(explanation: Explanation, card: ModelCard) -> str:
    """The heatmaps over the scan."""
    panels = heat_panels(explanation, card)
    shown = {f"{name}, over the scan": pixels(figure, DPI) for name, figure in panels.items()}
    return paragraph(MEANING, "Where the model looks") + _pictures(shown)


def steps(pictures: Mapping[str, np.ndarray], card: ModelCard) -> str:
    """The preprocessing, step by step."""
    told = STEPS.format(recipe=card.recipe.name)
    return paragraph(told, "Preprocessing, step by step") + _pictures(pictures, "narrow")


def changes(found: Mapping[str, pd.DataFrame], prediction: Prediction, card: ModelCard) -> str:
    """What age and density are worth to the answer, and each class's probability over them; "" without them."""
    if not found:
        return ""
    label = prediction.positive_class or prediction.predicted_class
    given = prediction.probabilities[label]
    unknown = {name: probabilities[label] for name, probabilities in prediction.with_unknown.items()}
    parts = [f"{value:.3f} with {name} unknown ({value - given:+.3f})" for name, value in unknown.items()]
    told = "Age and density are both unknown: set one to see what it is worth."
    if parts:
        told = f"{label}: {given:.3f} as given; {'; '.join(parts)}."
    shown = {f"probability by {name}": pixels(curves(name, found[name], prediction, card), DPI) for name in found}
    return paragraph(told, "What age and density change") + _pictures(shown, "wide")


def curves(name: str, shares: pd.DataFrame, prediction: Prediction, card: ModelCard) -> Figure:
    """Each class's probability over "age" or "density", the other as given; that of an unknown value at the left.

    Args:
        shares: as from ``Answers.changes``.
    """
    label, left, ticks = AXES[name]
    other = "density" if name == "age" else "age"
    given, fixed_value = (getattr(prediction, one).value for one in (name, other))
    figure = Figure(figsize=(4.4, 3.7), layout="constrained")
    axes = figure.subplots()
    for index, (class_name, share) in enumerate(shares.items()):
        look: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "marker": MARKS[index % len(MARKS)]}
        axes.plot(share.iloc[1:], markersize=4, label=printable(str(class_name)), **look)
        axes.plot([left], share.iloc[:1], markersize=6, markerfacecolor="white", **look)
    axes.axvline(left if given is None else given, color="black", linewidth=0.9, linestyle=":", label="as given")
    if card.threshold is not None:
        threshold = printable(f"threshold of {card.positive_class}")
        axes.axhline(card.threshold, color="grey", linewidth=1, linestyle="--", label=threshold)
    axes.set_xticks([left, *ticks], ["un-\nknown", *map(str, ticks)])
    axes.set(xlabel=label, ylabel=measure(card), ylim=(-0.03, 1.03), axisbelow=True)
    axes.grid(axis="y", linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    as_given = "unknown" if fixed_value is None else f"{fixed_value:g}"
    figure.suptitle(f"By {name}; {other} {as_given}{card.mark}", fontsize=10)
    return figure


def _pictures(shown: Mapping[str, np.ndarray], kind: str = "") -> str:
    """Pictures, uint8 (h, w) or RGB (h, w, 3), beside or below each other: few and "wide", many and "narrow"."""
    content = {}
    for name, image in shown.items():
        flipped = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        content[name] = picture_address(cv2.imencode(".png", flipped)[1].tobytes())
    return _render("demo_pictures.html.j2", pictures=content, kind=kind)


def _render(template: str, **content: Any) -> str:
    return _TEMPLATES.get_template(template).render(content).strip().translate(_TEMPLATE_MARKS)
