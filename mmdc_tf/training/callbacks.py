"""Keras callbacks of a training: the learning rate, BatchNormalization's statistics, the state that is kept on disk."""

from __future__ import annotations

import json
import math
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmdc_tf.io import write_with

LARGEST_BATCH = 64
STOPPING = ("wait", "stopped_epoch", "best", "best_epoch")
"""What Keras' early stopping remembers, besides the best weights."""


class WarmupCosine(keras.callbacks.Callback):
    """Linear warm-up, then half a cosine down to zero (Loshchilov and Hutter, SGDR, ICLR 2017), step by step.

    A callback and not a schedule inside the optimiser: the number of steps differs between folds, and a compiled model
    is used for all of them. It reports the last rate of each epoch to the history, as ``learning_rate``.

    Args:
        peak: the highest learning rate, reached at the end of the warm-up.
        steps: steps of the whole training.
        warmup_share: share of the steps with rising learning rate, in [0, 1).

    ``step`` counts the steps that were begun.
    """

    def __init__(self, peak: float, steps: int, warmup_share: float) -> None:
        super().__init__()
        warmup = max(1, round(steps * warmup_share))
        self._schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - warmup), warmup_target=peak, warmup_steps=warmup
        )
        self.step = 0

    def at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return float(self._schedule(step + 1))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.optimizer.learning_rate = self.at(self.step)
        self.step += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))


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


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of a training is kept.

    Args:
        path: an ``.npz`` file; whoever trains deletes it when its results are written.
        seconds: that lie between two writings at least; shorter trainings write nothing.
        say: prints a line.
    """

    path: Path
    seconds: float = 20.0
    say: Callable[[str], object] = print


class TrainingKeeper(keras.callbacks.Callback):
    """Keeps the state of a training after each epoch, and takes up a state that was kept.

    It must come last among the callbacks: when an epoch ends it writes what the others have made of it, and when the
    training begins it gives them back what they were.

    Args:
        checkpoint: where; None keeps the history only.
        key: everything that the training depends on, as text; a state with another key is not taken up.
        schedule, stopping: the callbacks that have a state of their own.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        key: str,
        schedule: WarmupCosine,
        stopping: keras.callbacks.EarlyStopping,
    ) -> None:
        super().__init__()
        self._checkpoint, self._key, self._schedule, self._stopping = checkpoint, key, schedule, stopping
        self._facts, self._arrays = ({}, {}) if checkpoint is None else _read(checkpoint, key)
        self._written = time.monotonic()
        self.history: list[dict[str, float]] = self._facts.get("history", [])

    @property
    def epochs_done(self) -> int:
        """How many epochs the state that was found has behind it."""
        return len(self.history)

    @property
    def has_stopped(self) -> bool:
        """Whether the early stopping had ended the training that was found."""
        return self._facts.get("stopped", False)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts back weights, optimiser, seeds of dropout, schedule and early stopping."""
        if not self._facts:
            return
        for name, variables in self._variables().items():
            for variable, value in zip(variables, self._arrays[name], strict=True):
                variable.assign(value)
        for name, value in self._facts["stopping"].items():
            setattr(self._stopping, name, value)
        self._stopping.best_weights = self._arrays["best"] or None
        self._schedule.step = self._facts["steps"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the state where enough time has passed; a disk that is full costs the state, not the training."""
        self.history.append({name: float(value) for name, value in (logs or {}).items()})
        checkpoint = self._checkpoint
        if checkpoint is None or time.monotonic() - self._written < checkpoint.seconds:
            return
        groups = {**self._variables(), "best": self._stopping.best_weights or []}
        facts = {
            "key": self._key,
            "history": self.history,
            "stopping": {name: getattr(self._stopping, name) for name in STOPPING},
            "steps": self._schedule.step,
            "stopped": self.model.stop_training,
            "counts": {name: len(values) for name, values in groups.items()},
        }
        named: dict[str, Any] = {"facts": json.dumps(facts)}
        for name, values in groups.items():
            named |= {f"{name}/{index}": np.asarray(value) for index, value in enumerate(values)}
        try:
            write_with(checkpoint.path, lambda path: np.savez(path, **named))
        except OSError as error:
            reason = error.strerror or error
            checkpoint.say(f"note: the state of the training was not written to {checkpoint.path}: {reason}")
        self._written = time.monotonic()

    def _variables(self) -> dict[str, list[Any]]:
        """With BatchNormalization's statistics and the seeds of dropout; the optimiser's with the step count."""
        return {"model": self.model.variables, "optimizer": self.model.optimizer.variables}


def _read(checkpoint: Checkpoint, key: str) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    """Facts and arrays of the state that was kept; both empty where there is none, or none of this training."""
    if not checkpoint.path.is_file():
        return {}, {}
    try:
        with np.load(checkpoint.path, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            found = {name: [file[f"{name}/{index}"] for index in range(n)] for name, n in facts["counts"].items()}
        if facts["key"] == key:
            return facts, found
        reason = "is of another version"
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = f"cannot be read ({error})"
    checkpoint.say(f"note: {checkpoint.path} {reason}: the training starts from its beginning")
    return {}, {}
