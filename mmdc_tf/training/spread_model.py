"""A network whose batches several devices compute together: the training of one device, up to rounding."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf

from mmdc_tf.training.batch_parts import Part, computing, part_of, whole_batch_layers
from mmdc_tf.training.fused_adam import FusedAdamW
from mmdc_tf.training.fused_normalization import fused_batch_normalization

Tensors = Any
"""Tensors with a common first axis, in tuples and dictionaries."""


class SpreadModel(keras.Model):
    """A functional model whose steps are spread over the devices of a strategy.

    Keras' own ``fit`` under a strategy averages the means of the parts, also where they are of unequal size, and clips
    each device's gradients before it adds them. Here ``fit`` sees one device and the whole batch, and each step spreads
    it: loss, metrics, clipped gradients, class weights and callbacks are those of one device.

    Args:
        inputs, outputs: of a model that was built in the strategy's scope. This one must be made outside of it.
        strategy: ``MirroredStrategy``, of several devices.
        name: the model's.
    """

    def __init__(self, inputs: Any, outputs: Any, strategy: tf.distribute.Strategy, name: str | None = None) -> None:
        super().__init__(inputs, outputs, name=name)
        self.strategy = strategy

    def train_step(self, data: Tensors) -> dict[str, tf.Tensor]:
        """One step of the optimiser on a whole batch; returns the metrics so far."""
        return self._logs(data, *self._spread(self._learn, data))

    def test_step(self, data: Tensors) -> dict[str, tf.Tensor]:
        """Scores a whole batch; returns the metrics so far."""
        return self._logs(data, *self._spread(self._score, data))

    def predict_step(self, data: Tensors) -> tf.Tensor:
        """The output for a whole batch, in its order."""
        return self._joined(self._spread(self._infer, data), data)

    def _spread(self, step: Callable[[Part, Tensors], Any], data: Tensors) -> Any:
        """Runs a step on every device, each with its part."""
        devices = self.strategy.num_replicas_in_sync
        parts = [part_of(_size(data), device, devices) for device in range(devices)]
        with tf.device("CPU"):  # where the batch is: a device is sent its part alone
            values = [tf.nest.map_structure(part.of, data) for part in parts]
        given = self.strategy.experimental_distribute_values_from_function(
            lambda context: (vars(parts[context.replica_id_in_sync_group]), values[context.replica_id_in_sync_group])
        )
        return self.strategy.run(lambda part, part_data: step(Part(**part), part_data), args=given)

    def _learn(self, part: Part, data: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """On one device: its part of the loss; the optimiser is given the gradient of the whole."""
        with tf.GradientTape() as tape:
            loss, outputs = self._scored(part, data, training=True)
        gradients = tape.gradient(loss, self.trainable_weights)
        gradients = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        return loss, outputs

    def _score(self, part: Part, data: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        return self._scored(part, data, training=False)

    def _scored(self, part: Part, data: Tensors, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """On one device: what its rows add to the mean loss of the batch, and their outputs."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        with computing(part):
            outputs = self(x, training=training)
        mean = self.compute_loss(x, y, outputs, weights, training=training)  # Keras divides it by the devices
        return mean * self.strategy.num_replicas_in_sync * tf.cast(part.share, mean.dtype), outputs

    def _infer(self, part: Part, data: Tensors) -> tf.Tensor:
        return self(keras.utils.unpack_x_y_sample_weight(data)[0], training=False)

    def _joined(self, outputs: Any, data: Tensors) -> tf.Tensor:
        """The parts' outputs as that of the batch, which each device has computed whole where it is very small."""
        return tf.concat(self.strategy.experimental_local_results(outputs), axis=0)[: _size(data)]

    def _logs(self, data: Tensors, losses: Any, outputs: Any) -> dict[str, tf.Tensor]:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        loss = tf.add_n(self.strategy.experimental_local_results(losses))
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=_size(data))
        return self.compute_metrics(x, y, self._joined(outputs, data), weights)


def spread(model: keras.Model, strategy: tf.distribute.Strategy) -> SpreadModel:
    """A model that was built in the strategy's scope, on all of its devices; both share their layers.

    Args:
        model: functional, with a dictionary of inputs.
        strategy: of several devices.
    """
    for name, tensor in model.input.items():
        tensor.name = name  # which Keras warns of where it differs, as in the tail of a split model
    return SpreadModel(model.input, model.output, strategy, model.name)


class MirroredAdamW(FusedAdamW):
    """``FusedAdamW`` that is given the whole gradient on every device; Keras would add it up once more."""

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> list[Any]:
        return list(grads_and_vars)


def make_optimizer(model: keras.Model, **settings: Any) -> FusedAdamW:
    """The optimiser that fits a model, on the devices where it is; arguments as for ``keras.optimizers.AdamW``."""
    with _scope(model):
        return (MirroredAdamW if isinstance(model, SpreadModel) else FusedAdamW)(**settings)


def build_optimizer(model: keras.Model) -> None:
    """Makes the variables of a compiled model's optimiser, beside the weights."""
    with _scope(model):
        model.optimizer.build(model.trainable_variables)


def trained_layers(model: keras.Model) -> AbstractContextManager[None]:
    """Inside it, layers compute as a training needs it: fused on one device, of the whole batch on several."""
    return whole_batch_layers(model) if isinstance(model, SpreadModel) else fused_batch_normalization(model)


def _scope(model: keras.Model) -> AbstractContextManager[Any]:
    return model.strategy.scope() if isinstance(model, SpreadModel) else nullcontext()


def _size(data: Tensors) -> tf.Tensor:
    return tf.shape(tf.nest.flatten(data)[0])[0]
