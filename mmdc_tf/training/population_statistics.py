"""BatchNormalization's statistics, taken from the training part under the weights that are scored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

LARGEST_BATCH = 64


class PopulationStatistics(keras.callbacks.Callback):
    """Before each validation, gives trained BatchNormalization layers the statistics of the training part.

    Moving averages lag behind the weights: after the few steps of a small or short training they are those of another
    network. So one pass over the training part, without augmentation and dropout, measures them anew (Wu and Johnson,
    "Rethinking 'Batch' in BatchNorm", arXiv 2105.07576, section 3: "precise BN"). Each layer's mean and variance are
    those of all values of that pass, between batches too. Layers that are frozen stay as they are.

    The weights that early stopping restores bring the statistics with them that they were validated with.

    Args:
        batches: of the training part, in a fixed order, as the model takes them; labels are ignored.
    """

    def __init__(self, batches: tf.data.Dataset) -> None:
        super().__init__()
        self._batches = batches

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Measures them."""
        layers = [
            layer
            for layer in self.model._flatten_layers()  # also inside DoubleConvSE; Keras has no public way to list them
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        if not layers:
            return
        sizes, measured = [], []
        with _batch_statistics(self.model, layers):
            for inputs, *_ in self._batches:
                self._forward(inputs)
                sizes.append(len(tf.nest.flatten(inputs)[0]))
                measured.append([(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in layers])
        for index, layer in enumerate(layers):
            means, variances = (np.stack([batch[index][which] for batch in measured]).astype(float) for which in (0, 1))
            mean = np.average(means, axis=0, weights=sizes)
            layer.moving_mean.assign(mean)
            # the law of total variance: within the batches, and between them
            layer.moving_variance.assign(np.average(variances + (means - mean) ** 2, axis=0, weights=sizes))

    def _forward(self, inputs: Any) -> None:
        """One pass in training mode, traced once a model: the folds of a row share it."""
        if not hasattr(self.model, "population_pass"):
            signature = [self._batches.element_spec[0]]
            self.model.population_pass = tf.function(lambda x: self.model(x, training=True), input_signature=signature)
        self.model.population_pass(inputs)


def even_batch_size(count: int) -> int:
    """The size of at most ``LARGEST_BATCH`` that leaves no small last batch, whose statistics would be poor."""
    return math.ceil(count / math.ceil(count / LARGEST_BATCH))


@contextmanager
def _batch_statistics(model: keras.Model, layers: list[keras.layers.BatchNormalization]) -> Iterator[None]:
    """Inside it, a pass in training mode leaves the batch's own statistics in the layers, and drops nothing."""
    drops = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
    momenta, rates = [layer.momentum for layer in layers], [layer.rate for layer in drops]
    for layer in layers:
        layer.momentum = 0.0
    for drop in drops:
        drop.rate = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for drop, rate in zip(drops, rates, strict=True):
            drop.rate = rate
