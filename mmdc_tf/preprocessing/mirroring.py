"""One orientation for an image and its mirror image, so that what is found in both is the same to the bit."""

from __future__ import annotations

import numpy as np

from mmdc_tf.datasets.opencv import cv2


def light_of_halves(grey: np.ndarray) -> tuple[int, int]:
    """The sums of the grey levels of the left and the right half; a middle column counts for neither.

    Args:
        grey: uint8 (H, W).
    """
    return _halves(_light_of_columns(grey))


def needs_turning(grey: np.ndarray) -> bool:
    """Whether the mirrored image is the one to search: of an image and its mirror image always the same one is.

    The one with more light at the left; of equal ones, that of the brighter first column, row or pixel that differs.

    Args:
        grey: uint8 (H, W).
    """
    light = _light_of_columns(grey)
    sides = _halves(light)
    if sides[0] != sides[1]:
        return sides[1] > sides[0]
    for given, mirrored in ((light, light[::-1]), (grey.ravel(), grey[:, ::-1].ravel())):
        differing = np.flatnonzero(given != mirrored)
        if differing.size:
            return bool(mirrored[differing[0]] > given[differing[0]])
    return False


def turned(image: np.ndarray, turn: bool) -> np.ndarray:
    """The image, or its mirror image; memory in order."""
    return cv2.flip(image, 1) if turn else image


def _light_of_columns(grey: np.ndarray) -> np.ndarray:
    return cv2.reduce(grey, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel().astype(np.int64)


def _halves(light: np.ndarray) -> tuple[int, int]:
    half = light.size // 2
    return int(light[:half].sum()), int(light[light.size - half :].sum())
