"""Sample table → batches of the features that a frozen part makes of the images: read from a store, or computed.

Both give the same batches: the order of ``training_dataset`` with the same seed, and the same draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from mmdc_tf.errors import ConfigurationError, DatasetError
from mmdc_tf.inputs.fixed_views import FixedView
from mmdc_tf.inputs.metadata import label_array
from mmdc_tf.inputs.mixing import with_mixing, with_sample_weights
from mmdc_tf.inputs.pipeline import (
    SOURCES,
    InputSettings,
    Tensors,
    batch_seeds,
    prefetched,
    preprocessed,
    with_unknown,
)

FEATURES = "features"
VIEW = 1  # the stream of the views' draws, beside that of mixing

FrozenPart = Callable[[tf.Tensor], tf.Tensor | list[tf.Tensor]]
"""From images, float32 (batch, S, S, 3) RGB in [0, 255], to one or several feature maps, (batch, h, w, channels)."""


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """What a frozen part makes of images, in fixed views.

    Args:
        views: for each view, for each output of the frozen part, an array (n, h, w, channels), float16, bfloat16 or
            float32; it may be memory-mapped: only what a batch needs is read. The first view is the image as it is.
        rows: the row of each ``sample_id`` in these arrays.
    """

    views: tuple[tuple[np.ndarray, ...], ...]
    rows: dict[str, int]


@dataclass(frozen=True)
class _Samples:
    """One sample after another; ``read`` makes features of a batch's ``"image"`` and the views drawn for it."""

    dataset: tf.data.Dataset
    views: int
    read: Callable[[tf.Tensor, tf.Tensor], list[tf.Tensor]]


def feature_training_dataset(
    table: pd.DataFrame,
    features: FrozenFeatures,
    settings: InputSettings,
    seed: int,
    metadata_dropout: float = 0.0,
    mixing: float = 0.0,
    class_weights: dict[int, float] | None = None,
) -> tf.data.Dataset:
    """Batches of stored features in a new order every epoch; the same seed gives the same batches.

    Order and metadata are those of ``training_dataset`` with the same seed and dropout.

    Args:
        table: a sample table.
        features: of all its images; one of their views is drawn for every sample and epoch, each as likely as another.
        settings: what the tensors are; ``"image"`` stands for the features.
        seed: of the order, the views, the dropout and the mixing.
        metadata_dropout: as in ``training_dataset``.
        mixing: α of ``with_mixing``; 0 mixes nothing.
        class_weights: the weight of each class index: each batch then has sample weights, right for mixed labels too.

    Returns:
        ({"features0": float32 (batch, h, w, channels), "features1": …, "metadata": float32 (batch, 2) raw age and
        density, NaN = unknown}, float32 (batch, classes) one-hot or mixed, and with ``class_weights`` float32
        (batch,)); ``"metadata"`` only where it is one of ``settings.inputs``.

    Raises:
        DatasetError: a ``sample_id`` has no features, or a label is none of the class names.
        ConfigurationError: the inputs are other than an image and metadata.
    """
    batches = _drawn(_stored(table, features, settings, seed), settings, seed)
    return _varied(batches, seed, metadata_dropout, mixing, class_weights)


def feature_evaluation_dataset(
    table: pd.DataFrame, features: FrozenFeatures, settings: InputSettings
) -> tf.data.Dataset:
    """The same tensors as ``feature_training_dataset`` in the table's own order, of the images as they are.

    Raises:
        DatasetError: a ``sample_id`` has no features, or a label is none of the class names.
        ConfigurationError: the inputs are other than an image and metadata.
    """
    return _in_order(_stored(table, features, settings), settings)


def computed_training_dataset(
    table: pd.DataFrame,
    settings: InputSettings,
    views: tuple[FixedView, ...],
    frozen: FrozenPart,
    seed: int,
    metadata_dropout: float = 0.0,
    mixing: float = 0.0,
    class_weights: dict[int, float] | None = None,
) -> tf.data.Dataset:
    """The batches of ``feature_training_dataset``, computed in every step: for where the disk is too small.

    Preprocessed pixels are kept in memory, as in ``training_dataset``. The frozen part runs inside ``tf.data``: on the
    processor, also where there is an accelerator.

    Args:
        table: a sample table.
        settings: what the tensors are; ``"image"`` stands for the features.
        views: one of them is drawn for every sample and epoch.
        frozen: makes the features, as a ``keras.Model`` does; called without ``training``.
        seed: of the order, the views, the dropout and the mixing.
        metadata_dropout: as in ``training_dataset``.
        mixing: α of ``with_mixing``; 0 mixes nothing.
        class_weights: as in ``feature_training_dataset``.

    Raises:
        DatasetError: a label is none of the class names.
        ConfigurationError: the inputs are other than an image and metadata.
    """
    batches = _drawn(_computed(table, settings, views, frozen, seed), settings, seed)
    return _varied(batches, seed, metadata_dropout, mixing, class_weights)


def computed_evaluation_dataset(table: pd.DataFrame, settings: InputSettings, frozen: FrozenPart) -> tf.data.Dataset:
    """The batches of ``feature_evaluation_dataset``, computed.

    Raises:
        DatasetError: a label is none of the class names.
        ConfigurationError: the inputs are other than an image and metadata.
    """
    return _in_order(_computed(table, settings, (FixedView(),), frozen), settings)


