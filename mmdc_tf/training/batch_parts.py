"""What a device must know of the whole batch while it computes a part of it: BatchNormalization and Dropout."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Part:
    """The rows of a batch that one device computes.

    Args:
        start, stop: int32 scalars: rows ``start`` to ``stop - 1``.
        size: int32 scalar, the rows of the whole batch.
        share: float32 scalar, of all rows that the devices compute.
    """

    start: tf.Tensor
    stop: tf.Tensor
    size: tf.Tensor
    share: tf.Tensor

    def of(self, values: tf.Tensor) -> tf.Tensor:
        """These rows of (size, …)."""
        return values[self.start : self.stop]


def part_of(size: tf.Tensor, device: int, devices: int) -> Part:
    """Rows that differ by one at most between devices. A batch of fewer rows than devices is computed whole by each.

    So no device is ever without a row, and every row is computed equally often: means over the devices are those over
    the batch.
    """
    few = size < devices
    start = tf.where(few, 0, device * size // devices)
    stop = tf.where(few, size, (device + 1) * size // devices)
    computed = tf.where(few, size * devices, size)
    return Part(start, stop, size, tf.cast(stop - start, tf.float32) / tf.cast(computed, tf.float32))


_at_work = threading.local()  # TensorFlow traces each device's part of a step in a thread of its own


@contextmanager
def computing(part: Part) -> Iterator[None]:
    """Inside it, the layers that this thread calls are given these rows."""
    _at_work.part = part
    try:
        yield
    finally:
        del _at_work.part


@contextmanager
def whole_batch_layers(model: keras.Model) -> Iterator[None]:
    """Inside it, a step that is spread over devices is the one that a single device would make of the whole batch.

    BatchNormalization that learns takes its statistics from the rows of all devices, the variance around their common
    mean: Keras' ``synchronized=True`` takes it as E[x²] - E[x]², which float32 rounds more. Dropout draws for the whole
    batch and takes its own rows' part: else all devices, whose seeds are the same, would drop the same units. The
    layers stay Keras' layers, and so does what is saved. A step that was traced inside stays as it was traced.

    Args:
        model: also inside its nested layers.
    """
    layers = list(model._flatten_layers())  # Keras has no public way to list them
    norms = [layer for layer in layers if type(layer) is keras.layers.BatchNormalization]
    drops = [layer for layer in layers if type(layer) is keras.layers.Dropout]
    for norm in norms:
        norm._moments = MethodType(_moments, norm)  # the one step of its computation that looks at other rows
    for drop in drops:
        drop.call = MethodType(_drop, drop)
    try:
        yield
    finally:
        for norm in norms:
            del norm._moments
        for drop in drops:
            del drop.call


def _moments(layer: keras.layers.BatchNormalization, inputs: Any, mask: Any) -> tuple[tf.Tensor, tf.Tensor]:
    part = getattr(_at_work, "part", None)
    if part is None or mask is not None:
        return type(layer)._moments(layer, inputs, mask)
    axes, device = layer._reduction_axes, tf.distribute.get_replica_context()

    def mean_of_all(values: tf.Tensor) -> tf.Tensor:
        share = tf.cast(part.share, values.dtype)
        return device.all_reduce("SUM", share * tf.reduce_mean(values, axes, keepdims=True))

    mean = mean_of_all(inputs)
    variance = mean_of_all(tf.math.squared_difference(inputs, mean))
    return tf.squeeze(mean, axes), tf.squeeze(variance, axes)


def _drop(layer: keras.layers.Dropout, inputs: Any, training: bool = False) -> Any:
    part = getattr(_at_work, "part", None)
    if part is None or not training or layer.rate == 0:
        return type(layer).call(layer, inputs, training=training)
    shape = tf.shape(inputs)
    pattern = layer.noise_shape or (None,) * len(inputs.shape)  # 1: all of that axis are dropped together
    drawn = [1 if size == 1 else shape[axis] for axis, size in enumerate(pattern)]
    # StackViews makes a batch of all first views, then all second views
    views = shape[0] // (part.stop - part.start)
    ones = tf.ones([views * part.size, *drawn[1:]], inputs.dtype)
    kept = type(layer).call(layer, ones, training=True)
    rows = tf.reshape(kept, [views, part.size, *drawn[1:]])[:, part.start : part.stop]
    return inputs * tf.reshape(rows, [-1, *drawn[1:]])
