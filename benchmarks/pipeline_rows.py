"""Rows of Table I as consumers of batches, for ``input_pipeline.py``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from mmdc_tf.datasets.catalogue import load_dataset
from mmdc_tf.datasets.phantom import phantom_ultrasound
from mmdc_tf.experiments.rows import Row, choose_rows, load_table
from mmdc_tf.inputs.augmentation import Augmentation
from mmdc_tf.inputs.features import FrozenFeatures, StoredFeatures
from mmdc_tf.inputs.pipeline import InputSettings, training_dataset
from mmdc_tf.models import ModelSettings, build_model, freeze_through
from mmdc_tf.models.frozen_part import split_frozen
from mmdc_tf.preprocessing.recipes import recipe_for
from mmdc_tf.training.recipe import TrainingRecipe, load_profile
from mmdc_tf.training.trainer import TrainingParts, class_weights, train

import keras  # isort: skip  (after mmdc_tf, which sets how TensorFlow computes)
import tensorflow as tf  # isort: skip

tf.get_logger().setLevel("ERROR")  # the timed step is traced for eager batches too

EPOCHS, STEPS, VALIDATION = 3, 40, 8
FEATURES, WHOLE = "stored features", "whole network"


@dataclass(frozen=True)
class Data:
    """The images that all rows train on."""

    table: pd.DataFrame
    class_names: tuple[str, ...]
    preprocessing: str
    recipe: TrainingRecipe
    synthetic: bool


@dataclass(frozen=True)
class Steps:
    """Seconds of each training step: of taking its batch, and of the step itself."""

    wait: list[float]
    step: list[float]


@dataclass(frozen=True)
class OneBatch:
    """A source of features (or images) that gives one batch in memory again and again."""

    batch: tuple[Any, ...]
    mixing: float
    kind: str = "in memory"

    def training(self, *_: object) -> tf.data.Dataset:
        """As many steps as are timed."""
        return tf.data.Dataset.from_tensors(self.batch).repeat(STEPS)

    def evaluation(self, *_: object) -> tf.data.Dataset:
        """One step."""
        return tf.data.Dataset.from_tensors(self.batch[:2])


class StepTimer:
    """Times every step of every ``fit``, once installed: the wait for ``next(iterator)``, and the compiled step."""

    def __init__(self) -> None:
        self.seconds: list[tuple[float, float]] = []
        make = keras.Model.make_train_function

        def make_timed(model: keras.Model, force: bool = False) -> None:
            if model.train_function is None or force:
                make(model, force)
                model.train_function = self._timed(model.train_function)

        mock.patch.object(keras.Model, "make_train_function", make_timed).start()

    def train(self, model: keras.Model, parts: TrainingParts, recipe: TrainingRecipe, source: Any) -> list[Steps]:
        """Trains as the package does; returns the steps of each epoch."""
        begin = len(self.seconds)
        train(model, parts, recipe, 0, pretrained=True, features=source)
        epochs = np.split(np.array(self.seconds[begin:]), recipe.epochs)
        return [Steps(*epoch.T.tolist()) for epoch in epochs]

    def _timed(self, function: Any) -> Any:
        def timed(iterator: Iterator) -> Any:
            began = time.perf_counter()
            batch = next(iterator)
            taken = time.perf_counter()
            logs = function(iter([batch]))
            float(logs["loss"])  # the step has ended
            self.seconds.append((taken - began, time.perf_counter() - taken))
            return logs

        return timed


@dataclass(frozen=True)
class Consumer:
    """What is trained of a row: its rest on stored features of these shapes, or the whole network without any."""

    name: str
    size: int
    model: keras.Model
    shapes: tuple[tuple[int, ...], ...]
    timer: StepTimer

    @property
    def kind(self) -> str:
        return FEATURES if self.shapes else WHOLE

    def pipelines(self, data: Data, scratch: Path) -> Iterator[tuple[str, tf.data.Dataset]]:
        """Its inputs, with what they are; the last is what it trains on."""
        if not self.shapes:
            moved = Augmentation(**(data.recipe.augmentation or {}))
            yield "images as they are", training_dataset(data.table, self._settings(data), None, 0)
            yield "images, augmented", training_dataset(data.table, self._settings(data), moved, 0)
            return
        weights = class_weights(data.table, data.class_names)
        for views, mixing in ((1, 0.0), (data.recipe.feature_views, data.recipe.feature_mixing)):
            source = self._features(data, scratch, views, mixing)
            words = f"{views} view{'s' if views > 1 else ''} of {self._readable()}{', mixing' if mixing else ''}"
            yield words, source.training(data.table, self._settings(data), 0, 0.0, weights if mixing else None)

    def steps_on_one_batch(self, data: Data, scratch: Path) -> Steps:
        """Those of a training whose batch is in memory; the first epoch traces and is left out."""
        *_, (_, dataset) = self.pipelines(data, scratch)
        source = OneBatch(next(iter(dataset)), data.recipe.feature_mixing if self.shapes else 0.0)
        return self.timer.train(self.model, self._parts(data), replace(data.recipe, epochs=2), source)[-1]

    def steps_in_training(self, data: Data, scratch: Path) -> dict[str, Steps]:
        """Those of a real training: of its first epoch, and of the later ones together."""
        source: FrozenFeatures | None = None
        if self.shapes:
            source = self._features(data, scratch, data.recipe.feature_views, data.recipe.feature_mixing)
        first, *later = self.timer.train(self.model, self._parts(data), data.recipe, source)
        together = Steps([x for one in later for x in one.wait], [x for one in later for x in one.step])
        return {"1st epoch": first, "later epochs": together}

    def _settings(self, data: Data) -> InputSettings:
        return InputSettings(data.preprocessing, self.size, data.recipe.batch_size, data.class_names, ("image",))

    def _parts(self, data: Data) -> TrainingParts:
        return TrainingParts(data.table, data.table[:VALIDATION], self._settings(data))

    def _readable(self) -> str:
        return " + ".join("×".join(map(str, shape)) for shape in self.shapes)

    def _features(self, data: Data, scratch: Path, views: int, mixing: float) -> StoredFeatures:
        """Random numbers in memory-mapped files, as float16."""
        outputs = [self._made_up(data, scratch / f"{self.name}-{n}.bin", shape) for n, shape in enumerate(self.shapes)]
        rows = {name: row for row, name in enumerate(data.table["sample_id"])}
        return StoredFeatures([[output[view] for output in outputs] for view in range(views)], rows, mixing)

    def _made_up(self, data: Data, path: Path, shape: tuple[int, ...]) -> np.ndarray:
        """float16 (views, images, h, w, channels), written where it is not there yet."""
        whole = (data.recipe.feature_views, len(data.table), *shape)
        if not path.exists():
            values = np.random.default_rng(0).random(whole[1:], dtype=np.float32).astype(np.float16)
            with path.open("wb") as file:
                for view in range(whole[0]):
                    file.write(np.roll(values, view, axis=0).tobytes())
        return np.memmap(path, np.float16, "r", shape=whole)


def load_data(root: Path | None, most: int, scratch: Path) -> Data:
    """BUSI or the phantom, at most so many images, spread over the dataset."""
    if root is None:
        dataset = phantom_ultrasound(scratch / "phantom", images=max(most, 12), size=256)
    else:
        dataset = load_dataset("busi", root)
    recipe = load_profile("full", epochs=EPOCHS, early_stopping_patience=EPOCHS).recipe
    count = min(most, len(dataset.table)) // recipe.batch_size * recipe.batch_size  # another size is traced anew
    places = np.linspace(0, len(dataset.table) - 1, count).round().astype(int)
    table = dataset.table.iloc[places].reset_index(drop=True)
    facts = recipe_for(dataset.info.modality, None).name, recipe, dataset.info.synthetic
    return Data(table, dataset.info.class_names, *facts)


def consumers(names: Sequence[str], size: int, data: Data) -> Iterable[Consumer]:
    """What is trained of these rows of Table I, for images of this size, or of the largest that a row takes."""
    timer = StepTimer()
    rows = choose_rows(load_table("table1"), list(names))
    return [_consumer(row, min(size, row.largest_image_size or size), data, timer) for row in rows]


def _consumer(row: Row, size: int, data: Data, timer: StepTimer) -> Consumer:
    model = build_model(str(row.model), ModelSettings(size, len(data.class_names), None), **row.arguments)
    if row.cut is None:
        return Consumer(row.name, size, model, (), timer)
    freeze_through(model, row.cut)
    split = split_frozen(model, row.cut)
    if split is None:
        raise ValueError(f"Expected a row whose frozen part takes one image. Received: row={row.name!r}.")
    return Consumer(row.name, size, split.tail, split.shapes, timer)
