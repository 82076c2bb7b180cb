"""A store of made-up features, filled by the test or by a process of its own, which runs this file."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdc_tf.training.feature_entry import FeatureEntry
from mmdc_tf.training.feature_store import CacheSettings, fill, open_entries

COUNT, PART, SHAPES = 10, 4, ((2, 3), (4,))
VIEWS = (False, True)
ALL = [(0, 4, (0, 1)), (4, 8, (0, 1)), (8, 10, (0, 1))]  # the calls that fill both views
VIEW_BYTES = COUNT * (6 + 4) * 2
Call = tuple[int, int, tuple[int, ...]]


def facts(mirror: bool, **changes: object) -> dict:
    """What the features of one view depend on."""
    made = {
        "dataset": "busi",
        "fingerprint": "0a1b",
        "recipe": "ultrasound",
        "image_size": 224,
        "backbone": "densenet121",
        "cut": "pool4_pool",
        "view": {"mirror": mirror},
    }
    return made | changes


def open_views(folder: Path, limit: int | None = None, dtype: str = "float16", **changes: object) -> list[FeatureEntry]:
    """Both views of ten images, in parts of four."""
    described = [facts(mirror, **changes) for mirror in VIEWS]
    return open_entries(CacheSettings(folder, limit), described, COUNT, SHAPES, dtype, PART)


def features(start: int, stop: int, which: Sequence[int]) -> list[list[np.ndarray]]:
    """Numbers that say image and view, the second output negative; small whole ones, which every dtype holds."""
    images = np.arange(start, stop, dtype="float32")
    shown = [images + 32 * view for view in which]
    return [[np.repeat(values, 6).reshape(-1, 2, 3), np.repeat(-values, 4).reshape(-1, 4)] for values in shown]


def assert_right(entries: Sequence[FeatureEntry]) -> None:
    for view, entry in enumerate(entries):
        for array, expected in zip(entry.arrays(), features(0, COUNT, [view])[0], strict=True):
            np.testing.assert_array_equal(array.astype("float32"), expected)


class Computer:
    """Gives ``features`` and keeps the calls; the ways: what a process of its own does meanwhile."""

    def __init__(self, log: Path | None = None, ways: Sequence[str] = ()) -> None:
        self.calls: list[Call] = []
        self._log, self._ways = log, dict(way.split("=") for way in ways)

    def __call__(self, start: int, stop: int, which: tuple[int, ...]) -> list[list[np.ndarray]]:
        self.calls.append((start, stop, which))
        if self._log:
            with self._log.open("a") as file:
                file.write(f"{(start, stop, which)}\n")
        if self._ways.get("die_in") == str(len(self.calls)):
            os.kill(os.getpid(), signal.SIGKILL)
        if "wait_for" in self._ways:
            wait_for(Path(self._ways["wait_for"]))
        return features(start, stop, which)


def filled(folder: Path, **options: Any) -> list[FeatureEntry]:
    """Both views, filled by this process."""
    entries = open_views(folder, **options)
    fill(entries, Computer())
    return entries


def logged(log: Path) -> list[Call]:
    return [ast.literal_eval(line) for line in log.read_text().splitlines()]


def wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(path)
        time.sleep(0.01)


def filling(folder: Path, log: Path, *ways: str) -> subprocess.Popen:
    """A process that fills the store: ``die_in=N`` in the Nth computation, ``wait_for=PATH`` to appear in each."""
    return subprocess.Popen([sys.executable, __file__, str(folder), str(log), *ways])


def fill_elsewhere(folder: Path) -> None:
    """As an earlier run would have, so that this process has seen none of the bytes."""
    assert filling(folder, folder.parent / "elsewhere.log").wait(timeout=60) == 0


if __name__ == "__main__":
    fill(open_views(Path(sys.argv[1])), Computer(Path(sys.argv[2]), sys.argv[3:]))
