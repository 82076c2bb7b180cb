"""A store of made-up features, filled by the test or by a process of its own, which runs this file."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmdc_tf.training.feature_store import FILL_BATCH, CacheSettings, Entry, open_filled

COUNT, SHAPES = 20, ((2, 3), (4,))
VIEW_BYTES = COUNT * (6 + 4) * 2
ALL = [(0, 0), (1, 0)]  # what fills both views: (view, first image)
Call = tuple[int, int]


def entries(folder: Path, **changes: object) -> list[Entry]:
    """Of twenty images in two views, float16."""
    facts = {
        "dataset": "busi",
        "fingerprint": "0a1b",
        "recipe": "ultrasound",
        "image_size": 224,
        "backbone": "densenet121",
        "cut": "pool4_pool",
    }
    views = ({"mirror": False}, {"mirror": True})
    return [Entry(folder, facts | changes | {"view": view}, COUNT, SHAPES, "float16") for view in views]


def features(view: int, start: int, stop: int) -> list[np.ndarray]:
    """Numbers that say image and view, the second output negative; small whole ones, which float16 holds."""
    shown = np.arange(start, stop, dtype="float32") + 32 * view
    return [np.repeat(shown, 6).reshape(-1, 2, 3), np.repeat(-shown, 4).reshape(-1, 4)]


def assert_right(arrays: Sequence[Sequence[np.ndarray]]) -> None:
    for view, outputs in enumerate(arrays):
        for output, expected in zip(outputs, features(view, 0, COUNT), strict=True):
            np.testing.assert_array_equal(output, expected)


class Computer:
    """Gives ``features`` and keeps the calls; the ways: what a process of its own does meanwhile."""

    def __init__(self, log: Path | None = None, ways: Sequence[str] = ()) -> None:
        self.calls: list[Call] = []
        self._log, self._ways = log, dict(way.split("=") for way in ways)

    def __call__(self, view: int, start: int) -> Iterator[list[np.ndarray]]:
        self.calls.append((view, start))
        if self._log:
            with self._log.open("a") as file:
                file.write(f"{(view, start)}\n")
        if "wait_for" in self._ways:
            wait_for(Path(self._ways["wait_for"]))
        for first in range(start, COUNT, FILL_BATCH):
            if self._ways.get("die_at") == str((view, first)):
                time.sleep(0.1)
                os.kill(os.getpid(), signal.SIGKILL)
            yield features(view, first, min(first + FILL_BATCH, COUNT))


def filled(folder: Path, limit: int | None = None, **changes: object) -> list[list[np.ndarray]]:
    """The arrays of both views, filled by this process."""
    return open_filled(CacheSettings(folder, limit), entries(folder, **changes), Computer())


def logged(log: Path) -> list[Call]:
    return [ast.literal_eval(line) for line in log.read_text().splitlines()]


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(path)
        time.sleep(0.01)


def filling(folder: Path, log: Path, *ways: str) -> subprocess.Popen:
    """A process that fills the store: ``die_at=(VIEW, IMAGE)``, or ``wait_for=PATH`` to appear in each view."""
    return subprocess.Popen([sys.executable, __file__, str(folder), str(log), *ways])


if __name__ == "__main__":
    place = Path(sys.argv[1])
    open_filled(CacheSettings(place), entries(place), Computer(Path(sys.argv[2]), sys.argv[3:]))
