"""What the page shows of scans: predictions, their range over a row's models, heatmaps, steps, and what would change.

No page is needed for it: ``demo`` lays it out.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdc_tf.errors import InputError
from mmdc_tf.serving.card import ModelCard
from mmdc_tf.serving.explanation import Explainer, Explanation
from mmdc_tf.serving.loading import load_model
from mmdc_tf.serving.prediction import Prediction
from mmdc_tf.serving.predictor import Predictor
from mmdc_tf.serving.scan_steps import ScanReader
from mmdc_tf.serving.siblings import siblings

AGES = tuple(range(30, 91, 5))
DENSITIES = (1, 2, 3, 4)
MOST_SCANS = 20
FAILURES = (OSError, InputError, RuntimeError, MemoryError)
"""What a file or value may cause; anything else is a fault of the program."""


@dataclass(frozen=True)
class Answer:
    """What the model says of one scan.

    Args:
        name: the file's, without its folder.
        prediction: None where there is none.
        problem: the sentence that says why; "" where there is a prediction.
    """

    name: str
    prediction: Prediction | None
    problem: str


@dataclass(frozen=True)
class Spread:
    """How far the trained models of a row differ on one scan.

    Args:
        trainings: the names of the models' folders, the given one first.
        lowest, highest: of each class's calibrated probability, over these models.
    """

    trainings: tuple[str, ...]
    lowest: dict[str, float]
    highest: dict[str, float]


@dataclass(frozen=True)
class Changes:
    """The calibrated probabilities of one scan with other ages and densities.

    Args:
        ages: in years, rising, the given one among them.
        by_age: float64 (ages, classes), with the density as it is given.
        by_density: float64 (4, classes), of the densities 1 to 4, with the age as it is given.
    """

    ages: tuple[float, ...]
    by_age: np.ndarray
    by_density: np.ndarray


class Answers:
    """A trained model as the page asks it.

    Args:
        file: ``model.keras``, with its card beside it; the other models of its row are found by their folders and
            loaded when they are first asked.
        card: of ``read_card`` on that file, where it was read before.

    Raises:
        ConfigurationError: as ``loading.load_model``.
    """

    def __init__(self, file: Path, card: ModelCard | None = None) -> None:
        model, self.card = load_model(file, card)
        self._file = file.absolute()
        self._read = ScanReader(self.card.recipe, self.card.image_size)
        self._predictor = Predictor(model, self.card, self._read)
        self._explainer = Explainer(model, self.card, self._read)
        self.siblings = siblings(self._file, self.card)

    def predict(self, paths: Sequence[str], age: float | None, density: float | None) -> list[Answer]:
        """Predicts scans, the first ``MOST_SCANS`` of them, with one age and density for all.

        Args:
            paths: of files; what cannot be read is an answer with a problem.
            age, density: as for ``Predictor.predict``.
        """
        answers = [self._answer(path, age, density) for path in paths[:MOST_SCANS]]
        too_many = f"Expected at most {MOST_SCANS} files at once. Received: {len(paths)}. Remove some."
        return [*answers, *(Answer(Path(path).name, None, too_many) for path in paths[MOST_SCANS:])]

    def _answer(self, path: str, age: float | None, density: float | None) -> Answer:
        try:
            return Answer(Path(path).name, self._predictor.predict(path, age, density)[0], "")
        except FAILURES as error:
            return Answer(Path(path).name, None, sentence(error, path))

    def steps(self, path: str) -> tuple[tuple[str, np.ndarray], ...]:
        """The name and picture of each step of the preprocessing, as in ``WatchedScan``."""
        return self._read.watched(Path(path)).steps

    def explain(self, path: str, age: float | None, density: float | None) -> Explanation:
        """The heatmaps; Grad-CAM is that of the most probable class."""
        return self._explainer.explain(path, None, age, density)

    def spread(self, path: str, prediction: Prediction) -> Spread | None:
        """The range of the probabilities over the row's models, each calibrated by itself; None with one model.

        Args:
            path: the scan's.
            prediction: what the given model says of it, and with which age and density.

        Raises:
            ConfigurationError: another model of the row cannot be loaded.
        """
        if not self.siblings:
            return None
        given = [prediction.age.number], [prediction.density.number]
        others = [one.vary(path, *given)[0] for one in self._others]
        every = np.stack([np.array(list(prediction.probabilities.values())), *others])
        names = tuple(file.parent.name for file in (self._file, *self.siblings))
        return Spread(names, self._by_class(every.min(axis=0)), self._by_class(every.max(axis=0)))

    @functools.cached_property
    def _others(self) -> list[Predictor]:
        return [Predictor(*load_model(file), self._read) for file in self.siblings]

    def _by_class(self, values: np.ndarray) -> dict[str, float]:
        return dict(zip(self.card.class_names, values.tolist(), strict=True))

    def changes(self, path: str, prediction: Prediction) -> Changes | None:
        """What the model would say with other ages and densities; None for a model that takes none.

        Args:
            path, prediction: as for ``spread``.
        """
        if not self.card.takes_metadata:
            return None
        age, density = prediction.age.number, prediction.density.number
        known = {float(years) for years in AGES} | ({age} if prediction.age.value is not None else set())
        ages = tuple(sorted(known))
        varied = [*ages, *[age] * len(DENSITIES)], [*[density] * len(ages), *DENSITIES]
        found = self._predictor.vary(path, *varied)
        return Changes(ages, found[: len(ages)], found[len(ages) :])


def sentence(error: Exception, path: str) -> str:
    """What went wrong, in one line, with the file's name in place of its temporary place."""
    text = str(error) or f"Expected a scan that fits into memory. Received: {path} ({type(error).__name__})."
    return " ".join(text.replace(path, Path(path).name).split())
