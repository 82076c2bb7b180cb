"""A saved model with its card, as a training leaves them, with an untrained network: for what uses saved models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.models import MODELS, ModelSettings, build_model
from mmdc_tf.preprocessing import get_recipe, preprocess_file

SIZE = 32
CLASSES = ("benign", "cancer", "normal")


def write_model(
    folder: Path, model: str = "mmdcnet", recipe: str = "plain", card: dict[str, Any] | None = None, **arguments: Any
) -> Path:
    """Writes ``model.keras``, its last layer so large that the inputs show in the output, and ``model.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    network = build_model(model, ModelSettings(SIZE, len(CLASSES)), **arguments)
    last = network.layers[-1].kernel
    last.assign(np.random.default_rng(3).normal(0, 0.2, last.shape))
    network.save(folder / "model.keras")
    content = {
        "model": model,
        "class_names": list(CLASSES),
        "inputs": list(MODELS[model].inputs),
        "image_size": SIZE,
        "preprocessing": get_recipe(recipe).to_config(),
        "temperature": 1.5,
        "positive_class": "cancer",
        "sensitivity_asked": 0.9,
        "threshold": 0.3,
        "fitted_on": "validation part",
    }
    write_card(folder, {**content, **(card or {})})
    return folder


def write_card(folder: Path, content: dict[str, Any]) -> None:
    (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")


def change_card(folder: Path, **changes: Any) -> Path:
    """Values of None are kept: they stand for "no calibration"."""
    write_card(folder, {**json.loads((folder / "model.json").read_text(encoding="utf-8")), **changes})
    return folder


def scan(seed: int = 0) -> np.ndarray:
    """Grey noise with a bright and a dark half: uint8 (48, 40)."""
    image = np.random.default_rng(seed).integers(20, 120, (48, 40)).astype(np.uint8)
    image[:24] += 100
    return image


def write_image(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def write_dicom(path: Path, image: np.ndarray, **elements: Any) -> Path:
    """An 8-bit grey DICOM file with these header elements."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = image.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = image.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def powers(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """The definition of temperature scaling on probabilities: p to the power 1/T, divided by the sum."""
    raised = probabilities ** (1 / temperature)
    return raised / raised.sum(axis=1, keepdims=True)


def by_hand(
    folder: Path, image: Path | str, metadata: list[tuple[float, float]], temperature: float = 1.5
) -> np.ndarray:
    """What a model says of an image with these ages and densities, calibrated: float64 (values, classes)."""
    array = preprocess_file(image, get_recipe("plain"), SIZE)[np.newaxis].astype("float32")
    inputs = {"image": array.repeat(len(metadata), axis=0), "metadata": np.array(metadata, "float32")}
    network = keras.models.load_model(folder / "model.keras")
    return powers(np.asarray(network(inputs, training=False), float), temperature)
