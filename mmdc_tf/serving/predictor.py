"""A saved model on new images: the preprocessing, calibration and threshold that were stored with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from mmdc_tf.datasets.dicom import DicomHeader, read_header
from mmdc_tf.errors import ConfigurationError, InputError
from mmdc_tf.inputs.metadata import METADATA_COLUMNS
from mmdc_tf.preprocessing import PreprocessedScan, preprocess_scan
from mmdc_tf.serving.card import ModelCard
from mmdc_tf.serving.loading import load_model
from mmdc_tf.serving.metadata import MetadataValue, checked, resolve
from mmdc_tf.serving.prediction import Prediction
from mmdc_tf.serving.quality import has_unusual_intensity, is_wrong_modality

BATCH = 32

PathLike = str | Path
OnError = Callable[[Path, Exception], object]
Read = Callable[[PathLike], PreprocessedScan]


@dataclass(frozen=True)
class _Asked:
    """An image and what was given with it."""

    path: Path
    age: float | None
    density: float | None
    other_view: Path | None


@dataclass(frozen=True)
class _Seen:
    """An image ready for the model: pixels uint8 (S, S, 3), the other view None where it is missing."""

    path: Path
    image: np.ndarray
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

    def __init__(self, model: keras.Model, card: ModelCard, read: Read | None = None) -> None:
        self._model = model
        self.card = card
        self._read = read or (lambda path: preprocess_scan(path, card.recipe, card.image_size))

    def predict(
        self,
        path_or_paths: PathLike | Iterable[PathLike],
        age: float | Sequence[float | None] | None = None,
        density: float | Sequence[float | None] | None = None,
        other_view: PathLike | Sequence[PathLike | None] | None = None,
        on_error: OnError | None = None,
    ) -> list[Prediction]:
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
            One for each image, in order, without those that ``on_error`` was called with.

        Raises:
            InputError: an age or density is out of range or no number, or there are not as many as images.
            UnreadableImageError: names the file, where ``on_error`` is not given.
            ConfigurationError: the model gives NaN or infinity.
            RuntimeError: a step of the preprocessing failed in any other way, where ``on_error`` is not given.
        """
        asked = _asked(path_or_paths, age, density, other_view)
        predictions = []
        for start in range(0, len(asked), BATCH):
            seen = [self._look(one, on_error) for one in asked[start : start + BATCH]]
            predictions += self._predictions([one for one in seen if one is not None])
        return predictions

    def vary(self, path: PathLike, ages: Sequence[float], densities: Sequence[float]) -> np.ndarray:
        """What the model says of one image with several ages and densities.

        Args:
            path: an image file.
            ages: in years, NaN for unknown; the header's age is not used.
            densities: BI-RADS 1 to 4 or NaN, one for each age.

        Returns:
            Calibrated probabilities, float64 (ages, classes).

        Raises:
            UnreadableImageError, ConfigurationError, RuntimeError: as ``predict``.
        """
        seen = self._seen(_Asked(Path(path), None, None, None))
        metadata = np.column_stack([ages, densities]).astype(np.float32)
        return self.card.calibrated(self._raw([seen] * len(metadata), metadata))

    def _look(self, asked: _Asked, on_error: OnError | None) -> _Seen | None:
        """Reads and preprocesses one image; None where that fails and ``on_error`` was told."""
        try:
            return self._seen(asked)
        except (OSError, InputError, RuntimeError, MemoryError) as error:
            if on_error is None:
                raise
            on_error(asked.path, error)
            return None

    def _seen(self, asked: _Asked) -> _Seen:
        card = self.card
        scan = self._read(asked.path)
        header = read_header(asked.path)
        age, age_differs = resolve(asked.age, header.age, card.takes_metadata)
        age_not_read = header.age is None and header.age_text != ""
        if age_not_read:
            age = replace(age, in_header=header.age_text)
        density, _ = resolve(asked.density, None, card.takes_metadata)
        other = self._read(asked.other_view).image if asked.other_view else None
        found = {
            "unusual_intensity": has_unusual_intensity(scan.image),
            "wrong_modality": is_wrong_modality(header, card.modality),
            "age_differs_from_header": age_differs,
            "age_not_read": age_not_read,
            "other_view_missing": "other_view" in card.inputs and other is None,
            "not_calibrated": card.temperature is None,
        }
        flags = (*scan.flags, *(name for name, present in found.items() if present))
        return _Seen(asked.path, scan.image, other, age, density, header, flags)

    def _predictions(self, seen: list[_Seen]) -> list[Prediction]:
        if not seen:
            return []
        metadata = np.array([[one.age.number, one.density.number] for one in seen], np.float32)
        raw = self._raw(seen, metadata)
        calibrated = self.card.calibrated(raw)
        with_unknown = self._with_unknown(seen, metadata)
        return [self._prediction(*parts) for parts in zip(seen, raw, calibrated, with_unknown, strict=True)]

    def _raw(self, seen: list[_Seen], metadata: np.ndarray) -> np.ndarray:
        """The model's own probabilities, float64 (n, classes)."""
        sources: dict[str, Callable[[], np.ndarray]] = {
            "image": lambda: np.stack([one.image for one in seen]).astype(np.float32),
            "other_view": lambda: np.stack([_or_nan(one) for one in seen]),
            "metadata": lambda: metadata,
        }
        tensors = {name: sources[name]() for name in self.card.inputs}
        raw = np.asarray(self._model.predict(tensors, batch_size=BATCH, verbose=0), dtype=float)
        if not np.isfinite(raw).all():
            raise ConfigurationError(
                f"Expected finite probabilities. Received: NaN or infinity from the model {self.card.name!r}. "
                "Train it again."
            )
        return raw

    def _with_unknown(self, seen: list[_Seen], metadata: np.ndarray) -> list[dict[str, dict[str, float]]]:
        """For each image, the calibrated probabilities with each value that is known made unknown, one at a time."""
        found: list[dict[str, dict[str, float]]] = [{} for _ in seen]
        for column, name in enumerate(METADATA_COLUMNS):
            known = np.flatnonzero(~np.isnan(metadata[:, column]))
            if not len(known):
                continue
            changed = metadata[known]
            changed[:, column] = np.nan
            calibrated = self.card.calibrated(self._raw([seen[index] for index in known], changed))
            for index, probabilities in zip(known, calibrated, strict=True):
                found[index][name] = self._by_class(probabilities)
        return found

    def _by_class(self, probabilities: np.ndarray) -> dict[str, float]:
        return dict(zip(self.card.class_names, probabilities.tolist(), strict=True))

    def _prediction(
        self, seen: _Seen, raw: np.ndarray, calibrated: np.ndarray, with_unknown: dict[str, dict[str, float]]
    ) -> Prediction:
        card, probabilities = self.card, self._by_class(calibrated)
        has_threshold = card.positive_class is not None and card.threshold is not None
        return Prediction(
            path=str(seen.path),
            probabilities=probabilities,
            raw_probabilities=self._by_class(raw),
            predicted_class=card.class_names[int(raw.argmax())],  # a temperature keeps the order
            positive_class=card.positive_class,
            threshold=card.threshold,
            decision=probabilities[str(card.positive_class)] >= float(card.threshold or 0) if has_threshold else None,
            age=seen.age,
            density=seen.density,
            with_unknown=with_unknown,
            laterality=seen.header.laterality,
            view=seen.header.view,
            flags=seen.flags,
            notice=card.notice,
        )


