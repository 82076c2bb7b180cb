"""How alike two images are once one is laid over the other: the second measure of near-twins, after their hash."""

from __future__ import annotations

import numpy as np
from skimage.metrics import structural_similarity

from mmdc_tf.datasets.opencv import cv2

MOST_SIDE = 1024
"""The longest side, in pixels, at which images are compared; larger ones are averaged down to it."""

LEAST_OVERLAP = 0.5
"""An alignment that leaves less of the image in common than this share is not used."""

_COARSE_SIDE = 256
_WINDOW = 7  # of structural_similarity by default
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-4)
_SMOOTHING = 5  # width of the Gaussian window that findTransformECC smooths with


def aligned_similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of two images where they overlap after an affine alignment.

    Both are brought to one size (the smaller height and the smaller width, at most ``MOST_SIDE``); ``other`` is moved
    onto ``one`` by the affine transform of the largest correlation, first at 256 pixels, then at full size (G.
    Evangelidis and E. Psarakis, "Parametric image alignment using enhanced correlation coefficient maximization",
    IEEE TPAMI 30 (2008) 1858-1865). The similarity (Z. Wang et al., "Image quality assessment: from error visibility to
    structural similarity", IEEE TIP 13 (2004) 600-612; windows of 7 pixels) is averaged over the overlap. Where that
    is below half of the image, or no alignment is found or helps, the images are compared as they lie.

    Args:
        one, other: uint8 grey, (H, W) and (h, w).

    Returns:
        At most 1 for images that are equal. On BUSI's 256 x 256 pixels unrelated images have 0.2.
    """
    one, other = _same_size(one, other)
    as_they_lie = float(structural_similarity(one, other, data_range=255))
    aligned = _aligned(one, other)
    return as_they_lie if aligned is None else max(as_they_lie, aligned)


def _same_size(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = np.maximum(np.minimum(one.shape, other.shape), _WINDOW)
    share = min(1.0, MOST_SIDE / max(height, width))
    size = max(_WINDOW, round(width * share)), max(_WINDOW, round(height * share))
    resized = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (one, other)]
    return resized[0], resized[1]


def _at_most(grey: np.ndarray, longest: int) -> np.ndarray:
    share = min(1.0, longest / max(grey.shape))
    height, width = (max(1, round(side * share)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def _aligned(one: np.ndarray, other: np.ndarray) -> float | None:
    warp = _affine(one, other)
    if warp is None:
        return None
    size = one.shape[::-1]
    moved = cv2.warpAffine(other, warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    overlap = cv2.warpAffine(np.ones_like(other), warp, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    # Only windows that lie in both images count.
    window = np.ones((_WINDOW, _WINDOW), np.uint8)
    inside = cv2.erode(overlap, window, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    if inside.mean() < LEAST_OVERLAP:
        return None
    return float(structural_similarity(one, moved, data_range=255, full=True)[1][inside].mean())


def _affine(one: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """float32 (2, 3), from the pixels of ``one`` to those of ``other``; None where the search does not converge."""
    warp = np.eye(2, 3, dtype=np.float32)
    for side in (_COARSE_SIDE, MOST_SIDE):
        scale = np.array([1, 1, min(1.0, side / max(one.shape))], np.float32)
        small, small_other = _at_most(one, side), _at_most(other, side)
        no_mask = np.full(small_other.shape, 255, np.uint8)
        try:
            _, found = cv2.findTransformECC(
                small, small_other, warp * scale, cv2.MOTION_AFFINE, _STEPS, no_mask, _SMOOTHING
            )
        except cv2.error:  # flat, or nothing in common
            return None
        warp = np.asarray(found, np.float32) / scale
        if max(one.shape) <= side:
            break
    return warp if np.isfinite(warp).all() else None
