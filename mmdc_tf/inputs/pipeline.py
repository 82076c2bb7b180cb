"""Sample table → ``tf.data``: batches of images and metadata (``features.py``: of what a frozen part makes of them)."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from mmdc_tf.inputs.augmentation import Augmentation, augmentation_layers
from mmdc_tf.inputs.metadata import label_array, metadata_array
from mmdc_tf.inputs.pixel_store import PixelStore
from mmdc_tf.inputs.views import other_views
from mmdc_tf.preprocessing.recipes import Recipe, get_recipe
from mmdc_tf.preprocessing.scan_file import preprocess_file

IMAGES = ("image", "other_view")
MISSING = "other_view_missing"

Tensors = dict[str, tf.Tensor]
Change = Callable[[np.ndarray], np.ndarray]
"""From the pixels that a model is given to others of the same kind: uint8 (S, S, 3) to uint8 (S, S, 3)."""

# Where each tensor comes from: paths of images, or the values themselves.
SOURCES: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {
    "image": lambda table: table["image_path"].to_numpy(dtype=str),
    "other_view": other_views,
    "metadata": metadata_array,
}


_stores: weakref.WeakValueDictionary[tuple, PixelStore] = weakref.WeakValueDictionary()


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
    table: pd.DataFrame,
    settings: InputSettings,
    augmentation: Augmentation | None,
    seed: int,
    metadata_dropout: float = 0.0,
) -> tf.data.Dataset:
    """Batches in a new order every epoch, augmented; the same seed gives the same batches.

    Args:
        table: a sample table.
        settings: what the tensors are.
        augmentation: how far images are moved; None moves none.
        seed: of the order, the movements and the dropout.
        metadata_dropout: the probability, in [0, 1), with which each known age and each known density is made unknown,
            drawn anew for every sample, value and epoch (modality dropout, Neverova et al., ModDrop, TPAMI 38, 2016).
            It changes nothing else, and nothing where ``"metadata"`` is no input.

    Returns:
        ({"image": float32 (batch, S, S, 3) RGB in [0, 255], "other_view": the same of the breast's other view, NaN
        everywhere where it is missing, "metadata": float32 (batch, 2) raw age and density, NaN = unknown}, one-hot
        float32 (batch, classes)); only the tensors of ``settings.inputs``.
    """
    dataset = _batched(preprocessed(table, settings, seed), settings)
    if augmentation is not None:
        dataset = _augmented(dataset, augmentation, seed)
    if metadata_dropout > 0 and "metadata" in settings.inputs:
        dataset = with_unknown(dataset, metadata_dropout, seed)
    return _finished(dataset)


def evaluation_dataset(table: pd.DataFrame, settings: InputSettings, changes: Sequence[Change] = ()) -> tf.data.Dataset:
    """The same tensors as ``training_dataset`` in the table's own order, without augmentation.

    An image file is read and preprocessed once where the table repeats each image equally often in consecutive rows, as
    a table of several variants of the metadata does.

    Args:
        table: a sample table.
        settings: what the tensors are.
        changes: each row comes once for each of them, one after the other, its images (both views) changed after
            preprocessing; without any it comes once, as it is.
    """
    dataset = preprocessed(table, settings)
    if changes:
        dataset = _changed(dataset, tuple(changes), settings)
    return _finished(_batched(dataset, settings))


def preprocessed(table: pd.DataFrame, settings: InputSettings, seed: int | None = None) -> tf.data.Dataset:
    """One sample after another, images uint8 (S, S, 3), kept after preprocessing: the costly part runs once.

    Args:
        table: a sample table.
        settings: what the tensors are.
        seed: of a new order in every pass; None for the table's own. What is shuffled are paths: a buffer of images
            would hold the whole table, and the first batch would wait for it.
    """
    times = _repeats(table) if "image" in settings.inputs and seed is None else 1
    sources = {name: SOURCES[name](table) for name in settings.inputs}
    sources = {name: values[::times] if name in IMAGES else _grouped(values, times) for name, values in sources.items()}
    labels = _grouped(label_array(table, settings.class_names), times)
    dataset = tf.data.Dataset.from_tensor_slices((sources, labels))
    if seed is not None:
        dataset = dataset.shuffle(len(table), seed=seed, reshuffle_each_iteration=True)
    paths = tuple(path.encode() for name in IMAGES if name in sources for path in sources[name])
    kept = _store(paths, settings)
    weak = weakref.ref(kept)

    def look(path: bytes) -> np.ndarray:
        return weak()(path)  # type: ignore[misc]  # it lives as long as the dataset, see below

    def preprocess(given: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        tensors = dict(given)
        for name in IMAGES:
            if name in given:
                # stateful=False: the result depends on the file alone, so the map may stay parallel and deterministic
                image = tf.numpy_function(look, [given[name]], tf.uint8, stateful=False)
                tensors[name] = tf.ensure_shape(image, (settings.image_size, settings.image_size, 3))
        if "other_view" in given:
            tensors[MISSING] = tf.equal(given["other_view"], "")
        return tensors, label

    dataset = dataset.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # TensorFlow's default graph keeps ``look`` until it is reset; the pixels shall go with the datasets made from this.
    dataset.kept = kept
    return dataset if times == 1 else _repeated(dataset, times)


def _store(paths: tuple[bytes, ...], settings: InputSettings) -> PixelStore:
    """Datasets of the same images share their pixels: a training part is trained on and measured as it is."""
    recipe = get_recipe(settings.recipe)
    key = (paths, recipe, settings.image_size)
    store = _stores.get(key)
    if store is None:
        load = functools.partial(_pixels, recipe=recipe, image_size=settings.image_size)
        store = _stores[key] = PixelStore(paths, settings.image_size, load)
    return store


def _repeats(table: pd.DataFrame) -> int:
    """How many consecutive rows show each image; 1 where not all images have the same number."""
    paths = table["image_path"].reset_index(drop=True)
    lengths = paths.groupby(paths.ne(paths.shift()).cumsum()).size().unique()
    return int(lengths[0]) if len(lengths) == 1 else 1


def _grouped(values: np.ndarray, times: int) -> np.ndarray:
    """(n · times, …) → (n, times, …): what differs between the rows of one image; nothing changes for one row each."""
    return values if times == 1 else values.reshape(-1, times, *values.shape[1:])


def _repeated(dataset: tf.data.Dataset, times: int) -> tf.data.Dataset:
    """One image with the values of several rows → those rows."""

    def repeat(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        shared = {name: _times(value, times) for name, value in tensors.items() if name in (*IMAGES, MISSING)}
        return {**tensors, **shared}, label

    return dataset.map(repeat, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).unbatch()


def _times(value: tf.Tensor, times: int) -> tf.Tensor:
    return tf.repeat(value[tf.newaxis], times, axis=0)


def _changed(dataset: tf.data.Dataset, changes: tuple[Change, ...], settings: InputSettings) -> tf.data.Dataset:
    """Each row once for each change."""
    shape = (len(changes), settings.image_size, settings.image_size, 3)

    def versions(pixels: np.ndarray) -> np.ndarray:
        return np.stack([change(pixels) for change in changes])

    def change(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        rows = {name: _times(value, len(changes)) for name, value in tensors.items() if name not in IMAGES}
        for name in set(IMAGES) & set(tensors):
            rows[name] = tf.ensure_shape(tf.numpy_function(versions, [tensors[name]], tf.uint8, stateful=False), shape)
        return rows, _times(label, len(changes))

    return dataset.map(change, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).unbatch()


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


def batch_seeds(seed: int) -> tf.data.Dataset:
    """Without end, a seed for the stateless draws of each batch, int64 (2,); others in every epoch.

    A stream of its own: the order of the rows and the movements stay those of the same ``seed``.
    """
    return tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)


def with_unknown(dataset: tf.data.Dataset, rate: float, seed: int) -> tf.data.Dataset:
    """Each value of the metadata unknown (NaN) with the probability ``rate``, in [0, 1)."""

    def drop(batch: tuple[Tensors, tf.Tensor], draw: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        tensors, label = batch
        values = tensors["metadata"]
        dropped = tf.random.stateless_uniform(tf.shape(values), draw) < rate
        return {**tensors, "metadata": tf.where(dropped, np.float32(np.nan), values)}, label

    return tf.data.Dataset.zip(dataset, batch_seeds(seed)).map(
        drop, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


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
    return prefetched(dataset)


def prefetched(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Prepares batches ahead, without tf.data's tuner: an epoch's first batch would wait for the end of its thread."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
