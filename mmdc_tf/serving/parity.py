"""Exported models back from disk, and whether they say what the Keras model says on the same images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

    from mmdc_tf.serving.card import ModelCard

OUTPUT = "probabilities"
"""The name of the one output in every format; the inputs have the names of the model's own."""
BATCH = 16  # of 50 images the last batch has 2: a batch of another size is tried too
MOST_IMAGES = 50
LARGEST_DIFFERENCE, LEAST_AGREEMENT = 1e-4, 0.9
"""Of a float model's probabilities; share of the images on which a quantised one must name the same class."""

Predict = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""From the tensors by name, float32 with the images of a batch in the first axis, to float32 (batch, classes)."""


def load_saved_model(path: Path) -> Predict:
    """A SavedModel by TensorFlow, as TensorFlow Serving calls it."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def predict(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        return loaded.signatures["serving_default"](**tensors)[OUTPUT].numpy()

    return predict


def load_onnx(path: Path) -> Predict:
    """An ONNX file by ONNX Runtime, on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run([OUTPUT], dict(inputs))[0]


def load_tflite(path: Path) -> Predict:
    """A TFLite file by LiteRT, with its XNNPACK kernels."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(path)).get_signature_runner()
    return lambda inputs: runner(**inputs)[OUTPUT]  # it resizes its tensors where the batch is of another size


RUNTIMES = {"saved_model": load_saved_model, "onnx": load_onnx, "tflite": load_tflite}
"""By the name of the format, as in ``export.FORMATS``."""


@dataclass(frozen=True)
class Parity:
    """How near an exported model, quantised or not, is to the Keras model.

    Args:
        images: how many were compared.
        largest: difference of a probability between the two, over all images and classes; NaN where one is NaN.
        agreeing: images whose most probable class is the same.
    """

    images: int
    largest: float
    agreeing: int
    quantised: bool

    @property
    def passed(self) -> bool:
        """A float model: within ``LARGEST_DIFFERENCE``; a quantised one: ``LEAST_AGREEMENT`` of the images agree."""
        if self.quantised:
            return self.agreeing >= LEAST_AGREEMENT * self.images and not np.isnan(self.largest)
        return self.largest <= LARGEST_DIFFERENCE  # NaN is not

    @property
    def text(self) -> str:
        """The numbers and what is allowed, in one line."""
        difference = f"largest difference of a probability {self.largest:.2g}"
        agreement = f"same most probable class in {self.agreeing} of {self.images}"
        if self.quantised:
            return f"{difference}, {agreement} (at least {100 * LEAST_AGREEMENT:g} % needed)"
        return f"{difference} (allowed: {LARGEST_DIFFERENCE:g}), {agreement}"


def compare(model: keras.Model, exported: Predict, inputs: Mapping[str, np.ndarray], quantised: bool) -> Parity:
    """Predicts the same inputs, as from ``parity_inputs``, with both, ``BATCH`` images at a time."""
    expected = np.asarray(model.predict(dict(inputs), batch_size=BATCH, verbose=0), np.float64)
    starts = range(0, len(expected), BATCH)
    parts = [{name: values[start : start + BATCH] for name, values in inputs.items()} for start in starts]
    found = np.concatenate([exported(part) for part in parts]).astype(np.float64)
    agreeing = int((expected.argmax(axis=1) == found.argmax(axis=1)).sum())
    return Parity(len(expected), float(np.abs(expected - found).max()), agreeing, quantised)


def parity_inputs(card: ModelCard, paths: Sequence[Path]) -> dict[str, np.ndarray]:
    """All that a model takes, for images; what no image file holds as in ``with_the_rest``.

    Args:
        card: the model's.
        paths: files and folders; at most ``MOST_IMAGES`` of their images are taken, evenly over their order. Without
            any, phantoms of the model's modality are drawn, mammograms where it is not known.

    Raises:
        DatasetError, UnreadableImageError, RuntimeError: as ``listing.list_images`` and ``preprocess_file``.
    """
    from mmdc_tf.datasets.phantom import write_phantom_mammograms, write_phantom_ultrasound
    from mmdc_tf.preprocessing import preprocess_file
    from mmdc_tf.serving.listing import list_images

    with tempfile.TemporaryDirectory() as scratch:
        if not paths and card.modality == "ultrasound":
            paths = [write_phantom_ultrasound(Path(scratch, "phantom"), images=MOST_IMAGES)]
        elif not paths:
            paths = [write_phantom_mammograms(Path(scratch, "phantom"), patients=-(-MOST_IMAGES // 4))]
        found = list_images(paths, None, None, None).paths
        chosen = np.linspace(0, len(found) - 1, min(len(found), MOST_IMAGES)).round().astype(int)
        pixels = np.stack([preprocess_file(found[index], card.recipe, card.image_size) for index in chosen])
    return with_the_rest(card.inputs, pixels)


def with_the_rest(names: Sequence[str], pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The tensors of a model, with every combination of known and unknown.

    Age and density go over their ranges, in turn both known, the age unknown, the density unknown, and both; the other
    view is the image before, and missing for each second image.

    Args:
        names: of ``"image"``, ``"metadata"`` and ``"other_view"``, those that the model takes.
        pixels: (n, S, S, 3) in [0, 255].

    Returns:
        By name, float32, the images in the first axis.
    """
    from mmdc_tf.datasets.schema import AGE_RANGE, DENSITY_RANGE

    image, turn = pixels.astype(np.float32), np.arange(len(pixels))
    other = np.roll(image, 1, axis=0)
    other[::2] = np.nan
    metadata = np.column_stack([np.linspace(*limits, len(turn)) for limits in (AGE_RANGE, DENSITY_RANGE)])
    metadata[:, 1] = metadata[:, 1].round()
    metadata[turn % 2 == 1, 0] = np.nan
    metadata[turn % 4 >= 2, 1] = np.nan
    known = {"image": image, "metadata": metadata.astype(np.float32), "other_view": other}
    return {name: known[name] for name in names}
