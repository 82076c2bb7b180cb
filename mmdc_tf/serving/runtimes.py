"""Exported models back from disk, one function a runtime; all are then called in the same way.

None of them needs this package's layers. ONNX Runtime and LiteRT need no TensorFlow either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

OUTPUT = "probabilities"
"""The name of the one output in every format; the inputs have the names of the model's own."""

Predict = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""From the tensors by name, float32 with the images of a batch in the first axis, to float32 (batch, classes)."""

_ORT_ERRORS_ONLY = 3


def load_saved_model(path: Path, threads: int | None = None) -> Predict:
    """A SavedModel by TensorFlow, through the signature that TensorFlow Serving calls.

    Args:
        path: the folder.
        threads: not used: TensorFlow's are set for the whole process.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def predict(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        return loaded.signatures["serving_default"](**tensors)[OUTPUT].numpy()

    return predict


def load_onnx(path: Path, threads: int | None = None) -> Predict:
    """An ONNX file by ONNX Runtime, on the processor.

    Args:
        path: the file.
        threads: in which one call computes; None for one a core.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ORT_ERRORS_ONLY
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run([OUTPUT], dict(inputs))[0]


def load_tflite(path: Path, threads: int | None = None) -> Predict:
    """A TFLite file by LiteRT, with its XNNPACK kernels.

    Args:
        path: the file.
        threads: in which one call computes; None for LiteRT's own choice, one.
    """
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(path), num_threads=threads).get_signature_runner()
    return lambda inputs: runner(**inputs)[OUTPUT]  # it resizes its tensors where the batch is of another size


RUNTIMES: dict[str, Callable[[Path, int | None], Predict]] = {
    "saved_model": load_saved_model,
    "onnx": load_onnx,
    "tflite": load_tflite,
}
"""By the name of the format, as in ``export.FORMATS``."""
