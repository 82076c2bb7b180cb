"""Training a network on all devices of a machine, by ``tf.distribute.MirroredStrategy`` and Keras' own ``fit``.

Each device computes its part of every batch, with dropout and BatchNormalization's statistics of that part, and their
gradients are averaged. So the numbers differ a little from those of one device (docs/cluster.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.training.callbacks import PopulationStatistics


def strategy_for(
    devices: str, batch_size: int, say: Callable[[str], object] = print
) -> tf.distribute.MirroredStrategy | None:
    """The strategy in whose ``scope()`` a network is built, and split; None where one device trains it.

    Args:
        devices: ``"one"``, or ``"all"``: every GPU, or every logical processor where there is no GPU.
        batch_size: images a step, all devices together.
        say: prints a line.

    Raises:
        ConfigurationError: more devices than images in a batch.
    """
    if devices == "one":
        return None
    found = [device.name for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    if len(found) == 1:
        say(f"note: all devices are one, {found[0]}: it trains as usual")
        return None
    if len(found) > batch_size:
        raise ConfigurationError(
            f"Expected at least one image of a batch for each device. Received: devices={len(found)}, "
            f"batch_size={batch_size}. Give a larger --batch-size, show fewer devices (CUDA_VISIBLE_DEVICES), or leave "
            "--devices all out."
        )
    say(f"{len(found)} devices train each fold together: {', '.join(found)}; the batch and the learning rate stay")
    return _mirrored(tuple(found))


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """One for all networks of a process."""
    return tf.distribute.MirroredStrategy(list(devices))


def on_one_device(model: keras.Model) -> keras.Model:
    """The same layers in a model that predicts on one device, for one that was built in a strategy's scope.

    On several, a last batch of fewer images than devices would leave one of them without, which TensorFlow cannot do.
    """
    return keras.Model(model.input, model.output, name=model.name)


def even_parts(batches: tf.data.Dataset, count: int, size: int, devices: int) -> tf.data.Dataset:
    """Batches of which each device gets as many images: fewer than ``devices`` are left out, others in each epoch.

    Args:
        batches: of (tensors, labels, …).
        count: of all images.
        size: of a batch, a multiple of ``devices``.
        devices: how many.
    """
    whole = batches.take(len(batches) - int(0 < count % size < devices))

    def cut(*batch: Any) -> Any:
        rows = tf.shape(batch[1])[0] // devices * devices
        return tf.nest.map_structure(lambda values: values[:rows], batch)

    return whole.map(cut)


class OneDeviceValidation(keras.callbacks.Callback):
    """Validates after each epoch on one device, where no image is left out.

    Args:
        batches: of the validation part.
        statistics: are measured before.
        label_smoothing: of the loss.
    """

    def __init__(self, batches: tf.data.Dataset, statistics: PopulationStatistics, label_smoothing: float) -> None:
        super().__init__()
        self._batches, self._statistics, self._label_smoothing = batches, statistics, label_smoothing

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        scorer = _scorer(self.model, self._label_smoothing)
        found = scorer.evaluate(self._batches, callbacks=[self._statistics], return_dict=True, verbose=0)
        if logs is not None:
            logs.update({f"val_{name}": value for name, value in found.items()})


@functools.lru_cache(maxsize=1)
def _scorer(model: keras.Model, label_smoothing: float) -> keras.Model:
    """Traced once a model: the folds of a row share it."""
    scorer = on_one_device(model)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    scorer.compile(loss=loss, metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")], jit_compile=False)
    return scorer
