"""Phantom scans to try a model with: drawn, of no patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmdc_tf.datasets.phantom import MAMMOGRAM_ODDS, ULTRASOUND_SHARES, mammogram_patients, ultrasound_scans
from mmdc_tf.datasets.phantom_images import draw_mammogram, draw_ultrasound
from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.serving.card import ModelCard

FIRST_SEED = 1_000
"""Far from the seeds of runs, whose phantoms a model may have been trained on."""
_COHORT = 12


@dataclass(frozen=True)
class Example:
    """A phantom scan.

    Args:
        name: for its file, without suffix; it starts with "phantom".
        image: uint8 (H, W) grey or (H, W, 3) RGB.
        age: in years; None where the phantom has none, as in ultrasound.
        density: BI-RADS 1 to 4; None in the same way.
        words: what was drawn, and that it is a phantom.
    """

    name: str
    image: np.ndarray
    age: int | None
    density: int | None
    words: str


def draw_example(card: ModelCard, turn: int) -> Example:
    """Draws a phantom of the kind of images that a model takes, of another class at each turn.

    Args:
        card: the model's; where its recipe is for any image, age and density or a class "malignant" say which kind.
        turn: 0 or more; the same turn gives the same scan.
    """
    modality = card.modality or ("ultrasound" if _names_ultrasound(card) else "mammography")
    return _ultrasound(turn) if modality == "ultrasound" else _mammogram(turn)


def _names_ultrasound(card: ModelCard) -> bool:
    return not card.takes_metadata and set(card.class_names) == set(ULTRASOUND_SHARES)


def _mammogram(turn: int) -> Example:
    status = ("Cancer", "Benign", "Normal")[turn % len(MAMMOGRAM_ODDS)]
    patient = next(one for one in mammogram_patients(_COHORT, FIRST_SEED + turn) if one.status == status)
    scan = draw_mammogram(patient, "MLO", "LEFT")
    lesion = "no lesion" if patient.lesion == "none" else f"{patient.lesion} lesion"
    words = f"{NOTICE}. Drawn as {status.lower()}: {lesion}, age {patient.age}, density {patient.density}."
    return Example(f"phantom-{status.lower()}-{turn + 1}", scan.image, patient.age, patient.density, words)


def _ultrasound(turn: int) -> Example:
    label = ("malignant", "benign", "normal")[turn % len(ULTRASOUND_SHARES)]
    scan = next(one for one in ultrasound_scans(_COHORT, FIRST_SEED + turn) if one.label == label)
    image = draw_ultrasound(scan.subject, 256, scan.exposure, scan.coloured).image
    lesion = "no lesion" if scan.subject.lesion == "none" else f"{scan.subject.lesion} lesion"
    return Example(f"phantom-{label}-{turn + 1}", image, None, None, f"{NOTICE}. Drawn as {label}: {lesion}.")
