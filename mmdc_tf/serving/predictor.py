"""A saved model on new images: the preprocessing, calibration and threshold that were stored with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmdc_tf.datasets.dicom import DicomHeader, read_header
from mmdc_tf.datasets.values import RANGES, read_number, refusal
from mmdc_tf.errors import ConfigurationError, InputError
from mmdc_tf.preprocessing import PreprocessedScan, preprocess_scan
from mmdc_tf.serving.card import ModelCard, load_model
from mmdc_tf.serving.output import GIVEN, HEADER, NOT_USED, UNKNOWN, MetadataValue, Prediction, Predictions

if TYPE_CHECKING:
    import keras

BATCH = 32
LEAST_DIFFERENCE = 1.0
"""Years: a header holds completed ones, so 61.5 does not differ from 61."""
MEAN_RANGE, LEAST_CONTRAST = (10.0, 200.0), 12.0
"""Grey levels. Of 72 scans of Mini-DDSM and 300 of BUSI, means are 13 to 170 and standard deviations 26 to 84."""
DICOM_MODALITIES = {"MG": "mammography", "US": "ultrasound"}

FAILURES = (OSError, InputError, RuntimeError, MemoryError)
"""What a file or value may cause; anything else is a fault of the program."""

PathLike = str | Path


@dataclass(frozen=True)
class Sample:
    """An image ready for a model, the other view uint8 (S, S, 3) or None where it is missing."""

    path: Path
    scan: PreprocessedScan
    other_view: np.ndarray | None
    age: MetadataValue
    density: MetadataValue
    header: DicomHeader
    flags: tuple[str, ...]


class Predictor:
    """A trained model, ready to be asked. ``load_predictor`` makes one.

    Args:
        model: from the tensors of ``card.inputs`` to class probabilities.
        card: what it was trained with.
        read: preprocesses a file as ``preprocess_scan`` does with the card's recipe and size, which is what None does.
    """

    def __init__(
        self, model: keras.Model, card: ModelCard, read: Callable[[PathLike], PreprocessedScan] | None = None
    ) -> None:
        self.model, self.card = model, card
        self._read = read or (lambda path: preprocess_scan(path, card.recipe, card.image_size))

    def __repr__(self) -> str:
        card = self.card
        taken, given = ", ".join(card.inputs), ", ".join(card.class_names)
        return f"<Predictor {card.name}: {taken} ({card.image_size} pixels) → {given}; {card.notice}>"

    def predict(
        self,
        path_or_paths: PathLike | Iterable[PathLike],
        age: float | Sequence[float | None] | None = None,
        density: float | Sequence[float | None] | None = None,
        other_view: PathLike | Sequence[PathLike | None] | None = None,
        on_error: Callable[[Path, Exception], object] | None = None,
    ) -> Predictions:
        """Predicts images, ``BATCH`` at a time.

        Args:
            path_or_paths: one image file or several, as for ``mmdc_tf.datasets.images.read_image``.
            age: in years, for all images, or one for each. None: not given, so that a DICOM header's is used, or none;
                NaN: unknown, whatever the header says.
            density: BI-RADS 1 to 4, in the same way; no header holds it.
            other_view: the image of the same breast in the other view, for a model that takes both; one for a single
                image, or one for each. Without it the model is told that it is missing.
            on_error: called with an image that cannot be read or preprocessed and the error, and the others are
                predicted; without it the error is raised.

        Returns:
            One for each image, in order, without those that ``on_error`` was called with; ``to_table()`` makes a
            ``pandas.DataFrame`` of them.

        Raises:
            InputError: an age or density is out of range or no number, or there are not as many as images.
            UnreadableImageError: names the file, where ``on_error`` is not given.
            ConfigurationError: the model gives NaN or infinity.
            RuntimeError: a step of the preprocessing failed in any other way, where ``on_error`` is not given.
        """
        given = [path_or_paths] if isinstance(path_or_paths, (str, Path)) else path_or_paths
        paths = [Path(path) for path in given]
        ages = [checked("age", value) for value in _for_each("age", age, len(paths))]
        densities = [checked("density", value) for value in _for_each("density", density, len(paths))]
        if isinstance(other_view, (str, Path)):
            other_view = [other_view]  # of a single image: two images do not share one other view
        asked = list(zip(paths, ages, densities, _for_each("other_view", other_view, len(paths)), strict=True))
        predictions = Predictions()
        for start in range(0, len(asked), BATCH):
            samples = []
            for one in asked[start : start + BATCH]:
                try:
                    samples.append(self._sample(*one))
                except FAILURES as error:
                    if on_error is None:
                        raise
                    on_error(one[0], error)
            predictions += self._predictions(samples) if samples else []
        return predictions

    def vary(self, path: PathLike, ages: Sequence[float], densities: Sequence[float]) -> np.ndarray:
        """What the model says of one image with several ages and densities, NaN for unknown; errors as for ``predict``.

        Returns:
            Calibrated probabilities, float64 (ages, classes).
        """
        sample = self._sample(Path(path))
        metadata = np.column_stack([ages, densities]).astype(np.float32)
        return self.card.calibrated(self._probabilities(self._tensors([sample] * len(metadata), metadata)))

    def _sample(
        self, path: Path, age: float | None = None, density: float | None = None, other_view: PathLike | None = None
    ) -> Sample:
        card, scan, header = self.card, self._read(path), read_header(path)
        years = _resolved(age, header.age, card.takes_metadata)
        if age_not_read := header.age is None and header.age_text != "":
            years = replace(years, in_header=header.age_text)
        differs = age is not None and header.age is not None and abs(age - header.age) >= LEAST_DIFFERENCE
        other = self._read(other_view).image if other_view else None
        of_image = DICOM_MODALITIES.get(header.modality)
        grey = scan.image[..., 0]  # the other channels are the same, or codes of texture (recipe "brint")
        low, high = MEAN_RANGE
        found = {
            "unusual_intensity": not low <= grey.mean() <= high or grey.std() < LEAST_CONTRAST,
            "wrong_modality": None not in (of_image, card.modality) and of_image != card.modality,
            "age_differs_from_header": differs,
            "age_not_read": age_not_read,
            "other_view_missing": "other_view" in card.inputs and other is None,
            "not_calibrated": card.temperature is None,
        }
        flags = (*scan.flags, *(name for name, present in found.items() if present))
        return Sample(path, scan, other, years, _resolved(density, None, card.takes_metadata), header, flags)

    def _tensors(self, samples: list[Sample], metadata: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """What the model takes, float32; ``metadata`` stands in place of the samples' own."""
        if metadata is None:
            metadata = np.array([[one.age.number, one.density.number] for one in samples], np.float32)
        image = np.stack([one.scan.image for one in samples]).astype(np.float32)
        unknown = np.full(image.shape[1:], np.nan, np.float32)
        other = np.stack([unknown if one.other_view is None else one.other_view for one in samples])
        every = {"image": image, "other_view": other, "metadata": metadata}
        return {name: every[name] for name in self.card.inputs}

    def _probabilities(self, tensors: dict[str, np.ndarray]) -> np.ndarray:
        """The model's own, float64 (n, classes)."""
        raw = np.asarray(self.model.predict(tensors, batch_size=BATCH, verbose=0), dtype=float)
        if not np.isfinite(raw).all():
            raise ConfigurationError(
                f"Expected finite probabilities. Received: NaN or infinity from the model {self.card.name!r}. "
                "Train it again."
            )
        return raw

    def _predictions(self, samples: list[Sample]) -> list[Prediction]:
        card, tensors = self.card, self._tensors(samples)
        raw = self._probabilities(tensors)
        with_unknown: list[dict[str, dict[str, float]]] = [{} for _ in samples]
        for column, name in enumerate(("age", "density") if card.takes_metadata else ()):
            known = np.flatnonzero(~np.isnan(tensors["metadata"][:, column]))
            if not len(known):
                continue
            changed = {key: values[known] for key, values in tensors.items()}
            changed["metadata"][:, column] = np.nan
            for index, values in zip(known, card.calibrated(self._probabilities(changed)), strict=True):
                with_unknown[index][name] = self._by_class(values)
        calibrated = [self._by_class(one) for one in card.calibrated(raw)]
        return [
            Prediction(
                path=str(sample.path),
                probabilities=probabilities,
                raw_probabilities=self._by_class(own),
                predicted_class=card.class_names[int(own.argmax())],  # a temperature keeps the order
                positive_class=card.positive_class,
                threshold=card.threshold,
                decision=None
                if card.positive_class is None or card.threshold is None
                else probabilities[card.positive_class] >= card.threshold,
                age=sample.age,
                density=sample.density,
                with_unknown=others,
                laterality=sample.header.laterality,
                view=sample.header.view,
                flags=sample.flags,
                notice=card.notice,
            )
            for sample, own, probabilities, others in zip(samples, raw, calibrated, with_unknown, strict=True)
        ]

    def _by_class(self, probabilities: np.ndarray) -> dict[str, float]:
        return dict(zip(self.card.class_names, probabilities.tolist(), strict=True))


