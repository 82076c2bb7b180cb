"""The features of frozen parts for all images of a dataset: computed once, kept on disk, read by every training."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.inputs.augmentation import Augmentation
from mmdc_tf.inputs.features import (
    FrozenFeatures,
    computed_evaluation_dataset,
    computed_training_dataset,
    feature_evaluation_dataset,
    feature_training_dataset,
)
from mmdc_tf.inputs.fixed_views import FixedView, fixed_views
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.models.frozen_part import FrozenSplit
from mmdc_tf.preprocessing.recipes import get_recipe
from mmdc_tf.training.feature_store import CacheSettings, FeatureCacheUnavailable, entry_names, fill, open_entries
from mmdc_tf.training.recipe import TrainingRecipe

FILL_BATCH = 8
PART = 64  # images; a multiple of FILL_BATCH, so that an interrupted filling is continued with the same batches
ClassWeights = dict[int, float] | None


class FeatureSource(Protocol):
    """What stands for the images in a training of the rest."""

    @property
    def kind(self) -> str:
        """``"stored"`` or ``"computed"``."""

    @property
    def mixing(self) -> float:
        """α of the mixing; where it is above 0, training batches carry sample weights."""

    def training(
        self, table: pd.DataFrame, settings: InputSettings, seed: int, metadata_dropout: float, weights: ClassWeights
    ) -> tf.data.Dataset:
        """Batches in a new order every epoch, of a drawn view each, with sample weights where they are mixed."""

    def evaluation(self, table: pd.DataFrame, settings: InputSettings) -> tf.data.Dataset:
        """Batches in the table's order, of the images as they are."""


@dataclass(frozen=True)
class StoredSource:
    """Features read from disk."""

    features: FrozenFeatures
    mixing: float
    kind: str = "stored"

    def training(
        self, table: pd.DataFrame, settings: InputSettings, seed: int, metadata_dropout: float, weights: ClassWeights
    ) -> tf.data.Dataset:
        """As in ``FeatureSource``."""
        return feature_training_dataset(
            table, self.features, settings, seed, metadata_dropout, self.mixing, class_weights=weights
        )

    def evaluation(self, table: pd.DataFrame, settings: InputSettings) -> tf.data.Dataset:
        """As in ``FeatureSource``."""
        return feature_evaluation_dataset(table, self.features, settings)


@dataclass(frozen=True)
class ComputedSource:
    """The same features computed in every step, where there is no room for them."""

    views: tuple[FixedView, ...]
    frozen: keras.Model
    mixing: float
    kind: str = "computed"

    def training(
        self, table: pd.DataFrame, settings: InputSettings, seed: int, metadata_dropout: float, weights: ClassWeights
    ) -> tf.data.Dataset:
        """As in ``FeatureSource``."""
        return computed_training_dataset(
            table, settings, self.views, self._features, seed, metadata_dropout, self.mixing, class_weights=weights
        )

    def evaluation(self, table: pd.DataFrame, settings: InputSettings) -> tf.data.Dataset:
        """As in ``FeatureSource``."""
        return computed_evaluation_dataset(table, settings, self._features)

    def _features(self, images: tf.Tensor) -> tf.Tensor | list[tf.Tensor]:
        return self.frozen({"image": images}, training=False)


class FeatureShare(Protocol):
    """Where machines without a common cache folder share its entries."""

    def fetch_features(self, folder: Path) -> None:
        """Copies an entry here, where it is there and not yet here."""

    def send_features(self, folder: Path) -> None:
        """Copies a filled entry there, where it is not there yet."""


