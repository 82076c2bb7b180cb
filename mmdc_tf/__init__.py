"""MMDCNet and BCDNet for breast imaging: trained, scored and tabulated with and without leaks. Research use only.

    data = mmdc_tf.load_dataset("busi", root)
    train, validation, test = data.split("leak-free", fold=0)
    model = mmdc_tf.models.BCDNet("densenet121", num_classes=3, weights="imagenet")      # a keras.Model
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(train.to_tf(training=True), validation_data=validation.to_tf(), epochs=10)
    test.score(model)                                                                     # with intervals

Importing this package is enough for ``keras.models.load_model`` to find its layers, and stays cheap: they are
registered when Keras is imported, before or after, and TensorFlow is loaded when it is first needed.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import wrapt

from mmdc_tf.version import __version__

if TYPE_CHECKING:
    from mmdc_tf import evaluation, layers, models, preprocessing
    from mmdc_tf.api import load_dataset
    from mmdc_tf.serving.predictor import load_predictor

__all__ = ["__version__", "evaluation", "layers", "load_dataset", "load_predictor", "models", "preprocessing"]

_PLACES = {"load_dataset": "mmdc_tf.api", "load_predictor": "mmdc_tf.serving.predictor"}

# TensorFlow reads it when it is imported. Its default depends on the processor; with oneDNN convolutions are faster on
# all that were measured (docs/speed.md), and an image's features do not depend on its neighbours in the batch.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@wrapt.when_imported("keras")
def _register_layers(_keras: object) -> None:
    importlib.import_module("mmdc_tf.layers")


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
