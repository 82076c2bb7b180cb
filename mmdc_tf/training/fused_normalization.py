"""BatchNormalization in training as one operation of TensorFlow; Keras computes it as a dozen (docs/speed.md)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import keras
import tensorflow as tf


@contextmanager
def fused_batch_normalization(model: keras.Model) -> Iterator[None]:
    """Inside it, the model's BatchNormalization layers compute batch statistics with TensorFlow's fused operation.

    Output, gradients and moving averages are Keras' own up to rounding. Only how a step is computed changes: the layers
    stay Keras' layers, and so does what is saved. Layers that infer (frozen, or outside training) and those that the
    operation cannot do (masks, other axes than the last of four, synchronised statistics, renormalisation) keep Keras'
    way. A step that was traced inside stays as it was traced.

    Args:
        model: also inside its nested layers.
    """
    layers = [layer for layer in model._flatten_layers() if type(layer) is keras.layers.BatchNormalization]
    for layer in layers:
        layer.call = MethodType(_call, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _call(layer: keras.layers.BatchNormalization, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    if not (training and layer.trainable and mask is None and _can_be_fused(layer, inputs)):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=layer.gamma if layer.scale else tf.ones_like(layer.moving_variance),
        offset=layer.beta if layer.center else tf.zeros_like(layer.moving_mean),
        mean=[],
        variance=[],
        epsilon=layer.epsilon,
        is_training=True,
    )
    values = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), variance.dtype)
    _move(layer, layer.moving_mean, mean)
    _move(layer, layer.moving_variance, variance * (values - 1) / values)  # the operation's has Bessel's correction
    return tf.cast(outputs, layer.compute_dtype)


def _can_be_fused(layer: keras.layers.BatchNormalization, inputs: Any) -> bool:
    of_another_kind = layer.synchronized or getattr(layer, "renorm", False)  # Keras 3.13 has no renorm
    return len(inputs.shape) == 4 and layer.axis in (-1, 3) and not of_another_kind


def _move(layer: keras.layers.BatchNormalization, average: keras.Variable, value: Any) -> None:
    average.assign(average * layer.momentum + value * (1.0 - layer.momentum))
