"""Where the time of a run of the package goes: its parts are timed from outside, and do what they always do."""

from __future__ import annotations

import statistics
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import keras
from keras import tree

from mmdc_tf.experiments.learners import NetworkLearner
from mmdc_tf.experiments.workshop import Workshop
from mmdc_tf.training import feature_cache

PARTS = {
    "build": "building networks, loading their weights",
    "trace": "tracing: the first batch of each new graph",
    "fill": "filling the feature cache",
    "open": "opening the feature cache",
    "train": "training steps",
    "validate": "validation after each epoch",
    "score": "scoring the test and validation parts",
    "save": "saving models",
    "rest": "the rest: best weights, TensorBoard, files",
}
TIMED = {
    "build": (Workshop, "network"),
    "fill": (feature_cache, "open_filled"),
    "open": (Workshop, "features"),
    "score": (NetworkLearner, "probabilities"),
    "save": (NetworkLearner, "save"),
}
FROZEN = "frozen_part"
Traced = weakref.WeakKeyDictionary
"""For each network the batch sizes that it has seen."""


@dataclass
class Times:
    """What was timed.

    Args:
        seconds: of each part but the rest, without those of the parts inside it.
        batches: by kind of pass (train, validate, score, fill), seconds from the end of a batch to that of the next.
        passes: by kind, (seconds, batches) of each pass over a dataset; those that traced are left out.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    batches: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    passes: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    def batch(self, kind: str) -> float:
        """Seconds of one more batch in a pass: the median; 0 where there was no such pass."""
        return statistics.median(self.batches[kind]) if self.batches[kind] else 0.0

    def start(self, kind: str) -> float:
        """Seconds of the last pass that are not its batches: what each pass costs once."""
        if not self.passes[kind]:
            return 0.0
        seconds, count = self.passes[kind][-1]
        return max(seconds - count * self.batch(kind), 0.0)


class Clock(keras.callbacks.Callback):
    """Times the batches of ``fit`` with its validations, and of ``predict``."""

    def __init__(self, times: Times, traced: dict[str, Traced], predicting: str) -> None:
        super().__init__()
        self._times, self._traced, self._predicting = times, traced, predicting
        self._kind = ""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begin("train")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batch_end()

    def on_test_begin(self, logs: Any = None) -> None:
        self._end()
        self._begin("validate")

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batch_end()

    def on_test_end(self, logs: Any = None) -> None:
        self._end()

    def on_predict_begin(self, logs: Any = None) -> None:
        self._begin(self._predicting)

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batch_end(len(tree.flatten(logs["outputs"])[0]))

    def on_predict_end(self, logs: Any = None) -> None:
        self._end()

    def _begin(self, kind: str) -> None:
        self._kind, self._count, self._trace = kind, 0, 0.0
        self._began = self._last = time.perf_counter()

    def _batch_end(self, size: int | None = None) -> None:
        """``predict`` traces for the first size of a batch, and for a second one, then for any size."""
        now = time.perf_counter()
        seconds, sizes = now - self._last, self._traced[self._kind].setdefault(self.model, [])
        if len(sizes) < 2 and size not in sizes:
            sizes.append(size)
            self._trace += seconds
            self._times.seconds["trace"] += seconds
        elif self._count and size in (None, sizes[0]):
            self._times.batches[self._kind].append(seconds)
        self._count, self._last = self._count + 1, now

    def _end(self) -> None:
        if not self._kind:
            return
        seconds = time.perf_counter() - self._began
        if self._kind in ("train", "validate"):  # the others belong to what is around them
            self._times.seconds[self._kind] += seconds - self._trace
        if not self._trace:
            self._times.passes[self._kind].append((seconds, self._count))
        self._kind = ""


@contextmanager
def timing() -> Iterator[Times]:
    """Inside it the parts of runs are timed."""
    times = Times()
    traced: dict[str, Traced] = defaultdict(Traced)
    fit, predict = keras.Model.fit, keras.Model.predict

    def timed_fit(model: keras.Model, *arguments: Any, callbacks: Any = (), **options: Any) -> Any:
        return fit(model, *arguments, callbacks=[Clock(times, traced, "score"), *callbacks], **options)

    def timed_predict(model: keras.Model, *arguments: Any, **options: Any) -> Any:
        clock = Clock(times, traced, "fill" if model.name == FROZEN else "score")
        return predict(model, *arguments, callbacks=[clock], **options)

    with ExitStack() as patches:
        for name, changed in {"fit": timed_fit, "predict": timed_predict}.items():
            patches.enter_context(mock.patch.object(keras.Model, name, changed))
        for part, (owner, name) in TIMED.items():
            patches.enter_context(mock.patch.object(owner, name, _timed(times, part, getattr(owner, name))))
        yield times


def _timed(times: Times, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        began, known = time.perf_counter(), sum(times.seconds.values())
        try:
            return work(*arguments, **options)
        finally:
            inside = sum(times.seconds.values()) - known
            times.seconds[part] += time.perf_counter() - began - inside

    return timed
