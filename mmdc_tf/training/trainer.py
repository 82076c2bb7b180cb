"""Training one model on one split. It never sees test data."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from mmdc_tf.errors import TrainingDivergedError
from mmdc_tf.inputs.augmentation import Augmentation
from mmdc_tf.inputs.features import FrozenFeatures
from mmdc_tf.inputs.pipeline import (
    InputSettings,
    evaluation_dataset,
    metadata_array,
    training_dataset,
)
from mmdc_tf.layers.metadata_embedding import adapt_metadata
from mmdc_tf.training.callbacks import (
    Checkpoint,
    PopulationStatistics,
    TrainingKeeper,
    WarmupCosine,
    even_batch_size,
)
from mmdc_tf.training.devices import OneDeviceValidation, even_parts
from mmdc_tf.training.fused_normalization import fused_batch_normalization
from mmdc_tf.training.recipe import MONITORS, TrainingRecipe
from mmdc_tf.version import __version__

TENSORFLOW_SEED = 0
HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


@dataclass(frozen=True)
class TrainingParts:
    """The sample tables of one split's training and validation parts, with how they become tensors."""

    train: pd.DataFrame
    validation: pd.DataFrame
    inputs: InputSettings


def make_deterministic(seed: int) -> None:
    """Seeds Python and NumPy, from which Keras draws its own seeds: the same machine gives the same numbers again.

    TensorFlow's global seed stays at one value: setting it empties TensorFlow's cache of compiled functions, so that
    every fold would prepare its graphs again, and all our random operations have seeds of their own.
    """
    random.seed(seed)
    np.random.seed(seed)
    tf.config.experimental.enable_op_determinism()
    if tf.compat.v1.get_seed(1)[0] != TENSORFLOW_SEED:
        tf.random.set_seed(TENSORFLOW_SEED)


def train(
    model: keras.Model,
    parts: TrainingParts,
    recipe: TrainingRecipe,
    seed: int,
    pretrained: bool,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    features: FrozenFeatures | None = None,
    checkpoint: Checkpoint | None = None,
) -> pd.DataFrame:
    """Trains in place and leaves the weights of the best epoch by ``recipe.monitor``, of the second half of the epochs.

    In the first half the learning rate is high, and on a small validation part one of its epochs is the best by luck.

    Args:
        model: built and cut, compiled here where it is not yet; its metadata layer is adapted to the training part.
            With ``features`` it is the tail of ``mmdc_tf.models.frozen_part.FrozenSplit``, which takes them. One that
            was built in the scope of ``devices.strategy_for`` is trained on all devices.
        parts: training and validation tables.
        recipe: optimiser, schedule, augmentation, stopping.
        seed: order of the batches, movements of the augmentation, dropout of the metadata.
        pretrained: chooses between the two learning rates.
        callbacks: more callbacks, for progress and TensorBoard.
        features: what the frozen part gives, in place of images.
        checkpoint: where the state is kept after each epoch. One that is found there, of a training with the same
            arguments and versions, is gone on with: weights and history are those of a training without a break.

    Returns:
        One line an epoch, columns ``HISTORY_COLUMNS``: epoch (from 1), loss, accuracy, val_loss, val_accuracy,
        learning_rate (of the epoch's last step).

    Raises:
        TrainingDivergedError: a loss became NaN or infinite.
    """
    adapt_metadata(model, metadata_array(parts.train))
    weights = class_weights(parts.train, parts.inputs.class_names) if recipe.class_weights else None
    mixed = features is not None and features.mixing > 0
    devices = model.distribute_strategy.num_replicas_in_sync
    size = parts.inputs.batch_size // devices * devices
    parts = replace(parts, inputs=replace(parts.inputs, batch_size=size))
    batches, validation, in_order = _datasets(parts, recipe, seed, features, weights if mixed else None)
    if devices > 1:
        batches = even_parts(batches, len(parts.train), size, devices)
    if not model.compiled:
        _compile(model, recipe)
    peak = recipe.learning_rate if pretrained else recipe.learning_rate_random
    schedule = WarmupCosine(peak, len(batches) * recipe.epochs, recipe.warmup_share)
    stopping = keras.callbacks.EarlyStopping(
        monitor=recipe.monitor,
        mode=MONITORS[recipe.monitor],
        patience=recipe.early_stopping_patience,
        restore_best_weights=True,
        start_from_epoch=recipe.epochs // 2,
    )
    keeper = TrainingKeeper(checkpoint, _key(model, parts, recipe, seed, pretrained), schedule, stopping)
    _replay(batches, keeper.epochs_done)
    statistics: keras.callbacks.Callback = PopulationStatistics(in_order)
    if devices > 1:
        statistics = OneDeviceValidation(validation, statistics, recipe.label_smoothing)
    with fused_batch_normalization(model):
        model.fit(
            batches,
            validation_data=None if devices > 1 else validation,
            initial_epoch=recipe.epochs if keeper.has_stopped else keeper.epochs_done,
            epochs=recipe.epochs,
            shuffle=False,  # the dataset shuffles itself
            class_weight=None if mixed else weights,  # Keras would weigh a mixed label by its larger part
            callbacks=[schedule, keras.callbacks.TerminateOnNaN(), statistics, stopping, *callbacks, keeper],
            verbose=0,
        )
    table = pd.DataFrame(keeper.history)
    _require_finite(table)
    table.insert(0, "epoch", range(1, len(table) + 1))
    return table[list(HISTORY_COLUMNS)]