class FeatureCache:
    """Opens the features of one dataset, and computes those that are not there yet.

    Args:
        settings: where they are kept, and how much room they may take.
        dataset: all images; its fingerprint is part of what tells one cache from another.
        say: prints a line.
        share: what other machines have computed is taken from there, and what is computed here is sent there.
    """

    def __init__(
        self,
        settings: CacheSettings,
        dataset: Dataset,
        say: Callable[[str], object] = print,
        share: FeatureShare | None = None,
    ) -> None:
        self._settings, self._dataset, self._say, self._share = settings, dataset, say, share
        self._opened: tuple[Any, FeatureSource] | None = None

    def open(self, split: FrozenSplit, backbone: str, settings: InputSettings, recipe: TrainingRecipe) -> FeatureSource:
        """The features of all images of the dataset.

        They are kept by dataset fingerprint, preprocessing recipe with its steps, image size, backbone, frozen weights,
        cut, precision, view and dtype; whatever is the same is shared: rows, folds, seeds, protocols, processes.

        Args:
            split: the parts of the network.
            backbone: its name.
            settings: preprocessing and image size.
            recipe: the views, the mixing and the dtype.

        Returns:
            Stored features; where there is no room, what computes the same in every step, after saying so.
        """
        views = _views(recipe)
        shared = self._facts(split, backbone, settings)
        facts = [{**shared, "view": asdict(view)} for view in views]
        key = (facts, recipe.feature_dtype, recipe.feature_mixing, id(split))
        if self._opened is None or self._opened[0] != key:
            self._opened = None  # the limit may demand the place of what was used before
            self._opened = key, self._source(split, settings, recipe, views, facts)
        return self._opened[1]

    def _source(
        self,
        split: FrozenSplit,
        settings: InputSettings,
        recipe: TrainingRecipe,
        views: tuple[FixedView, ...],
        facts: list[dict[str, Any]],
    ) -> FeatureSource:
        mixing = recipe.feature_mixing if len(views) > 1 else 0.0
        try:
            arrays = self._stored(split, settings, recipe.feature_dtype, views, facts)
        except FeatureCacheUnavailable as reason:
            self._say(f"note: {reason} The features are computed in every step instead.")
            return ComputedSource(views, split.frozen, mixing)
        rows = {name: row for row, name in enumerate(self._dataset.table["sample_id"])}
        return StoredSource(FrozenFeatures(tuple(map(tuple, arrays)), rows), mixing)

    def _stored(
        self,
        split: FrozenSplit,
        settings: InputSettings,
        dtype: str,
        views: tuple[FixedView, ...],
        facts: list[dict[str, Any]],
    ) -> list[list[np.ndarray]]:
        count = len(self._dataset.table)
        if self._share is not None:
            for name in entry_names(facts, count, split.shapes, dtype, PART):
                self._share.fetch_features(self._settings.folder.expanduser() / name)
        entries = open_entries(self._settings, facts, count, split.shapes, dtype, PART)
        if damaged := sum(entry.damaged for entry in entries):
            self._say(f"note: {damaged} damaged parts of stored features are computed again")
        name = f"{facts[0]['backbone']} up to {split.cut}"
        with _Filling(f"features of {name}: {len(views)} views of {count} images", self._say) as bar:
            fill(entries, self._computation(split, settings, views), bar.show)
        if self._share is not None:
            for entry in entries:
                self._share.send_features(entry.folder)
        return [entry.arrays() for entry in entries]

    def _computation(
        self, split: FrozenSplit, settings: InputSettings, views: tuple[FixedView, ...]
    ) -> Callable[[int, int, tuple[int, ...]], list[list[np.ndarray]]]:
        """Gives the features of some images in some views."""
        images_only = replace(settings, inputs=("image",), batch_size=FILL_BATCH)

        def compute(start: int, stop: int, which: tuple[int, ...]) -> list[list[np.ndarray]]:
            images = self._dataset.table.iloc[start:stop]
            batches = evaluation_dataset(images, images_only, changes=[views[index] for index in which])
            outputs = keras.tree.flatten(split.frozen.predict(batches, verbose=0))
            return [[output[index :: len(which)] for output in outputs] for index in range(len(which))]

        return compute

    def _facts(self, split: FrozenSplit, backbone: str, settings: InputSettings) -> dict[str, Any]:
        """What features depend on, whatever the view."""
        return {
            "dataset": self._dataset.info.name,
            "fingerprint": self._dataset.fingerprint,
            "recipe": settings.recipe,
            "recipe_steps": get_recipe(settings.recipe).to_config(),
            "image_size": settings.image_size,
            "backbone": backbone,
            "weights": split.weights_digest,
            "cut": split.cut,
            "outputs": [list(shape) for shape in split.shapes],
            "precision": split.precision,
        }


class _Filling:
    """A progress bar of the parts that are missing, and a line when they are there; nothing where none is."""

    def __init__(self, name: str, say: Callable[[str], object]) -> None:
        self._name, self._say, self._started = name, say, time.perf_counter()
        self._bar: tqdm | None = None

    def __enter__(self) -> _Filling:
        return self

    def show(self, done: int, total: int) -> None:
        """Moves the bar on."""
        if total and self._bar is None:
            self._bar = tqdm(total=total, desc=self._name, unit="part", disable=None, file=sys.stderr, leave=False)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def __exit__(self, kind: object, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
            if kind is None:
                self._say(f"{self._name}, stored in {time.perf_counter() - self._started:.0f} s")


def _views(recipe: TrainingRecipe) -> tuple[FixedView, ...]:
    if recipe.augmentation is None:
        return fixed_views(recipe.feature_views, Augmentation(mirror=False, shift=0.0, zoom=0.0))
    moved = Augmentation(**recipe.augmentation)
    limits = replace(moved, rotation=recipe.feature_rotation, brightness=recipe.feature_brightness)
    return fixed_views(recipe.feature_views, limits)
