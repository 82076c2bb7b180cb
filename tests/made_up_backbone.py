"""A backbone of two convolutions that builds and trains in a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from mmdc_tf.models.backbones import BACKBONES, Backbone, register_backbone


@contextlib.contextmanager
def registered() -> Iterator[str]:
    """Inside it there is a backbone of this name."""
    backbone = Backbone("tiny", _tiny, "none", ("tiny_pool1",), "tiny_conv2", "nowhere/", "tiny_notop.h5", "0" * 32)
    register_backbone(backbone)
    try:
        yield backbone.name
    finally:
        del BACKBONES[backbone.name]


def _tiny(include_top: bool, weights: None, input_tensor: keras.KerasTensor) -> keras.Model:
    # Raw pixels would drive an untrained softmax into 0 and 1: like EfficientNet, it scales inside itself.
    x = keras.layers.Rescaling(1 / 255, name="tiny_rescaling")(input_tensor)
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="tiny_conv1")(x)
    x = keras.layers.BatchNormalization(name="tiny_bn1")(x)
    x = keras.layers.ReLU(name="tiny_relu1")(x)
    x = keras.layers.MaxPooling2D(2, name="tiny_pool1")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", name="tiny_conv2_linear")(x)
    x = keras.layers.BatchNormalization(name="tiny_bn2")(x)
    x = keras.layers.ReLU(name="tiny_conv2")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="tiny")
