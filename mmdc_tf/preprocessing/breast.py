"""Finding the breast in a mammogram so that no tissue is thrown away: for the recipe "lesion-safe".

Ours, built on what film scans have in common, by lengths that are shares of the scan and so hold at every resolution:
film without tissue is the darkest large area and of nearly one grey level; strips of the scanner's light are straight,
lie along a whole edge and have no texture; frames are thin; labels do not touch the breast, and the breast is large.
The threshold lies just above the film's own level, not halfway to the tissue as Otsu's does, so that fat and skin stay.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.opencv import cv2
from mmdc_tf.preprocessing.checks import checked_image, require_positive, require_positive_whole
from mmdc_tf.preprocessing.film import film_threshold, strip_mask
from mmdc_tf.preprocessing.mirroring import needs_turning, turned
from mmdc_tf.preprocessing.morphology import close_mask, dilate_mask, open_mask
from mmdc_tf.preprocessing.operations import largest_region_mask, shrink

WORKING_SIDE = 256
"""Longest side in pixels of the copy that is searched: a pixel is then about a millimetre of a film."""
CONTRAST = 0.05
"""How far above the film the threshold lies, as a share of the way from the film to the median of bright pixels."""
OPENING = 0.04
"""Radius of the disc that separates frames and labels from the breast, as a share of the longest side: the frames of
scans, and the glow beside them, are thinner."""
MARGIN = 0.015
"""What ``lesion-safe`` keeps around the breast, as a share of the longest side: about 4 mm of a film."""
LEAST_AREA = 0.01
"""A smaller region, as a share of the scan, is no breast."""
AT_THE_SIDE = 0.05
"""The chest wall lies at the left or right edge, within this share of the width: behind it there may be a strip."""


class BreastRegion(NamedTuple):
    """Where the breast is.

    Args:
        mask: uint8 (H, W), 255 on the region to keep, 0 elsewhere; 255 everywhere where no breast was found.
        found: False where nothing looked like a breast on film, so that the whole image is kept.
    """

    mask: np.ndarray
    found: bool


def breast_mask(grey: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """The mask of ``find_breast``: uint8 (H, W) of 0 and 255, never all 0. Arguments and errors as there."""
    return find_breast(grey, margin=margin).mask


def find_breast(
    grey: np.ndarray,
    working_side: int = WORKING_SIDE,
    contrast: float = CONTRAST,
    opening: float = OPENING,
    margin: float = 0.0,
) -> BreastRegion:
    """Finds the breast on film: all that is brighter than the film, less strips, frames and labels, holes filled.

    The mask of a mirrored image is the mirrored mask, to the bit.

    Args:
        grey: uint8 (H, W).
        working_side: longest side of the reduced copy that is searched, in pixels; a smaller image is searched as
            it is.
        contrast: the threshold's height above the film, above 0: see ``CONTRAST``.
        opening: radius of the disc that the breast must hold, as a share of the longest side, above 0.
        margin: how far the mask is grown, as a share of the longest side, 0 or more; not onto strips and labels.

    Returns:
        The mask and whether a breast was found. In an image of one value, without dark film or without a region
        large enough nothing is found, and all of it is kept.

    Raises:
        InputError: another dtype or shape.
        ConfigurationError: a number out of range.
    """
    grey = checked_image(grey, "grey")
    require_positive_whole(working_side, "working_side")
    require_positive(contrast, "contrast")
    require_positive(opening, "opening")
    _require_margin(margin)
    turn = needs_turning(grey)
    small = _reduced(turned(np.ascontiguousarray(grey), turn), working_side)
    longest = max(small.shape)
    mask = _search(small, contrast, opening * longest, margin * longest)
    if mask is None:
        return BreastRegion(np.full_like(grey, 255), False)
    return BreastRegion(turned(_enlarged(mask, grey.shape), turn), True)


def _require_margin(margin: float) -> None:
    """Raises ``ConfigurationError`` unless the margin is 0 or more."""
    if not margin >= 0:
        raise ConfigurationError(f"Expected margin of at least 0. Received: margin={margin!r}. Choose a larger value.")


def _search(small: np.ndarray, contrast: float, radius: float, margin: float) -> np.ndarray | None:
    """The mask on the reduced copy, or None where there is no breast on film."""
    smooth = cv2.medianBlur(small, 5)
    strips = strip_mask(smooth)
    threshold = film_threshold(smooth, strips, contrast)
    if threshold is None:
        return None
    bright = np.where((smooth > threshold) & ~strips, np.uint8(255), np.uint8(0))
    core = _breast_core(open_mask(bright, radius))
    if core is None:
        return None
    breast = _regrown(core, bright, radius)
    foreign = _apart(bright, breast) | strips
    breast = largest_region_mask(close_mask(breast, radius))
    return _with_margin(breast, foreign, margin)


def _breast_core(opened: np.ndarray) -> np.ndarray | None:
    """The largest region that reaches the left or right side, or the largest of all where none does."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    height, width = opened.shape
    large = [index for index in range(1, len(stats)) if stats[index, cv2.CC_STAT_AREA] >= LEAST_AREA * height * width]
    left, right = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_LEFT] + stats[:, cv2.CC_STAT_WIDTH]
    at_side = (left <= AT_THE_SIDE * width) | (right >= (1 - AT_THE_SIDE) * width)
    if not large:
        return None
    best = max(large, key=lambda index: (bool(at_side[index]), int(stats[index, cv2.CC_STAT_AREA])))
    return np.where(regions == best, np.uint8(255), np.uint8(0))


def _regrown(core: np.ndarray, bright: np.ndarray, radius: float) -> np.ndarray:
    """Gives back what the opening took off the breast, such as the nipple: bright, near and connected to the core."""
    near = cv2.bitwise_and(dilate_mask(core, 2 * radius), bright)
    return _connected(near, core)


def _connected(mask: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """The regions of a mask that hold a pixel of the seed."""
    count, regions = cv2.connectedComponents(mask, connectivity=8)
    held = np.zeros(count, np.uint8)
    held[np.unique(regions[seed > 0])] = 255
    held[0] = 0
    return held[regions]


def _apart(bright: np.ndarray, breast: np.ndarray) -> np.ndarray:
    """Bool: bright regions that do not touch the breast, labels above all, with the blur of their rims."""
    labels = cv2.subtract(bright, _connected(bright, breast))
    return cv2.dilate(labels, np.ones((5, 5), np.uint8)) > 0


def _with_margin(breast: np.ndarray, foreign: np.ndarray, margin: float) -> np.ndarray:
    grown = dilate_mask(breast, margin)
    grown[foreign & (breast == 0)] = 0
    return grown


def _reduced(grey: np.ndarray, longest: int) -> np.ndarray:
    """Halves the image while it is twice too large, then averages it down to the longest side that is asked.

    Halving is what a JPEG decoder does at a reduced scale, rounding up included: a scan decoded at a half or a quarter
    of its size gives nearly the same copy.
    """
    while max(grey.shape) >= 2 * longest:
        grey = _halved(grey)
    return shrink(grey, longest)


def _halved(grey: np.ndarray) -> np.ndarray:
    height, width = grey.shape
    if height % 2 or width % 2:
        grey = cv2.copyMakeBorder(grey, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return cv2.resize(grey, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)


def _enlarged(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if mask.shape == shape:
        return mask
    large = cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return cv2.threshold(large, 127, 255, cv2.THRESH_BINARY)[1]
