"""Growing and shrinking masks by discs whose radius need not be whole: pure, uint8 in, uint8 out."""

from __future__ import annotations

import numpy as np

from mmdc_tf.opencv import cv2
from mmdc_tf.preprocessing.checks import checked_image


def dilate_mask(mask: np.ndarray, radius: float) -> np.ndarray:
    """Grows the white part by a disc: all pixels within ``radius`` of a white one.

    By the exact Euclidean distance (P. Felzenszwalb and D. Huttenlocher, "Distance transforms of sampled functions",
    Theory of Computing 8:415-428, 2012, as in ``cv2.distanceTransform``), whose time does not depend on the radius:
    ``cv2.dilate`` by an ellipse of 157 takes a second a scan. OpenCV's ellipse of 2·radius + 1 is this disc, with at
    most one pixel more on its rim.

    Args:
        mask: uint8 (H, W); any value but 0 is white.
        radius: in pixels, at least 0; not necessarily whole.

    Returns:
        uint8 (H, W) of 0 and 255. A mask without white stays empty.

    Raises:
        InputError: another dtype or shape.
    """
    black = np.where(checked_image(mask, "mask") == 0, np.uint8(255), np.uint8(0))
    distances = cv2.distanceTransform(black, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # A little more than the radius, so that rounding does not drop pixels at exactly that distance.
    return np.where(distances <= radius + 1e-3, np.uint8(255), np.uint8(0))


def erode_mask(mask: np.ndarray, radius: float) -> np.ndarray:
    """Shrinks the white part by a disc, the black one being grown; nothing grows in from beyond the image.

    Args:
        mask, radius: as for ``dilate_mask``.

    Returns:
        uint8 (H, W) of 0 and 255.

    Raises:
        InputError: another dtype or shape.
    """
    return cv2.bitwise_not(dilate_mask(np.where(checked_image(mask, "mask") == 0, np.uint8(255), np.uint8(0)), radius))


def close_mask(mask: np.ndarray, radius: float) -> np.ndarray:
    """Fills gaps and notches that a disc does not fit into; arguments, result and errors as for ``erode_mask``."""
    return erode_mask(dilate_mask(mask, radius), radius)


def open_mask(mask: np.ndarray, radius: float) -> np.ndarray:
    """Removes what a disc does not fit into; arguments, result and errors as for ``erode_mask``."""
    return dilate_mask(erode_mask(mask, radius), radius)
