"""The features of frozen parts for all images of a dataset: computed once, stored, read by every training."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.inputs.augmentation import Augmentation, FixedView, fixed_views
from mmdc_tf.inputs.features import ComputedFeatures, FrozenFeatures, StoredFeatures
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.models.frozen_part import FrozenSplit
from mmdc_tf.preprocessing.recipes import get_recipe
from mmdc_tf.training.feature_store import FILL_BATCH, CacheSettings, Entry, FeatureCacheUnavailable, open_filled
from mmdc_tf.training.recipe import TrainingRecipe

DTYPE = "float16"  # half the disk and reading; features are of the order of 1, far from its limit of 65,504


class FeatureCache:
    """Opens the features of one dataset, and computes those that are not there yet.

    Args:
        settings: where they are kept, and how much room they may take.
        dataset: all images; its fingerprint is part of what tells one cache from another.
        say: prints a line.
    """

    def __init__(self, settings: CacheSettings, dataset: Dataset, say: Callable[[str], object] = print) -> None:
        self._settings = replace(settings, folder=settings.folder.expanduser().resolve())
        self._dataset, self._say = dataset, say
        self._opened: tuple[Any, FrozenFeatures] | None = None

    def open(
        self, split: FrozenSplit, backbone: str, settings: InputSettings, recipe: TrainingRecipe
    ) -> FrozenFeatures:
        """The features of all images of the dataset.

        They are kept by dataset fingerprint, preprocessing recipe with its steps, image size, backbone, frozen weights,
        cut, precision and view; whatever is the same is shared: rows, folds, seeds, protocols, processes.

        Args:
            split: the parts of the network.
            backbone: its name.
            settings: preprocessing and image size.
            recipe: the views and the mixing.

        Returns:
            Stored features; where there is no room, what computes the same in every step, after saying so.

        Raises:
            ConfigurationError: a feature that float16 does not hold.
        """
        views = _views(recipe)
        shared = self._facts(split, backbone, settings)
        facts = [{**shared, "view": asdict(view)} for view in views]
        key = (facts, recipe.feature_mixing, id(split))
        if self._opened is None or self._opened[0] != key:
            self._opened = None  # the limit may demand the place of what was used before
            mixing = recipe.feature_mixing if len(views) > 1 else 0.0
            self._opened = key, self._features(split, settings, views, facts, mixing)
        return self._opened[1]

    def _features(
        self,
        split: FrozenSplit,
        settings: InputSettings,
        views: tuple[FixedView, ...],
        facts: list[dict[str, Any]],
        mixing: float,
    ) -> FrozenFeatures:
        table, began, computed = self._dataset.table, time.perf_counter(), 0
        entries = [Entry(self._settings.folder, view_facts, len(table), split.shapes, DTYPE) for view_facts in facts]
        images_only = replace(settings, inputs=("image",), batch_size=FILL_BATCH)
        name = f"features of {facts[0]['backbone']} up to {split.cut}: {len(views)} views of {len(table)} images"
        bar = tqdm(total=len(views) * len(table), desc=name, unit="image", disable=None, file=sys.stderr, leave=False)

        @tf.function(input_signature=[tf.TensorSpec((None, settings.image_size, settings.image_size, 3))])
        def frozen(images: tf.Tensor) -> list[tf.Tensor]:
            return keras.tree.flatten(split.frozen({"image": images}, training=False))

        def compute(number: int, start: int) -> Iterator[list[np.ndarray]]:
            nonlocal computed
            for tensors, _ in evaluation_dataset(table.iloc[start:], images_only, changes=[views[number]]):
                yield [output.numpy() for output in frozen(tensors["image"])]
                computed += len(tensors["image"])
                bar.update(len(tensors["image"]))

        try:
            arrays = open_filled(self._settings, entries, compute)
        except FeatureCacheUnavailable as reason:
            self._say(f"note: {reason} The features are computed in every step instead.")
            return ComputedFeatures(views, frozen, mixing)
        finally:
            bar.close()
        if computed:
            self._say(f"{name}, stored in {time.perf_counter() - began:.0f} s")
        rows = {sample: row for row, sample in enumerate(table["sample_id"])}
        return StoredFeatures(arrays, rows, mixing)

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


def _views(recipe: TrainingRecipe) -> tuple[FixedView, ...]:
    if recipe.augmentation is None:
        return fixed_views(recipe.feature_views, Augmentation(mirror=False, shift=0.0, zoom=0.0))
    moved = Augmentation(**recipe.augmentation)
    limits = replace(moved, rotation=recipe.feature_rotation, brightness=recipe.feature_brightness)
    return fixed_views(recipe.feature_views, limits)
