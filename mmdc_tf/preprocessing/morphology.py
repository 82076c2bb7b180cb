"""Growing and shrinking masks by discs whose radius need not be whole: pure, uint8 in, uint8 out."""

from __future__ import annotations

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.preprocessing.checks import checked_image

# Rounding must not drop pixels at exactly the radius.
_TOLERANCE = 1e-3


def dilate_mask(mask: np.ndarray, radius: float, fast: bool = False) -> np.ndarray:
    """Grows the white part by a disc: all pixels within ``radius`` of a white one.

    By the Euclidean distance (P. Felzenszwalb and D. Huttenlocher, "Distance transforms of sampled functions", Theory
    of Computing 8:415-428, 2012, as in ``cv2.distanceTransform``), whose time does not depend on the radius:
    ``cv2.dilate`` by an ellipse of 157 takes a second a scan. OpenCV's ellipse of 2·radius + 1 is this disc, with at
    most one pixel more on its rim.

    Args:
        mask: uint8 (H, W); any value but 0 is white.
        radius: in pixels, at least 0; not necessarily whole.
        fast: four times as fast, with distances that are wrong by up to 2 % (G. Borgefors, "Distance transformations
            in digital images", CVGIP 34:344-371, 1986, with 5 × 5 neighbours).

    Returns:
        uint8 (H, W) of 0 and 255. A mask without white stays empty.

    Raises:
        InputError: another dtype or shape.
    """
    black = white_where(checked_image(mask, "mask") == 0)
    return white_where(_distances(black, fast) <= radius + _TOLERANCE)


def erode_mask(mask: np.ndarray, radius: float, fast: bool = False, black_beyond: bool = False) -> np.ndarray:
    """Shrinks the white part by a disc, the black one being grown.

    Args:
        mask, radius, fast: as for ``dilate_mask``.
        black_beyond: black grows in from beyond the image too.

    Returns:
        uint8 (H, W) of 0 and 255.

    Raises:
        InputError: another dtype or shape.
    """
    white = white_where(checked_image(mask, "mask") > 0)
    if black_beyond:
        white = cv2.copyMakeBorder(white, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    kept = white_where(_distances(white, fast) > radius + _TOLERANCE)
    return np.ascontiguousarray(kept[1:-1, 1:-1]) if black_beyond else kept


def close_mask(mask: np.ndarray, radius: float, fast: bool = False) -> np.ndarray:
    """Fills gaps and notches that a disc does not fit into; arguments, result and errors as for ``erode_mask``."""
    return erode_mask(dilate_mask(mask, radius, fast), radius, fast)


def open_mask(mask: np.ndarray, radius: float, fast: bool = False, black_beyond: bool = False) -> np.ndarray:
    """Removes what a disc does not fit into; arguments, result and errors as for ``erode_mask``."""
    return dilate_mask(erode_mask(mask, radius, fast, black_beyond), radius, fast)


def white_where(condition: np.ndarray) -> np.ndarray:
    """A mask from a bool array of any shape: uint8, 255 where it is True, 0 elsewhere."""
    return condition.view(np.uint8) * np.uint8(255)


def _distances(white: np.ndarray, fast: bool) -> np.ndarray:
    """float32: the distance of each white pixel to the nearest black one, in pixels."""
    return cv2.distanceTransform(white, cv2.DIST_L2, cv2.DIST_MASK_5 if fast else cv2.DIST_MASK_PRECISE)