def _datasets(
    parts: TrainingParts,
    recipe: TrainingRecipe,
    seed: int,
    features: FrozenFeatures | None,
    weights: dict[int, float] | None,
) -> tuple[tf.data.Dataset, tf.data.Dataset, tf.data.Dataset]:
    """Batches of images or of features: for training, for validation, and of the training part as it is."""
    large = replace(parts.inputs, batch_size=even_batch_size(len(parts.train)))
    if features is not None:
        batches = features.training(parts.train, parts.inputs, seed, recipe.metadata_dropout, weights)
        return batches, features.evaluation(parts.validation, parts.inputs), features.evaluation(parts.train, large)
    augmentation = None if recipe.augmentation is None else Augmentation(**recipe.augmentation)
    batches = training_dataset(parts.train, parts.inputs, augmentation, seed, recipe.metadata_dropout)
    return batches, evaluation_dataset(parts.validation, parts.inputs), evaluation_dataset(parts.train, large)


def _replay(batches: tf.data.Dataset, epochs: int) -> None:
    """Draws the batches of the epochs that are done, so that order, movements and mixing go on where they were."""
    for _ in range(epochs):
        for _ in batches:
            pass
        iter(batches)  # ``fit`` begins one more pass after each epoch, which it does not use: the order counts it


def _key(model: keras.Model, parts: TrainingParts, recipe: TrainingRecipe, seed: int, pretrained: bool) -> str:
    """What a state that was kept must have been made with; the rest stands in the run's configuration."""
    content = {
        "samples": [list(part["sample_id"]) for part in (parts.train, parts.validation)],
        "recipe": asdict(recipe),
        "seed": seed,
        "pretrained": pretrained,
        "shapes": [list(variable.shape) for variable in model.variables],
        "versions": [__version__, keras.__version__, tf.__version__],
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def class_weights(train: pd.DataFrame, class_names: tuple[str, ...]) -> dict[int, float]:
    """n / (classes · n_class) for each class index, so that a mean weight is 1; an absent class weighs 0."""
    counts = train["label"].value_counts()
    present = [name for name in class_names if counts.get(name, 0)]
    return {
        index: len(train) / (len(present) * int(counts[name])) if name in present else 0.0
        for index, name in enumerate(class_names)
    }


def start_again(model: keras.Model, fresh: keras.Model, tail: keras.Model | None = None) -> None:
    """Brings a trained model back to the state of a newly built one of the same architecture.

    Tracing a deep network takes longer than a short training of it; so the folds of a row share one compiled model. All
    variables are replaced: weights, BatchNormalization statistics, seeds of dropout, optimiser moments and step count.

    Args:
        model: whole.
        fresh: newly built.
        tail: the part of it that was trained, where it was not the whole.
    """
    for variable, initial in zip(model.variables, fresh.variables, strict=True):
        variable.assign(initial)
    for variable in (tail or model).optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))


def _compile(model: keras.Model, recipe: TrainingRecipe) -> None:
    with model.distribute_strategy.scope():
        optimizer = keras.optimizers.Adam(global_clipnorm=recipe.clip_norm)
        model.compile(
            optimizer,
            loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile=False,  # XLA gave nothing, and takes minutes (docs/speed.md)
        )
        optimizer.build(model.trainable_variables)  # else the first step is traced twice


def _require_finite(history: pd.DataFrame) -> None:
    losses = history.filter(like="loss")
    finite = np.isfinite(losses.to_numpy(dtype=float)).all(axis=1)
    if not finite.all():
        epoch = int(finite.argmin())
        raise TrainingDivergedError(
            f"Expected a finite loss. Received: loss={losses.iloc[epoch].to_dict()} in epoch {epoch + 1}. "
            "Lower the learning rate in the training recipe, or look at the images of this split."
        )