def _stored(
    table: pd.DataFrame, features: FrozenFeatures, settings: InputSettings, seed: int | None = None
) -> _Samples:
    """In the table's own order, or in a new one every pass."""
    _require_one_image(settings)
    sources = {name: SOURCES[name](table) for name in settings.inputs if name != "image"}
    sources["image"] = _rows(table, features)
    dataset = tf.data.Dataset.from_tensor_slices((sources, label_array(table, settings.class_names)))
    if seed is not None:
        dataset = dataset.shuffle(len(table), seed=seed, reshuffle_each_iteration=True)
    # Plain arrays on the same mapped memory: taking a row of a numpy.memmap costs more than copying it.
    views = [[np.asarray(output) for output in view] for view in features.views]
    outputs = range(len(views[0]))

    def take(rows: np.ndarray, drawn: np.ndarray) -> list[np.ndarray]:
        places = list(zip(drawn.tolist(), rows.tolist(), strict=True))
        return [np.stack([views[view][output][row] for view, row in places]) for output in outputs]

    def read(rows: tf.Tensor, drawn: tf.Tensor) -> list[tf.Tensor]:
        dtypes = [tf.as_dtype(array.dtype) for array in views[0]]
        taken = tf.numpy_function(take, [rows, drawn], dtypes, stateful=False)
        return [tf.ensure_shape(value, (None, *array.shape[1:])) for value, array in zip(taken, views[0], strict=True)]

    return _Samples(dataset, len(views), read)


def _computed(
    table: pd.DataFrame,
    settings: InputSettings,
    views: tuple[FixedView, ...],
    frozen: FrozenPart,
    seed: int | None = None,
) -> _Samples:
    """In the table's own order, or in a new one every pass."""
    _require_one_image(settings)

    def look(pixels: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        return np.stack([views[view](image) for view, image in zip(drawn, pixels, strict=True)])

    def read(pixels: tf.Tensor, drawn: tf.Tensor) -> list[tf.Tensor]:
        seen = tf.numpy_function(look, [pixels, drawn], tf.uint8, stateful=False)
        made = frozen(tf.cast(tf.ensure_shape(seen, pixels.shape), tf.float32))
        return tf.nest.flatten(made)  # a Keras model gives a list of one output as that output

    return _Samples(preprocessed(table, settings, seed), len(views), read)


def _rows(table: pd.DataFrame, features: FrozenFeatures) -> np.ndarray:
    """The row of each sample in the stored arrays: int64 (n,)."""
    rows = table["sample_id"].map(features.rows)
    unknown = table["sample_id"][rows.isna()]
    if len(unknown):
        raise DatasetError(
            f"Expected stored features of each sample. Received: sample_id={unknown.iloc[0]!r} without any. "
            "Compute the features of this table again."
        )
    return rows.to_numpy(dtype=np.int64)


def _require_one_image(settings: InputSettings) -> None:
    if "image" not in settings.inputs or not set(settings.inputs) <= {"image", "metadata"}:
        raise ConfigurationError(
            f"Expected inputs of one image, with or without metadata. Received: inputs={settings.inputs}. "
            "Train a model of other inputs without stored features."
        )


def _drawn(samples: _Samples, settings: InputSettings, seed: int) -> tf.data.Dataset:
    """Batches in the order of ``training_dataset``, each sample in a view drawn for it."""

    def draw(batch: tuple[Tensors, tf.Tensor], pair: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        tensors, label = batch
        view_seed = tf.random.experimental.stateless_fold_in(pair, VIEW)
        drawn = tf.random.stateless_uniform(tf.shape(label)[:1], view_seed, 0, samples.views, tf.int32)
        return _with_features(tensors, samples.read(tensors["image"], drawn)), label

    batches = tf.data.Dataset.zip(samples.dataset.batch(settings.batch_size), batch_seeds(seed))
    return batches.map(draw, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _in_order(samples: _Samples, settings: InputSettings) -> tf.data.Dataset:
    """Batches in the samples' own order, in the first view."""

    def first(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        features = samples.read(tensors["image"], tf.zeros(tf.shape(label)[:1], tf.int32))
        return _with_features(tensors, features), label

    batches = samples.dataset.batch(settings.batch_size)
    return prefetched(batches.map(first, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True))


def _with_features(tensors: Tensors, features: list[tf.Tensor]) -> Tensors:
    """The features in the place of the image, all as float32."""
    others = {name: value for name, value in tensors.items() if name != "image"}
    return {**{f"{FEATURES}{index}": tf.cast(value, tf.float32) for index, value in enumerate(features)}, **others}


def _varied(
    batches: tf.data.Dataset,
    seed: int,
    metadata_dropout: float,
    mixing: float,
    class_weights: dict[int, float] | None,
) -> tf.data.Dataset:
    """What training changes in the batches after their features are there."""
    if metadata_dropout > 0 and "metadata" in batches.element_spec[0]:
        batches = with_unknown(batches, metadata_dropout, seed)
    if mixing > 0:
        batches = with_mixing(batches, mixing, seed)
    if class_weights is not None:
        batches = with_sample_weights(batches, class_weights)
    return prefetched(batches)
