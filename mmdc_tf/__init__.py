"""MMDCNet and BCDNet for breast imaging: trained, scored and tabulated with and without leaks.

Importing this package is enough for ``keras.models.load_model`` to find its layers, and stays cheap: the
layers are registered when Keras itself is imported, before or after. ``mmdc_tf.load_predictor``, for a trained model
on new images, imports TensorFlow when it is first asked for.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import wrapt

from mmdc_tf.version import __version__

if TYPE_CHECKING:
    from mmdc_tf.serving.predictor import load_predictor

__all__ = ["__version__", "load_predictor"]

# TensorFlow reads it when it is imported. Its default depends on the processor; with oneDNN convolutions are faster on
# all that were measured (docs/speed.md), and an image's features do not depend on its neighbours in the batch.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@wrapt.when_imported("keras")
def _register_layers(_keras: object) -> None:
    importlib.import_module("mmdc_tf.layers")


def __getattr__(name: str) -> Any:
    if name == "load_predictor":
        return importlib.import_module("mmdc_tf.serving.predictor").load_predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
