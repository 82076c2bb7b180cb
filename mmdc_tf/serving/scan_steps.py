"""Scans as a model is given them, with a small picture after each step; the last ones stay in memory."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.preprocessing import PreprocessedScan, Recipe, State, Step, preprocess_scan

LONGEST = 480
"""The longest side of a step's picture in pixels."""
KEPT = 32


@dataclass(frozen=True)
class WatchedScan:
    """A scan and how it came about.

    Args:
        scan: what ``preprocess_scan`` gives.
        steps: name and picture, uint8 (h, w) or (h, w, 3) of at most ``LONGEST`` pixels a side: the scan as it was
            read, and what each step of the recipe left, a mask for steps that make one.
    """

    scan: PreprocessedScan
    steps: tuple[tuple[str, np.ndarray], ...]


class ScanReader:
    """Preprocesses scans by one recipe and remembers the last ``KEPT`` of them.

    Args:
        recipe: as in a model's card.
        image_size: height and width that the model takes, in pixels.
    """

    def __init__(self, recipe: Recipe, image_size: int) -> None:
        self._recipe, self._size = recipe, image_size
        self.watched = functools.lru_cache(KEPT)(self._watched)

    def __call__(self, path: str | Path) -> PreprocessedScan:
        """The pixels alone; arguments and errors as for ``preprocess_scan``."""
        return self.watched(Path(path)).scan

    def _watched(self, path: Path) -> WatchedScan:
        pictures: dict[int, tuple[str, np.ndarray]] = {}
        steps = tuple(_watched_step(place, step, pictures) for place, step in enumerate(self._recipe.steps))
        scan = preprocess_scan(path, replace(self._recipe, steps=steps), self._size)
        return WatchedScan(scan, tuple(pictures[place] for place in sorted(pictures)))


def _watched_step(place: int, step: Step, pictures: dict[int, tuple[str, np.ndarray]]) -> Step:
    """The step, which leaves its picture in ``pictures``; a scan that is decoded again replaces the earlier ones."""

    def run(state: State, **parameters: Any) -> State:
        if place == 0:
            pictures[-1] = ("scan", _small(state.image))
        after = step.run(state, **parameters)
        pictures[place] = (step.name.replace("-", " "), _small(step.picture(after)))
        return after

    return replace(step, run=run)


def _small(image: np.ndarray) -> np.ndarray:
    share = LONGEST / max(image.shape[:2])
    if share >= 1:
        return image
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
