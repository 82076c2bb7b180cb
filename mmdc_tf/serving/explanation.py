"""A saved model and what it looks at in a scan: Grad-CAM and its own attention, from the file to the heatmaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from mmdc_tf.datasets.dicom import read_header
from mmdc_tf.errors import ConfigurationError, did_you_mean
from mmdc_tf.explain.attention_maps import attention_maps
from mmdc_tf.explain.gradcam import enlarged, fine_layer, grad_cam, grad_cam_layer, layer_cam, model_inputs
from mmdc_tf.preprocessing import PreprocessedScan, preprocess_scan
from mmdc_tf.serving.card import ModelCard
from mmdc_tf.serving.loading import load_model
from mmdc_tf.serving.metadata import checked, resolve

GRAD_CAM, LAYER_CAM = "Grad-CAM", "LayerCAM"


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


class Explainer:
    """A loaded model with its card. ``load_explainer`` makes one.

    Args:
        model: a registered model, as from ``keras.models.load_model``.
        card: the content of its ``model.json``.
        read: preprocesses a file as ``preprocess_scan`` does with the card's recipe and size, which is what None does.

    Raises:
        ConfigurationError: the model takes no image.
    """

    def __init__(
        self, model: keras.Model, card: ModelCard, read: Callable[[str | Path], PreprocessedScan] | None = None
    ) -> None:
        self.model, self.card = model, card
        self._read = read or (lambda path: preprocess_scan(path, card.recipe, card.image_size))
        self.layer, self.fine_layer = grad_cam_layer(model), fine_layer(model)

    def class_index(self, name: str) -> int:
        """The place of a class among the model's.

        Raises:
            ConfigurationError: it is none of them; the message suggests the nearest.
        """
        names = self.card.class_names
        if name not in names:
            raise ConfigurationError(
                f"Expected a class of {', '.join(names)}. Received: class={name!r}. "
                f"{did_you_mean(name, names, 'Choose one of them.')}"
            )
        return names.index(name)

    def explain(
        self, path: str | Path, class_name: str | None = None, age: float | None = None, density: float | None = None
    ) -> Explanation:
        """Reads a scan, predicts it and makes the heatmaps.

        Args:
            path: an image file.
            class_name: the class that Grad-CAM asks about; None for the most probable.
            age: in years, NaN for unknown; None for what a DICOM header says.
            density: 1 to 4, NaN or None for unknown.

        Raises:
            UnreadableImageError: names the file.
            ConfigurationError: an unknown class.
            InputError, RuntimeError: a value out of range, or as ``preprocess_scan``.
        """
        index = None if class_name is None else self.class_index(class_name)
        scan = self._read(path)
        inputs = self._inputs(scan, path, age, density)
        probabilities = self._probabilities(inputs)
        index = int(probabilities.argmax()) if index is None else index
        sides = scan.image.shape[0], scan.image.shape[1]
        own = {name: enlarged(maps, sides)[0] for name, maps in attention_maps(self.model, inputs).items()}
        heats = {GRAD_CAM: grad_cam(self.model, inputs, index, self.layer)[0]}
        if self.fine_layer is not None:
            heats[LAYER_CAM] = layer_cam(self.model, inputs, index, self.fine_layer)[0]
        return Explanation(scan, probabilities, index, {**heats, **own})

    def _inputs(
        self, scan: PreprocessedScan, path: str | Path, age: float | None, density: float | None
    ) -> dict[str, np.ndarray]:
        """All that any registered model takes; a second view is unknown, so that the first stands for both."""
        image = scan.image[None].astype("float32")
        years, _ = resolve(checked("age", age), read_header(path).age, self.card.takes_metadata)
        grade, _ = resolve(checked("density", density), None, self.card.takes_metadata)
        metadata = np.array([[years.number, grade.number]], "float32")
        return {"image": image, "other_view": np.full_like(image, np.nan), "metadata": metadata}

    def _probabilities(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        raw = np.asarray(self.model(model_inputs(self.model, inputs), training=False), "float64")
        return self.card.calibrated(raw)[0]


def load_explainer(path: str | Path, card: ModelCard | None = None) -> Explainer:
    """Loads a saved network and its card.

    Args:
        path, card: as for ``loading.load_model``.

    Raises:
        ConfigurationError: as ``loading.load_model``.
    """
    return Explainer(*load_model(path, card))
