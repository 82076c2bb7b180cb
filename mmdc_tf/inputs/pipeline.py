"""Sample table → ``tf.data``: the only place that builds a dataset of tensors."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from mmdc_tf.datasets.images import read_image
from mmdc_tf.inputs.augmentation import Augmentation, augmentation_layers
from mmdc_tf.inputs.metadata import METADATA_COLUMNS, label_array, metadata_array
from mmdc_tf.preprocessing.recipes import Recipe, get_recipe


@dataclass(frozen=True)
class InputSettings:
    """What turns a sample table into tensors.

    Args:
        recipe: the name of a preprocessing recipe.
        image_size: height and width after preprocessing, in pixels.
        batch_size: images a batch; the last batch may be smaller, no sample is dropped.
        class_names: the order of the one-hot labels.
        inputs: the tensors that the model takes: ``"image"``, ``"metadata"`` or both.
    """

    recipe: str
    image_size: int
    batch_size: int
    class_names: tuple[str, ...]
    inputs: tuple[str, ...] = ("image", "metadata")


def training_dataset(
    table: pd.DataFrame, settings: InputSettings, augmentation: Augmentation | None, seed: int
) -> tf.data.Dataset:
    """Batches in a new order every epoch, augmented; the same seed gives the same batches.

    Returns:
        ({"image": float32 (batch, S, S, 3) RGB in [0, 255], "metadata": float32 (batch, 2) raw age and density,
        NaN = unknown}, one-hot float32 (batch, classes)).
    """
    dataset = _preprocessed(table, settings).shuffle(len(table), seed=seed, reshuffle_each_iteration=True)
    dataset = _batched(dataset, settings)
    if augmentation is not None and "image" in settings.inputs:
        dataset = _augmented(dataset, augmentation, seed)
    return dataset.prefetch(tf.data.AUTOTUNE)


def evaluation_dataset(table: pd.DataFrame, settings: InputSettings) -> tf.data.Dataset:
    """The same tensors as ``training_dataset`` in the table's own order, without augmentation."""
    return _batched(_preprocessed(table, settings), settings).prefetch(tf.data.AUTOTUNE)


def preprocess_file(path: str | bytes, recipe: Recipe, image_size: int) -> np.ndarray:
    """One file to pixels, the same code in training, scoring and prediction: uint8 (S, S, 3).

    Raises:
        UnreadableImageError: names the file.
    """
    name = path.decode() if isinstance(path, bytes) else path
    return recipe.apply(read_image(name), image_size)


def _preprocessed(table: pd.DataFrame, settings: InputSettings) -> tf.data.Dataset:
    """Cached after preprocessing, as uint8: the costly part runs once."""
    dataset = tf.data.Dataset.from_tensor_slices(
        (table["image_path"].to_numpy(dtype=str), metadata_array(table), label_array(table, settings.class_names))
    )
    load = functools.partial(preprocess_file, recipe=get_recipe(settings.recipe), image_size=settings.image_size)

    def preprocess(path: tf.Tensor, metadata: tf.Tensor, label: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        # stateful=False: the result depends on the file alone, so the map may stay parallel and deterministic
        image = tf.numpy_function(load, [path], tf.uint8, stateful=False)
        image = tf.ensure_shape(image, (settings.image_size, settings.image_size, 3))
        metadata = tf.ensure_shape(metadata, (len(METADATA_COLUMNS),))
        tensors = {"image": image, "metadata": metadata}
        return {name: tensors[name] for name in settings.inputs}, label

    return dataset.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).cache()


def _batched(dataset: tf.data.Dataset, settings: InputSettings) -> tf.data.Dataset:
    def as_float(tensors: dict[str, tf.Tensor], label: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        return {name: tf.cast(value, tf.float32) for name, value in tensors.items()}, label

    return dataset.batch(settings.batch_size).map(as_float, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _augmented(dataset: tf.data.Dataset, augmentation: Augmentation, seed: int) -> tf.data.Dataset:
    layers = augmentation_layers(augmentation, seed)

    def augment(tensors: dict[str, tf.Tensor], label: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        image = tensors["image"]
        for layer in layers:
            image = layer(image, training=True)
        return {**tensors, "image": image}, label

    # one call at a time: the random layers keep a state, and its order must not depend on the number of cores
    return dataset.map(augment)
