"""What the page shows of scans: predictions, their range over a row's models, heatmaps, steps, and what would change.

No page is needed for it: ``demo`` lays it out.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom import draw_mammogram, draw_ultrasound, mammogram_patients, ultrasound_scans
from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.preprocessing import PreprocessedScan, preprocess_scan
from mmdc_tf.serving.card import ModelCard, load_model, row_models
from mmdc_tf.serving.explanation import Explainer
from mmdc_tf.serving.output import Prediction
from mmdc_tf.serving.predictor import FAILURES, Predictor

AGES, DENSITIES = tuple(range(30, 91, 5)), (1, 2, 3, 4)
MOST_SCANS = 20
LONGEST = 480  # side of a step's picture, in pixels
FIRST_SEED, COHORT = 1_000, 12
"""Of example phantoms: far from the seeds of runs, whose phantoms a model may have been trained on."""


class Answer(NamedTuple):
    """What the model says of a scan: its file's name, and a prediction or the sentence that says why there is none."""

    name: str
    prediction: Prediction | None
    problem: str = ""


class Example(NamedTuple):
    """A phantom scan: its file's name, uint8 (H, W) or (H, W, 3), what was drawn, age and density if it has them."""

    name: str
    image: np.ndarray
    words: str
    age: int | None = None
    density: int | None = None


class Answers:
    """A trained model as the page asks it, and the other models of its row, which are loaded when first asked.

    A scan is read once: its file may be deleted while it is still shown. Arguments and errors as for
    ``card.load_model``.
    """

    def __init__(self, file: Path, card: ModelCard | None = None) -> None:
        model, self.card = load_model(file, card)
        self._file = file.absolute()
        self._read = functools.lru_cache(MOST_SCANS)(self._preprocess)
        self.steps = functools.lru_cache(MOST_SCANS)(self._steps)
        self._model = Explainer(model, self.card, self._read)
        self.explain = self._model.explain
        self.others = row_models(self._file, self.card)

    def _preprocess(self, path: str | Path) -> PreprocessedScan:
        return preprocess_scan(path, self.card.recipe, self.card.image_size)

    def _steps(self, path: str) -> dict[str, np.ndarray]:
        """Name to picture, uint8 (h, w) or (h, w, 3): the scan as read, what each step made, last the model's input."""
        scan = read_image(path)
        states = self.card.recipe.states(scan, self.card.image_size)
        *made, (last, _) = [(step.name, step.picture(state)) for step, state in states]
        pictures = [("scan", scan), *made, (last, self._read(Path(path)).image)]
        return {f"{place}. {name.replace('-', ' ')}": _small(one) for place, (name, one) in enumerate(pictures, 1)}

    def predict(self, paths: Sequence[str], age: float | None, density: float | None) -> list[Answer]:
        """Predicts the first ``MOST_SCANS`` scans, with one age and density for all, as for ``Predictor.predict``."""
        too_many = f"Expected at most {MOST_SCANS} files at once. Received: {len(paths)}. Remove some."
        answers = []
        for path in paths[:MOST_SCANS]:
            try:
                answers.append(Answer(Path(path).name, self._model.predict(path, age, density)[0]))
            except FAILURES as error:
                answers.append(Answer(Path(path).name, None, sentence(error, path)))
        return answers + [Answer(Path(path).name, None, too_many) for path in paths[MOST_SCANS:]]

    def spread(self, path: str, prediction: Prediction) -> pd.DataFrame | None:
        """What each of the row's models says, a line a model, named by its folder, a column a class; None with one.

        Raises:
            ConfigurationError: another model of the row cannot be loaded.
        """
        if not self.others:
            return None
        given = [prediction.age.number], [prediction.density.number]
        found = [list(prediction.probabilities.values()), *(one.vary(path, *given)[0] for one in self._other_models)]
        names = [file.parent.name for file in (self._file, *self.others)]
        return pd.DataFrame(found, index=names, columns=list(self.card.class_names))

    @functools.cached_property
    def _other_models(self) -> list[Predictor]:
        return [Predictor(*load_model(file), self._read) for file in self.others]

    def changes(self, path: str, prediction: Prediction) -> dict[str, pd.DataFrame]:
        """Calibrated probabilities with other ages and, by themselves, densities: "age" and "density" to a table.

        A line a value, in rising order, that which was given among them; "unknown" (NaN) first; a column a class.
        Empty for a model that takes neither.
        """
        if not self.card.takes_metadata:
            return {}
        given = {"age": prediction.age.number, "density": prediction.density.number}
        tables = {}
        for name, known in (("age", {*AGES, given["age"]}), ("density", DENSITIES)):
            values = [math.nan, *sorted(value for value in known if not math.isnan(value))]
            varied = {one: [value] * len(values) for one, value in given.items()} | {name: values}
            found = self._model.vary(path, varied["age"], varied["density"])
            tables[name] = pd.DataFrame(found, index=values, columns=list(self.card.class_names))
        return tables

    def example(self, turn: int) -> Example:
        """Draws a phantom of the model's modality, a mammogram where it is not known, of another class at each turn."""
        ultrasound = self.card.modality == "ultrasound"
        label = (("malignant" if ultrasound else "cancer"), "benign", "normal")[turn % 3]
        name, seed = f"phantom-{label}-{turn + 1}.png", FIRST_SEED + turn
        if ultrasound:
            scan = next(one for one in ultrasound_scans(COHORT, seed) if one.label == label)
            image = draw_ultrasound(scan.subject, 256, scan.exposure, scan.coloured).image
            return Example(name, image, f"{_drawn(label, scan.subject.lesion)}.")
        patient = next(one for one in mammogram_patients(COHORT, seed) if one.status.lower() == label)
        words = f"{_drawn(label, patient.lesion)}, age {patient.age}, density {patient.density}."
        return Example(name, draw_mammogram(patient, "MLO", "LEFT").image, words, patient.age, patient.density)


def _drawn(label: str, lesion: str) -> str:
    return f"{NOTICE}. Drawn as {label}: {'no' if lesion == 'none' else lesion} lesion"


def _small(image: np.ndarray) -> np.ndarray:
    share = min(1.0, LONGEST / max(image.shape[:2]))
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def sentence(error: Exception, path: str) -> str:
    """What went wrong, in one line, with the file's name in place of its temporary place."""
    text = str(error) or f"Expected a scan that fits into memory. Received: {path} ({type(error).__name__})."
    return " ".join(text.replace(path, Path(path).name).split())
