"""Sample table → ``tf.data``: the only place that builds a dataset of tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from mmdc_tf.datasets.images import read_image
from mmdc_tf.inputs.augmentation import Augmentation, augmentation_layers
from mmdc_tf.inputs.metadata import label_array, metadata_array
from mmdc_tf.inputs.views import other_views
from mmdc_tf.preprocessing.recipes import Recipe, get_recipe

IMAGES = ("image", "other_view")
MISSING = "other_view_missing"

Tensors = dict[str, tf.Tensor]

# Where each tensor comes from: paths of images, or the values themselves.
SOURCES: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {
    "image": lambda table: table["image_path"].to_numpy(dtype=str),
    "other_view": other_views,
    "metadata": metadata_array,
}


@dataclass(frozen=True)
class InputSettings:
    """What turns a sample table into tensors.

    Args:
        recipe: the name of a preprocessing recipe.
        image_size: height and width after preprocessing, in pixels.
        batch_size: images a batch; the last batch may be smaller, no sample is dropped.
        class_names: the order of the one-hot labels.
        inputs: the tensors that the model takes: ``"image"``, ``"other_view"``, ``"metadata"`` or several of them.
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
        ({"image": float32 (batch, S, S, 3) RGB in [0, 255], "other_view": the same of the breast's other view, NaN
        everywhere where it is missing, "metadata": float32 (batch, 2) raw age and density, NaN = unknown}, one-hot
        float32 (batch, classes)); only the tensors of ``settings.inputs``.
    """
    dataset = _preprocessed(table, settings).shuffle(len(table), seed=seed, reshuffle_each_iteration=True)
    dataset = _batched(dataset, settings)
    if augmentation is not None:
        dataset = _augmented(dataset, augmentation, seed)
    return _finished(dataset)


def evaluation_dataset(table: pd.DataFrame, settings: InputSettings) -> tf.data.Dataset:
    """The same tensors as ``training_dataset`` in the table's own order, without augmentation."""
    return _finished(_batched(_preprocessed(table, settings), settings))


def preprocess_file(path: str | bytes, recipe: Recipe, image_size: int) -> np.ndarray:
    """One file to pixels, the same code in training, scoring and prediction: uint8 (S, S, 3).

    Raises:
        UnreadableImageError: names the file.
    """
    name = path.decode() if isinstance(path, bytes) else path
    return recipe.apply(read_image(name), image_size)


def _preprocessed(table: pd.DataFrame, settings: InputSettings) -> tf.data.Dataset:
    """Cached after preprocessing, as uint8: the costly part runs once."""
    sources = {name: SOURCES[name](table) for name in settings.inputs}
    dataset = tf.data.Dataset.from_tensor_slices((sources, label_array(table, settings.class_names)))
    load = functools.partial(_pixels, recipe=get_recipe(settings.recipe), image_size=settings.image_size)

    def preprocess(given: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        tensors = dict(given)
        for name in IMAGES:
            if name in given:
                # stateful=False: the result depends on the file alone, so the map may stay parallel and deterministic
                image = tf.numpy_function(load, [given[name]], tf.uint8, stateful=False)
                tensors[name] = tf.ensure_shape(image, (settings.image_size, settings.image_size, 3))
        if "other_view" in given:
            tensors[MISSING] = tf.equal(given["other_view"], "")
        return tensors, label

    return dataset.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).cache()


def _pixels(path: bytes, recipe: Recipe, image_size: int) -> np.ndarray:
    """A file's pixels; black where there is no file, which ``_finished`` turns into NaN."""
    return preprocess_file(path, recipe, image_size) if path else np.zeros((image_size, image_size, 3), np.uint8)


def _batched(dataset: tf.data.Dataset, settings: InputSettings) -> tf.data.Dataset:
    def as_float(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        return {name: tf.cast(value, tf.float32) for name, value in tensors.items()}, label

    return dataset.batch(settings.batch_size).map(as_float, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _augmented(dataset: tf.data.Dataset, augmentation: Augmentation, seed: int) -> tf.data.Dataset:
    layers = augmentation_layers(augmentation, seed)

    def augment(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        moved = {name: tensors[name] for name in IMAGES if name in tensors}
        for name in moved:
            for layer in layers:
                moved[name] = layer(moved[name], training=True)
        return {**tensors, **moved}, label

    # one call at a time: the random layers keep a state, and its order must not depend on the number of cores
    return dataset.map(augment)


def _finished(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Marks missing views, after augmentation, which would smear NaN over its neighbours."""

    def mark(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        marked = dict(tensors)
        missing = marked.pop(MISSING)
        view = marked["other_view"]
        marked["other_view"] = tf.where(missing[:, None, None, None] > 0, tf.fill(tf.shape(view), np.nan), view)
        return marked, label

    if MISSING in dataset.element_spec[0]:
        dataset = dataset.map(mark, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.prefetch(tf.data.AUTOTUNE)
