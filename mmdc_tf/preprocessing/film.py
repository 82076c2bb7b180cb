"""What is film and what is the scanner's light in a scan of a mammogram."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from skimage.filters import threshold_otsu

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.preprocessing.morphology import white_where

LEAST_RISE = 6
"""The least height of the threshold above the film in grey levels: film varies by a few levels across a scan."""
LEAST_FILM = 0.10
"""A grey level is that of the film if so large a share of the scan lies within ``FILM_SPREAD`` of it."""
FILM_SPREAD = 3
"""Half width in grey levels of the peak that film makes in a scan's histogram."""
PEAK_ROUNDS = 4
"""How often the middle of the film's peak is looked for again around the last one."""
BINS = 4
"""Into how many parts a grey level is divided."""
BRIGHTEST_FILM = 90
"""Where the darkest large area is brighter there is no film in view, as in a cut-out of the breast."""
STRIP_LEVEL = 190
"""A strip of the scanner's light is at least so bright: it passes through no film."""
STRIP_RANGE = 30
"""Tissue varies by more grey levels than this from one edge of the scan to the other."""
DEEPEST_STRIP = 0.40
"""A strip takes less than this share of a side."""
STRIP_START = 0.03
"""A strip begins within this share of a side from the edge: a black frame may lie before it."""


class FilmLevel(NamedTuple):
    """Grey levels of a scan.

    Args:
        film: of the film without tissue.
        threshold: just above it; what is brighter is tissue, label or frame.
    """

    film: float
    threshold: float


def film_level(grey: np.ndarray, ignored: np.ndarray, contrast: float) -> FilmLevel | None:
    """The level of the film and a threshold just above it, as fractions of a grey level.

    The film's level is the mean of its peak, not the peak's highest point, so that rounding of the pixels hardly
    moves it.

    Args:
        grey: float32 (H, W) in [0, 255], smoothed.
        ignored: bool (H, W): pixels that do not count.
        contrast: share of the way from the film to the median of the pixels above Otsu's threshold.

    Returns:
        Both levels; None where no film is in view.
    """
    counted = white_where(~ignored)
    fine = cv2.calcHist([grey], [0], counted, [256 * BINS], [-0.5 / BINS, 256 - 0.5 / BINS]).ravel()
    if np.count_nonzero(fine) < 2:
        return None
    levels = np.arange(fine.size) / BINS
    otsu = float(threshold_otsu(hist=(fine, levels)))
    film = _peak(fine, levels, otsu)
    if film > BRIGHTEST_FILM:
        return None
    rise = contrast * (_median(fine, levels, above=otsu) - film)
    return FilmLevel(film, film + max(LEAST_RISE, rise))


def _peak(counts: np.ndarray, levels: np.ndarray, otsu: float) -> float:
    """The middle of the dark class's peak.

    Pure black is what was painted over, unless no other level is as common as film.
    """
    dark = np.where(levels <= otsu, counts, 0)
    unpainted = np.where(levels < 0.5, 0, dark)
    common = _in_window(unpainted)
    if common.max() < LEAST_FILM * counts.sum():
        unpainted, common = dark, _in_window(dark)
    centre = float(levels[common.argmax()])
    for _ in range(PEAK_ROUNDS):
        near = np.abs(levels - centre) <= FILM_SPREAD
        weight = float(unpainted[near].sum())
        centre = float(unpainted[near] @ levels[near]) / weight if weight else centre
    return centre


def _in_window(counts: np.ndarray) -> np.ndarray:
    """How many pixels lie within ``FILM_SPREAD`` of each level."""
    window = (2 * FILM_SPREAD * BINS + 1, 1)
    return cv2.boxFilter(counts.reshape(1, -1), -1, window, normalize=False, borderType=cv2.BORDER_CONSTANT).ravel()


def _median(counts: np.ndarray, levels: np.ndarray, above: float) -> float:
    """The median of the pixels that are brighter than ``above``."""
    bright = np.cumsum(np.where(levels > above, counts, 0))
    return float(levels[np.searchsorted(bright, bright[-1] / 2)])


def strip_mask(grey: np.ndarray) -> np.ndarray:
    """Marks strips of the scanner's light along the edges: nearly white from one end to the other, without texture.

    Args:
        grey: uint8 or float32 (H, W) in [0, 255], smoothed.

    Returns:
        bool (H, W), True on strips and the line of blur beside them.
    """
    mask = np.zeros(grey.shape, bool)
    for lines, marked in ((grey, mask), (grey[::-1], mask[::-1]), (grey.T, mask.T), (grey.T[::-1], mask.T[::-1])):
        marked[: _strip_depth(lines)] = True
    return mask


def _strip_depth(lines: np.ndarray) -> int:
    """How many lines from the first edge on belong to a strip; 0 where there is none."""
    edge = int(STRIP_START * len(lines)) + 1
    # Most scans have none, and percentiles take long. A line of which nine tenths are white has at least this mean.
    if lines[:edge].mean(axis=1).max() < 0.9 * STRIP_LEVEL:
        return 0
    is_strip = _are_strip(lines)
    start = int(is_strip.argmax())
    if not is_strip[start] or start > STRIP_START * len(lines):
        return 0
    depth = start + int(np.append(~is_strip[start:], True).argmax())
    return min(depth + 1, len(lines)) if depth <= DEEPEST_STRIP * len(lines) else 0


def _are_strip(lines: np.ndarray) -> np.ndarray:
    low, high = np.percentile(lines, (10, 90), axis=1)
    return (low >= STRIP_LEVEL) & (high - low <= STRIP_RANGE)
