"""The stages of ``scaling.py``, a group of them in this process: arguments GROUP SETTINGS RESULT (JSON, JSON file)."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from machine import own_memory, peak_memory
from scaling import Stage

from mmdc_tf.datasets.folder import load_folder
from mmdc_tf.datasets.hash_pairs import spanning_pairs
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import PROTOCOLS, make_splits

BITS, TWIN_BITS, FOLDS, VIEWS, BATCH = 256, 40, 5, 8, 8
STORED_SHAPE, DENSENET_SHAPE = (2, 4, 8), (7, 7, 512)
SAVED = "dataset.pickle"


class Bench:
    """Times the stages and keeps what they took."""

    def __init__(self, settings: dict[str, Any], result: Path) -> None:
        self.folder = Path(settings["folder"])
        self.image_size: int = settings["image_size"]
        self.most_seconds: float = settings["most_seconds"]
        self.most_mb: float = settings["most_mb"]
        self._result = result
        self._stages: dict[str, Stage] = {}
        self._began = 0.0

    @contextmanager
    def stage(self, name: str, images: int) -> Iterator[None]:
        """One stage of so many images."""
        self._began = time.perf_counter()
        yield
        self.keep(name, images)

    def keep(self, name: str, images: int, mark: str = "") -> None:
        """Writes a stage that ends now."""
        seconds = time.perf_counter() - self._began
        gc.collect()
        self._stages[name] = Stage(seconds, images, peak_memory(), own_memory(), mark)
        content = {name: dataclasses.asdict(stage) for name, stage in self._stages.items()}
        self._result.write_text(json.dumps(content))

    def iterate(self, name: str, batches: Any, images: int) -> None:
        """A stage of one pass over batches of images, for some seconds at most, and ended where memory is too much."""
        self._began, done, finished = time.perf_counter(), 0, threading.Event()
        watch = threading.Thread(target=self._watch, args=(name, lambda: done, finished), daemon=True)
        watch.start()
        for tensors, *_ in batches:
            done += len(next(iter(tensors.values())))
            if time.perf_counter() - self._began > self.most_seconds:
                break
        finished.set()
        watch.join()
        self.keep(name, done, "" if done == images else "*")

    def _watch(self, name: str, done: Callable[[], int], finished: threading.Event) -> None:
        """Ends the process before it takes the machine's memory: the first batch may wait for all images."""
        while not finished.wait(0.2):
            if own_memory() > self.most_mb:
                self.keep(name, done(), "!")
                os._exit(0)


def table(bench: Bench) -> None:
    """The dataset's table, its fingerprint, its splits and what joins its views."""
    bench._began = time.perf_counter()
    dataset = load_folder(bench.folder, modality="ultrasound")
    count = len(dataset.table)
    bench.keep("load the folder's table", count)
    with bench.stage("fingerprint", count):
        _ = dataset.fingerprint
    for protocol in PROTOCOLS:
        with bench.stage(f"splits, {protocol}", count):
            make_splits(dataset, protocol, FOLDS, 0)
    from mmdc_tf.inputs.views import other_views

    with bench.stage("find the other views", count):
        other_views(dataset.table)
    (bench.folder.parent / SAVED).write_bytes(pickle.dumps(dataset))


def near_twins(bench: Bench) -> None:
    """The search among random hashes."""
    count = len(_saved(bench).table)
    hashes = np.random.default_rng(0).integers(0, 2, (count, BITS)).astype(bool)
    with bench.stage("near-twins among random hashes", count):
        spanning_pairs(hashes, TWIN_BITS)


def store(bench: Bench) -> None:
    """Filling the feature store, and opening it again."""
    from mmdc_tf.training.feature_store import FILL_BATCH, CacheSettings, Entry, open_filled

    count, settings = len(_saved(bench).table), CacheSettings(bench.folder.parent / "store")
    entries = [Entry(settings.folder, {"view": view}, count, (STORED_SHAPE,), "float16") for view in range(VIEWS)]

    def compute(view: int, start: int) -> Iterator[list[np.ndarray]]:
        for first in range(start, count, FILL_BATCH):
            yield [np.zeros((min(FILL_BATCH, count - first), *STORED_SHAPE), np.float32)]

    with bench.stage("fill the feature store, 8 views", count):
        open_filled(settings, entries, compute)
    with bench.stage("open the filled store, 8 views", count):
        open_filled(settings, entries, compute)


def features(bench: Bench) -> None:
    """An epoch on features of which one of 8 views is drawn."""
    from mmdc_tf.inputs.features import StoredFeatures

    dataset = _saved(bench)
    count = len(dataset.table)
    path = bench.folder.parent / "features.bin"
    with path.open("wb") as file:
        file.truncate(VIEWS * count * int(np.prod(DENSENET_SHAPE)) * 2)  # sparse: it takes no room on the disk
    views = np.memmap(path, np.float16, "r", shape=(VIEWS, count, *DENSENET_SHAPE))
    rows = {name: row for row, name in enumerate(dataset.table["sample_id"])}
    stored = StoredFeatures([[view] for view in views], rows, mixing=0.2)
    batches = stored.training(dataset.table, _settings(bench, dataset), 0)
    bench.iterate("an epoch on stored features", batches, count)


def evaluation(bench: Bench) -> None:
    """One pass of preprocessing, as scoring does it."""
    from mmdc_tf.inputs.pipeline import evaluation_dataset

    dataset = _saved(bench)
    batches = evaluation_dataset(dataset.table, _settings(bench, dataset))
    bench.iterate("preprocessing, evaluation", batches, len(dataset.table))


def training(bench: Bench) -> None:
    """The first epoch of the usual loop."""
    from mmdc_tf.inputs.pipeline import training_dataset

    dataset = _saved(bench)
    batches = training_dataset(dataset.table, _settings(bench, dataset), None, 0)
    bench.iterate("preprocessing, training's first epoch", batches, len(dataset.table))


def _saved(bench: Bench) -> Dataset:
    return pickle.loads((bench.folder.parent / SAVED).read_bytes())


def _settings(bench: Bench, dataset: Dataset) -> Any:
    from mmdc_tf.inputs.pipeline import InputSettings

    return InputSettings("ultrasound", bench.image_size, BATCH, dataset.info.class_names, ("image",))


GROUPS: dict[str, Callable[[Bench], None]] = {
    "table": table,
    "near-twins": near_twins,
    "store": store,
    "features": features,
    "evaluation": evaluation,
    "training": training,
}

if __name__ == "__main__":
    GROUPS[sys.argv[1]](Bench(json.loads(sys.argv[2]), Path(sys.argv[3])))
