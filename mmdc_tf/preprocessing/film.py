"""What is film and what is the scanner's light in a scan of a mammogram."""

from __future__ import annotations

import numpy as np

from mmdc_tf.opencv import cv2

LEAST_RISE = 6
"""The least height of the threshold above the film in grey levels: film varies by a few levels across a scan."""
LEAST_FILM = 0.10
"""A grey level is that of the film if so large a share of the scan lies within ``FILM_SPREAD`` of it."""
FILM_SPREAD = 3
"""Half width in grey levels of the peak that film makes in a scan's histogram."""
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


def film_threshold(grey: np.ndarray, ignored: np.ndarray, contrast: float) -> float | None:
    """A grey level just above that of the film.

    Args:
        grey: uint8 (H, W), smoothed.
        ignored: bool (H, W): pixels that do not count.
        contrast: share of the way from the film to the median of the pixels above Otsu's threshold.

    Returns:
        The level, above which there is tissue, label or frame; None where no film is in view.
    """
    values = np.ascontiguousarray(grey[~ignored])
    if not values.size or values.min() == values.max():
        return None
    otsu, _ = cv2.threshold(values.reshape(1, -1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    film = _film_level(np.bincount(values, minlength=256), int(otsu))
    if film > BRIGHTEST_FILM:
        return None
    return film + max(LEAST_RISE, contrast * (float(np.median(values[values > otsu])) - film))


def _film_level(histogram: np.ndarray, darkest_tissue: int) -> int:
    """The peak of the dark class. Pure black is what was painted over, unless no other level is as common as film."""
    dark = np.where(np.arange(256) <= darkest_tissue, histogram, 0)
    window = np.ones(2 * FILM_SPREAD + 1)
    unpainted = np.convolve(np.where(np.arange(256) == 0, 0, dark), window, "same")
    peaks = unpainted if unpainted.max() >= LEAST_FILM * histogram.sum() else np.convolve(dark, window, "same")
    centre = int(peaks.argmax())
    first = max(0 if peaks is not unpainted else 1, centre - FILM_SPREAD)
    return first + int(dark[first : centre + FILM_SPREAD + 1].argmax())


def strip_mask(grey: np.ndarray) -> np.ndarray:
    """Marks strips of the scanner's light along the edges: nearly white from one end to the other, without texture.

    Args:
        grey: uint8 (H, W), smoothed.

    Returns:
        bool (H, W), True on strips and the line of blur beside them.
    """
    mask = np.zeros(grey.shape, bool)
    for lines, marked in ((grey, mask), (grey[::-1], mask[::-1]), (grey.T, mask.T), (grey.T[::-1], mask.T[::-1])):
        marked[: _strip_depth(lines)] = True
    return mask


def _strip_depth(lines: np.ndarray) -> int:
    """How many lines from the first edge on belong to a strip; 0 where there is none."""
    low, high = np.percentile(lines, (10, 90), axis=1)
    is_strip = (low >= STRIP_LEVEL) & (high - low <= STRIP_RANGE)
    start = int(is_strip.argmax())
    if not is_strip[start] or start > STRIP_START * len(lines):
        return 0
    depth = start + int(np.append(~is_strip[start:], True).argmax())
    return min(depth + 1, len(lines)) if depth <= DEEPEST_STRIP * len(lines) else 0
