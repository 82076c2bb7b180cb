"""Sample table → ``tf.data``: batches of images and metadata (``features.py``: of what a frozen part makes of them)."""

from __future__ import annotations

import functools
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmdc_tf.errors import DatasetError
from mmdc_tf.inputs.augmentation import Augmentation, augmentation_layers
from mmdc_tf.preprocessing.recipes import Recipe, get_recipe
from mmdc_tf.preprocessing.scan_file import preprocess_file

METADATA_COLUMNS = ("age", "density")
IMAGES = ("image", "other_view")
MISSING = "other_view_missing"
BREAST = ["patient_id", "side"]
MOST_KEPT = 2 * 10**9
"""Bytes of prepared images that a process keeps: 13,000 images of 224 pixels; what is beyond is prepared every time."""

Tensors = dict[str, tf.Tensor]
Change = Callable[[np.ndarray], np.ndarray]
"""From the pixels that a model is given to others of the same kind: uint8 (S, S, 3) to uint8 (S, S, 3)."""


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


def metadata_array(table: pd.DataFrame) -> np.ndarray:
    """Raw age in years and BI-RADS density 1 to 4: float32 (n, 2), NaN where unknown."""
    return table.loc[:, list(METADATA_COLUMNS)].to_numpy(dtype="float32")


def label_array(table: pd.DataFrame, class_names: tuple[str, ...]) -> np.ndarray:
    """One-hot labels in the order of ``class_names``, float32 (n, classes); ``DatasetError`` on any other."""
    indices = pd.Index(class_names).get_indexer(pd.Index(table["label"]))
    unknown = table["label"][indices < 0]
    if len(unknown):
        raise DatasetError(
            f"Expected labels of {', '.join(class_names)}. Received: label={unknown.iloc[0]!r}. Correct the table."
        )
    return np.eye(len(class_names), dtype="float32")[indices]


def other_views(table: pd.DataFrame) -> np.ndarray:
    """Paths of the same breast in the other standard view (CC, MLO), str (n,); "" where unknown or absent.

    Only the given table is searched: a part of a split never sees an image of another part. Where a breast has several
    images of a view, it is the first by ``sample_id``.
    """
    known = (table[[*BREAST, "view"]] != "").all(axis=1)
    firsts = table[known].sort_values("sample_id", kind="stable").drop_duplicates([*BREAST, "view"])
    wanted = table[BREAST].assign(view=table["view"].map({"CC": "MLO", "MLO": "CC"}))
    paths = wanted.merge(firsts[[*BREAST, "view", "image_path"]], how="left", on=[*BREAST, "view"])["image_path"]
    return paths.where(known.to_numpy(), "").fillna("").to_numpy(dtype=str)


# Where each tensor comes from: paths of images, or the values themselves.
SOURCES: dict[str, Callable[[pd.DataFrame], np.ndarray]] = {
    "image": lambda table: table["image_path"].to_numpy(dtype=str),
    "other_view": other_views,
    "metadata": metadata_array,
}


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

    With ``changes`` each row comes once for each of them, its images (both views) changed after preprocessing.
    """
    dataset = preprocessed(table, settings)
    if changes:
        dataset = _changed(dataset, tuple(changes), settings)
    return _finished(_batched(dataset, settings))


def preprocessed(table: pd.DataFrame, settings: InputSettings, seed: int | None = None) -> tf.data.Dataset:
    """One sample after another, images uint8 (S, S, 3), kept after preprocessing: the costly part runs once.

    With a seed in a new order in every pass. What is shuffled are paths: a buffer of images would hold the whole table.
    """
    sources = {name: SOURCES[name](table) for name in settings.inputs}
    dataset = tf.data.Dataset.from_tensor_slices((sources, label_array(table, settings.class_names)))
    if seed is not None:
        dataset = dataset.shuffle(len(table), seed=seed, reshuffle_each_iteration=True)
    load = functools.partial(_prepared, recipe=get_recipe(settings.recipe), image_size=settings.image_size)

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

    return mapped(dataset, preprocess)


def _prepared(path: bytes, recipe: Recipe, image_size: int) -> np.ndarray:
    """A file's pixels, uint8 (S, S, 3); black where there is no file, which ``_finished`` turns into NaN."""
    if not path:
        return np.zeros((image_size, image_size, 3), np.uint8)
    kept, locks = _kept(recipe, image_size)
    key = path, Path(path.decode()).stat().st_mtime_ns
    with locks[key]:  # where rows share an image, as for two views, one thread prepares it
        if key in kept:
            return kept[key]
        pixels = preprocess_file(path, recipe, image_size)
        if len(kept) * pixels.nbytes < MOST_KEPT:
            kept[key] = pixels
        return pixels


@functools.lru_cache(maxsize=1)
def _kept(recipe: Recipe, image_size: int) -> tuple[dict[Any, np.ndarray], dict[Any, threading.Lock]]:
    """The prepared images by file, for all datasets of a process; ``Dataset.cache`` would make a shuffled one wait."""
    return {}, defaultdict(threading.Lock)


def _changed(dataset: tf.data.Dataset, changes: tuple[Change, ...], settings: InputSettings) -> tf.data.Dataset:
    """Each row once for each change."""
    shape = (len(changes), settings.image_size, settings.image_size, 3)

    def versions(pixels: np.ndarray) -> np.ndarray:
        return np.stack([change(pixels) for change in changes])

    def changed(value: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(versions, [value], tf.uint8, stateful=False), shape)

    def repeated(value: tf.Tensor) -> tf.Tensor:
        return tf.repeat(value[tf.newaxis], len(changes), axis=0)

    def change(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        rows = {name: (changed if name in IMAGES else repeated)(value) for name, value in tensors.items()}
        return rows, repeated(label)

    return mapped(dataset, change).unbatch()


def _batched(dataset: tf.data.Dataset, settings: InputSettings) -> tf.data.Dataset:
    def as_float(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        return {name: tf.cast(value, tf.float32) for name, value in tensors.items()}, label

    return mapped(dataset.batch(settings.batch_size), as_float)


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
    """Without end, a seed for the stateless draws of each batch, int64 (2,), in a stream of its own."""
    return tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)


def with_unknown(dataset: tf.data.Dataset, rate: float, seed: int) -> tf.data.Dataset:
    """Each value of the metadata unknown (NaN) with the probability ``rate``, in [0, 1)."""

    def drop(batch: tuple[Tensors, tf.Tensor], draw: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        tensors, label = batch
        values = tensors["metadata"]
        dropped = tf.random.stateless_uniform(tf.shape(values), draw) < rate
        return {**tensors, "metadata": tf.where(dropped, np.float32(np.nan), values)}, label

    return mapped(tf.data.Dataset.zip(dataset, batch_seeds(seed)), drop)


def _finished(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Marks missing views, after augmentation, which would smear NaN over its neighbours."""

    def mark(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        marked = dict(tensors)
        missing = marked.pop(MISSING)[:, None, None, None] > 0
        marked["other_view"] = tf.where(missing, np.float32(np.nan), marked["other_view"])
        return marked, label

    return prefetched(mapped(dataset, mark) if MISSING in dataset.element_spec[0] else dataset)


def mapped(dataset: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
    """In parallel, in the dataset's order."""
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def prefetched(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Prepares batches ahead, without tf.data's tuner: an epoch's first batch would wait for the end of its thread."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