def load_predictor(path: str | Path) -> Predictor:
    """Loads a trained model with all that was stored for its use.

    Args:
        path: a ``model.keras`` file, or the training's folder that holds it; ``model.json`` lies beside it.

    Raises:
        ConfigurationError: the model or its card is absent, broken, or of another model; it takes no image; or its
            preprocessing is another in this version.
    """
    return Predictor(*load_model(path))


def _or_nan(seen: _Seen) -> np.ndarray:
    """The other view, float32 (S, S, 3); NaN everywhere where it is missing, as the model expects."""
    if seen.other_view is None:
        return np.full(seen.image.shape, np.nan, np.float32)
    return seen.other_view.astype(np.float32)


def _asked(
    path_or_paths: PathLike | Iterable[PathLike],
    age: float | Sequence[float | None] | None,
    density: float | Sequence[float | None] | None,
    other_view: PathLike | Sequence[PathLike | None] | None,
) -> list[_Asked]:
    given = [path_or_paths] if isinstance(path_or_paths, (str, Path)) else list(path_or_paths)
    paths = [Path(path) for path in given]
    ages = [checked("age", value) for value in _for_each("age", age, len(paths))]
    densities = [checked("density", value) for value in _for_each("density", density, len(paths))]
    if isinstance(other_view, (str, Path)):
        other_view = [other_view]  # of a single image: two images do not share one other view
    others = [None if path is None else Path(path) for path in _for_each("other_view", other_view, len(paths))]
    return [_Asked(*parts) for parts in zip(paths, ages, densities, others, strict=True)]


def _for_each(name: str, given: object, count: int) -> list:
    """One value an image."""
    values = list(given) if np.iterable(given) and not isinstance(given, str) else [given] * count
    if len(values) != count:
        raise InputError(
            f"Expected one {name} for each image, or one for all. Received: {len(values)} for {count} images. "
            "Give as many as images, None where there is none."
        )
    return values
