"""Trains a DenseNet as ``mmdc-tf run`` does, and prints how long it took, as JSON; started by training.py.

It calls ``mmdc_tf.training.trainer.train`` on image files, which are decoded in the first epoch and lie in memory as
uint8 from the second on. An epoch is timed from its first batch to its last; validation comes after it.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import mmdc_tf  # before Keras: it switches oneDNN on

# isort: split
import keras
import numpy as np

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.inputs.features import FrozenFeatures
from mmdc_tf.inputs.pipeline import InputSettings
from mmdc_tf.models import ModelSettings, build_model, freeze_through
from mmdc_tf.models.frozen_part import FrozenSplit, split_frozen
from mmdc_tf.training.feature_cache import FeatureCache
from mmdc_tf.training.feature_store import CacheSettings
from mmdc_tf.training.recipe import TrainingRecipe, load_profile
from mmdc_tf.training.trainer import TrainingParts, make_deterministic, train

CUT = "pool4_pool"  # everything before the last dense block, as MONAI's transition3
PREPROCESSING, VALIDATION = "ultrasound", 8


class EpochClock(keras.callbacks.Callback):
    """Seconds of each epoch, by the clock and of the processor, without its validation."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.processor: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def on_test_begin(self, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self._began)
        self.processor.append(time.process_time() - self._cpu)


def main() -> None:
    job = json.loads(sys.argv[1])
    make_deterministic(0)
    folder = Path(job["folder"])
    dataset: Dataset = pickle.loads((folder / "dataset.pickle").read_bytes())  # written by training.py
    dataset = replace(dataset, table=dataset.table[: job["images"]])
    settings = InputSettings(PREPROCESSING, job["size"], job["batch_size"], dataset.info.class_names, inputs=("image",))
    model = _network(job, dataset)
    print(json.dumps(_timed(model, job, dataset, settings)))


def _network(job: dict[str, Any], dataset: Dataset) -> keras.Model:
    """The network, its early part frozen unless all of it is fine-tuned."""
    classes = len(dataset.info.class_names)
    model = build_model("backbone_classifier", ModelSettings(job["size"], classes), backbone=job["model"])
    _settle(model, job)
    if job["work"] != "full":
        freeze_through(model, CUT)
    return model


def _settle(model: keras.Model, job: dict[str, Any]) -> None:
    """Gives BatchNormalization the statistics of a batch: with those of new networks, features exceed float16."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    images = np.load(Path(job["folder"], "images.npy"))[: job["batch_size"]]
    model({"image": images.astype("float32")}, training=True)


def _timed(model: keras.Model, job: dict[str, Any], dataset: Dataset, settings: InputSettings) -> dict[str, Any]:
    """Trains; the first epoch, which traces and decodes, is reported apart."""
    recipe, parts = _recipe(job), TrainingParts(dataset.table, dataset.table[:VALIDATION], settings)
    cached = job["work"] == "cached"
    began = time.perf_counter()
    trained, features = _tail(model, job, dataset, settings, recipe) if cached else (model, None)
    filled = time.perf_counter() - began
    clock = EpochClock()
    train(trained, parts, recipe, seed=0, pretrained=False, callbacks=[clock], features=features)
    return {
        "fill": filled if cached else None,
        "first": clock.seconds[0],
        "seconds": clock.seconds[1:],
        "cpu": clock.processor[1:],
        "trainable": sum(math.prod(weight.shape) for weight in trained.trainable_weights),
        "versions": {"mmdc_tf": mmdc_tf.__version__, **{name: version(name) for name in ("tensorflow", "keras")}},
        "threads": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def _tail(
    model: keras.Model, job: dict[str, Any], dataset: Dataset, settings: InputSettings, recipe: TrainingRecipe
) -> tuple[keras.Model, FrozenFeatures]:
    """What is not frozen, and the stored features of what is."""
    split = cast(FrozenSplit, split_frozen(model, CUT))  # None is for models of two views
    cache = FeatureCache(CacheSettings(Path(job["cache"])), dataset, say=lambda line: print(line, file=sys.stderr))
    return split.tail, cache.open(split, job["model"], settings, recipe)


def _recipe(job: dict[str, Any]) -> TrainingRecipe:
    """The package's own; without augmentation, of which the peers have none, unless features of views are drawn."""
    given = {"image_size": job["size"], "batch_size": job["batch_size"], "epochs": 1 + job["stretches"]}
    recipe = load_profile("full", **given, feature_views=job["views"]).recipe
    return recipe if job["work"] == "cached" and job["views"] > 1 else recipe.without_augmentation()


if __name__ == "__main__":
    main()