def load_predictor(path: str | Path) -> Predictor:
    """Loads a trained model with all that was stored for its use.

    Args:
        path: a ``model.keras`` file, or the training's folder that holds it; ``model.json`` lies beside it.

    Raises:
        ConfigurationError: the model or its card is absent, broken, or of another model; it takes no image; or its
            preprocessing is another in this version.
    """
    return Predictor(*load_model(path))


def checked(name: str, value: float | str | None) -> float | None:
    """An age or density, as a number or as ``read_number`` takes it: NaN for "unknown", None for None and ""."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return read_number(name, value)
    low, high = RANGES[name]
    if math.isnan(value) or low <= value <= high:
        return value
    raise InputError(refusal(name, value))


def _resolved(given: float | None, in_header: float | None, used: bool) -> MetadataValue:
    """The value for the model, of which a given one wins over the header's."""
    value = in_header if given is None else given
    if not used:
        return MetadataValue(None, NOT_USED, in_header)
    if value is None or math.isnan(value):
        return MetadataValue(None, UNKNOWN, in_header)
    return MetadataValue(value, HEADER if given is None else GIVEN, in_header)


def _for_each(name: str, given: Any, count: int) -> list:
    """One value an image."""
    values = list(given) if np.iterable(given) and not isinstance(given, str) else [given] * count
    if len(values) != count:
        raise InputError(
            f"Expected one {name} for each image, or one for all. Received: {len(values)} for {count} images. "
            "Give as many as images, None where there is none."
        )
    return values
