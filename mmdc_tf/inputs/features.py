"""Sample table → batches of the features that a frozen part makes of the images: read from a store, or computed.

Both give the same batches: the order of ``training_dataset`` with the same seed, and the same draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import pandas as pd
import tensorflow as tf

from mmdc_tf.errors import ConfigurationError, DatasetError
from mmdc_tf.inputs.augmentation import FixedView
from mmdc_tf.inputs.pipeline import (
    SOURCES,
    InputSettings,
    Tensors,
    batch_seeds,
    label_array,
    mapped,
    prefetched,
    preprocessed,
    with_unknown,
)

FEATURES = "features"
VIEW, MIXING = 1, 2  # streams of draws, beside that of the unknown metadata

FrozenPart = Callable[[tf.Tensor], tf.Tensor | list[tf.Tensor]]
"""From images, float32 (batch, S, S, 3) RGB in [0, 255], to one or several feature maps, (batch, h, w, channels)."""


class FrozenFeatures(ABC):
    """What a frozen part makes of images in ``views`` fixed views, of which the first is the image as it is.

    ``mixing`` is α of ``with_mixing``; 0 mixes nothing.
    """

    kind: str

    def __init__(self, views: int, mixing: float = 0.0) -> None:
        self._views, self.mixing = views, mixing

    @abstractmethod
    def _samples(self, table: pd.DataFrame, settings: InputSettings, seed: int | None) -> tf.data.Dataset:
        """One sample after another, in the table's order or in a new one every pass; ``"image"`` is for ``_read``."""

    @abstractmethod
    def _read(self, images: tf.Tensor, views: tf.Tensor) -> list[tf.Tensor]:
        """The features of a batch in these views, int32 (batch,)."""

    def training(
        self,
        table: pd.DataFrame,
        settings: InputSettings,
        seed: int,
        metadata_dropout: float = 0.0,
        weights: dict[int, float] | None = None,
    ) -> tf.data.Dataset:
        """Batches in a new order every epoch; the same seed gives the same batches.

        Order and metadata are those of ``training_dataset`` with the same table, settings, seed and dropout.

        Args:
            weights: of each class index: each batch then has sample weights, right for mixed labels too.

        Returns:
            ({"features0": float32 (batch, h, w, channels), "features1": …, "metadata": float32 (batch, 2) raw age and
            density, NaN = unknown}, float32 (batch, classes) one-hot or mixed, and with ``weights`` float32 (batch,));
            ``"metadata"`` only where it is one of ``settings.inputs``.

        Raises:
            DatasetError: a ``sample_id`` has no features, or a label is none of the class names.
            ConfigurationError: the inputs are other than an image and metadata.
        """
        _require_one_image(settings)

        def draw(batch: tuple[Tensors, tf.Tensor], pair: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
            view_seed = tf.random.experimental.stateless_fold_in(pair, VIEW)
            views = tf.random.stateless_uniform(tf.shape(batch[1])[:1], view_seed, 0, self._views, tf.int32)
            return self._with_features(batch[0], views), batch[1]

        samples = self._samples(table, settings, seed).batch(settings.batch_size)
        batches = mapped(tf.data.Dataset.zip(samples, batch_seeds(seed)), draw)
        if metadata_dropout > 0 and "metadata" in settings.inputs:
            batches = with_unknown(batches, metadata_dropout, seed)
        if self.mixing > 0:
            batches = with_mixing(batches, self.mixing, seed)
        return prefetched(batches if weights is None else with_sample_weights(batches, weights))

    def evaluation(self, table: pd.DataFrame, settings: InputSettings) -> tf.data.Dataset:
        """The same tensors in the table's own order, of the images as they are; raises as ``training`` does."""
        _require_one_image(settings)

        def first(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
            return self._with_features(tensors, tf.zeros(tf.shape(label)[:1], tf.int32)), label

        return prefetched(mapped(self._samples(table, settings, None).batch(settings.batch_size), first))

    def _with_features(self, tensors: Tensors, views: tf.Tensor) -> Tensors:
        features = self._read(tensors["image"], views)
        others = {name: value for name, value in tensors.items() if name != "image"}
        return {**{f"{FEATURES}{index}": tf.cast(value, tf.float32) for index, value in enumerate(features)}, **others}


class StoredFeatures(FrozenFeatures):
    """Features in arrays, which may be memory-mapped: only what a batch needs is read.

    Args:
        views: for each view, for each output of the frozen part, an array (n, h, w, channels).
        rows: the row of each ``sample_id`` in these arrays.
    """

    kind = "stored"

    def __init__(self, views: list[list[np.ndarray]], rows: dict[str, int], mixing: float = 0.0) -> None:
        super().__init__(len(views), mixing)
        # Plain arrays on the same mapped memory: taking a row of a numpy.memmap costs more than copying it.
        self._arrays, self._rows = [[np.asarray(output) for output in view] for view in views], rows

    def _samples(self, table: pd.DataFrame, settings: InputSettings, seed: int | None) -> tf.data.Dataset:
        rows = table["sample_id"].map(self._rows)
        unknown = table["sample_id"][rows.isna()]
        if len(unknown):
            raise DatasetError(
                f"Expected stored features of each sample. Received: sample_id={unknown.iloc[0]!r} without any. "
                "Compute the features of this table again."
            )
        sources = {name: SOURCES[name](table) for name in settings.inputs if name != "image"}
        sources["image"] = rows.to_numpy(dtype=np.int64)
        dataset = tf.data.Dataset.from_tensor_slices((sources, label_array(table, settings.class_names)))
        return dataset if seed is None else dataset.shuffle(len(table), seed=seed, reshuffle_each_iteration=True)

    def _read(self, images: tf.Tensor, views: tf.Tensor) -> list[tf.Tensor]:
        outputs = range(len(self._arrays[0]))

        def take(rows: np.ndarray, drawn: np.ndarray) -> list[np.ndarray]:
            places = list(zip(drawn.tolist(), rows.tolist(), strict=True))
            return [np.stack([self._arrays[view][output][row] for view, row in places]) for output in outputs]

        dtypes = [tf.as_dtype(array.dtype) for array in self._arrays[0]]
        taken = tf.numpy_function(take, [images, views], dtypes, stateful=False)
        return [
            tf.ensure_shape(value, (None, *array.shape[1:]))
            for value, array in zip(taken, self._arrays[0], strict=True)
        ]


class ComputedFeatures(FrozenFeatures):
    """The same features computed in every step, on the processor, for where the disk is too small."""

    kind = "computed"

    def __init__(self, views: tuple[FixedView, ...], frozen: FrozenPart, mixing: float = 0.0) -> None:
        super().__init__(len(views), mixing)
        self._looks, self._frozen = views, frozen

    def _samples(self, table: pd.DataFrame, settings: InputSettings, seed: int | None) -> tf.data.Dataset:
        return preprocessed(table, settings, seed)

    def _read(self, images: tf.Tensor, views: tf.Tensor) -> list[tf.Tensor]:
        def look(pixels: np.ndarray, drawn: np.ndarray) -> np.ndarray:
            return np.stack([self._looks[view](image) for view, image in zip(drawn, pixels, strict=True)])

        seen = tf.numpy_function(look, [images, views], tf.uint8, stateful=False)
        return tf.nest.flatten(self._frozen(tf.cast(tf.ensure_shape(seen, images.shape), tf.float32)))


def _require_one_image(settings: InputSettings) -> None:
    if "image" not in settings.inputs or not set(settings.inputs) <= {"image", "metadata"}:
        raise ConfigurationError(
            f"Expected inputs of one image, with or without metadata. Received: inputs={settings.inputs}. "
            "Train a model of other inputs without stored features."
        )


def with_mixing(dataset: tf.data.Dataset, alpha: float, seed: int) -> tf.data.Dataset:
    """Mixes each sample with another of its batch: manifold mixup (Verma et al., ICML 2019) after a fixed layer.

    One share λ ~ Beta(α, α), α above 0, a batch, as in their algorithm; the partners are the batch in a random order;
    features, labels and metadata become λ · own + (1 - λ) · partner's. An age or a density that one of the two lacks
    cannot be mixed: it is that of the one with the larger share, unknown where this one lacks it.
    """

    def mix(batch: tuple[Tensors, tf.Tensor], pair: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        seeds = tf.random.experimental.stateless_split(tf.random.experimental.stateless_fold_in(pair, MIXING), 2)
        # A Beta is a Gamma's share of two; float64, as for a small α a Gamma is often below the least float32.
        gammas = tf.random.stateless_gamma((2,), seeds[0], alpha, dtype=tf.float64)
        share = tf.cast(gammas[0] / tf.reduce_sum(gammas), tf.float32)
        partner = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(batch[1])[0]), seeds[1])

        def mixed(own: tf.Tensor) -> tf.Tensor:
            other = tf.gather(own, partner)
            value = other + share * (own - other)  # exactly their value where both are equal
            return tf.where(tf.math.is_nan(value), tf.where(share >= 0.5, own, other), value)

        return tf.nest.map_structure(mixed, batch)

    return mapped(tf.data.Dataset.zip(dataset, batch_seeds(seed)), mix)


def with_sample_weights(dataset: tf.data.Dataset, class_weights: dict[int, float]) -> tf.data.Dataset:
    """Adds Σ_c y_c · w_c (1 where none): Keras' ``class_weight`` would weigh a mixed label by its largest class."""

    def weigh(tensors: Tensors, label: tf.Tensor) -> tuple[Tensors, tf.Tensor, tf.Tensor]:
        weights = [float(class_weights.get(index, 1.0)) for index in range(label.shape[-1])]
        return tensors, label, tf.linalg.matvec(label, tf.constant(weights, tf.float32))

    return mapped(dataset, weigh)
