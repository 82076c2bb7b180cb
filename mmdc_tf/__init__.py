"""MMDCNet and BCDNet for breast imaging: trained, scored and tabulated with and without leaks.

Importing this package is enough for ``keras.models.load_model`` to find its layers, and stays cheap: the
layers are registered when Keras itself is imported, before or after.
"""

from __future__ import annotations

import importlib

import wrapt

from mmdc_tf.version import __version__

__all__ = ["__version__"]


@wrapt.when_imported("keras")
def _register_layers(_keras: object) -> None:
    importlib.import_module("mmdc_tf.layers")
