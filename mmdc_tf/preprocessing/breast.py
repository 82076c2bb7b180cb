"""Finding the breast in a mammogram so that no tissue is thrown away: for the recipe "lesion-safe".

Ours, built on what film scans have in common, by lengths that are shares of the scan and so hold at every resolution:
film without tissue is the darkest large area and of nearly one grey level; strips of the scanner's light are straight,
lie along a whole edge and have no texture; frames are thin; labels do not touch the breast, and the breast is large.
The threshold lies just above the film's own level, not halfway to the tissue as Otsu's does, so that fat and skin stay.

What is found must depend little on rounding, since a scan that is decoded at a quarter of its size is to give the same
box as the whole one: so the copy that is searched is an average of whole blocks in fractions of a grey level, the
threshold too is a fraction, thin lines along the edges of the scan are cut off wherever they end, and the outline is
smooth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.preprocessing.checks import checked_image, require_positive, require_positive_whole
from mmdc_tf.preprocessing.film import FilmLevel, film_level, strip_mask
from mmdc_tf.preprocessing.mirroring import needs_turning, turned
from mmdc_tf.preprocessing.morphology import close_mask, dilate_mask, open_mask, white_where
from mmdc_tf.preprocessing.operations import largest_region_mask

WORKING_SIDE = 130
"""The copy that is searched has a longest side from here to twice as much: a pixel is 1 to 2 mm of a film."""
CONTRAST = 0.05
"""How far above the film the threshold lies, as a share of the way from the film to the median of bright pixels."""
OPENING = 0.04
"""Radius of the disc that separates frames and labels from the breast, as a share of the longest side: the frames of
scans, and the glow beside them, are thinner."""
THIN = 0.01
"""What a disc of this radius, as a share of the longest side, does not fit into is a frame or a glow, no tissue."""
MARGIN = 0.015
"""What ``lesion-safe`` keeps around the breast, as a share of the longest side: about 4 mm of a film."""
LEAST_AREA = 0.01
"""A smaller region, as a share of the scan, is no breast."""
AT_THE_SIDE = 0.05
"""The chest wall lies at the left or right edge, within this share of the width: behind it there may be a strip."""
SMOOTHING = 1.0
"""Standard deviation in pixels of the copy by which grey levels, and the outline, are smoothed."""
SLACK = 1.5
"""By how many pixels of the copy a mask with a margin is wider than its box, at most by the margin again."""
UNSMOOTHED_RISE = 0.75
"""A pixel must reach this share of the threshold's height above the film before it is smoothed too: smoothing carries a
sharp outline outwards."""


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
        working_side: the copy that is searched is the mean of square blocks of 1, 2, 4, 8 … pixels, as large as
            leaves a longest side of at least so many pixels; a smaller image is searched as it is.
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
    block = _block(max(grey.shape), working_side)
    small = block_means(turned(grey, turn), block)
    found = _search(small, contrast, opening * max(small.shape), margin * max(small.shape))
    if found is None:
        return BreastRegion(np.full_like(grey, 255), False)
    mask, box = found
    return BreastRegion(turned(_cut(_enlarged(mask, block, grey.shape), box * block), turn), True)


def _require_margin(margin: float) -> None:
    """Raises ``ConfigurationError`` unless the margin is 0 or more."""
    if not margin >= 0:
        raise ConfigurationError(f"Expected margin of at least 0. Received: margin={margin!r}. Choose a larger value.")


def _search(small: np.ndarray, contrast: float, radius: float, margin: float) -> tuple[np.ndarray, np.ndarray] | None:
    """The mask on the copy, in [0, 255] with a soft outline at 127, and its box; None where no breast is on film."""
    quiet = cv2.medianBlur(small, 5)
    strips = strip_mask(quiet)
    levels = film_level(quiet, strips, contrast)
    if levels is None:
        return None
    rise = _rise(quiet, levels)
    bright = white_where(rise > 1)
    bright[strips] = 0
    core = _breast_core(open_mask(bright, radius, fast=True, black_beyond=True))
    if core is None:
        return None
    breast = _regrown(core, bright, radius)
    foreign = _apart(bright, breast) | strips
    breast = largest_region_mask(close_mask(breast, radius, fast=True))
    return _with_margin(breast, foreign, margin), box_between_pixels(rise, breast, margin)


def _rise(quiet: np.ndarray, levels: FilmLevel) -> np.ndarray:
    """float32: how far each pixel is on the way from the film, 0, to the threshold, 1; what is above 1 is bright."""
    height = levels.threshold - levels.film
    smooth = (cv2.GaussianBlur(quiet, (0, 0), SMOOTHING) - levels.film) / height
    return np.minimum(smooth, (quiet - levels.film) / (UNSMOOTHED_RISE * height))


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
    return white_where(regions == best)


def _regrown(core: np.ndarray, bright: np.ndarray, radius: float) -> np.ndarray:
    """Gives back what the opening took off the breast, such as the nipple: bright, not thin, near and connected."""
    thick = open_mask(bright, THIN * max(bright.shape), fast=True, black_beyond=True)
    candidates = cv2.bitwise_and(cv2.bitwise_or(core, thick), bright)
    return _connected(cv2.bitwise_and(dilate_mask(core, 2 * radius, fast=True), candidates), core)


def _connected(mask: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """The regions of a mask that hold a pixel of the seed."""
    count, regions = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_16U)
    held = white_where(np.bincount(regions[seed > 0], minlength=count) > 0)
    held[0] = 0
    return held.take(np.asarray(regions))


def _apart(bright: np.ndarray, breast: np.ndarray) -> np.ndarray:
    """Bool: bright regions that do not touch the breast, labels above all, with the blur of their rims."""
    labels = cv2.subtract(bright, _connected(bright, breast))
    return cv2.dilate(labels, np.ones((5, 5), np.uint8)) > 0


def _with_margin(breast: np.ndarray, foreign: np.ndarray, margin: float) -> np.ndarray:
    # A little wider than the box, which then alone says where the image is cut.
    grown = dilate_mask(breast, margin + min(SLACK, margin), fast=True)
    grown = cv2.max(cv2.GaussianBlur(grown, (0, 0), SMOOTHING), breast)
    grown[foreign & (breast == 0)] = 0
    return grown


def box_between_pixels(rise: np.ndarray, breast: np.ndarray, margin: float) -> np.ndarray:
    """The box around a breast, its edges in fractions of a pixel: where the grey levels pass the threshold.

    Args:
        rise: float32 (H, W), above 1 on what is bright.
        breast: uint8 (H, W), 255 on the breast, of which no side reaches further than what is bright.
        margin: in pixels, added on each side within the image.

    Returns:
        float (4,): left, top, right, bottom; 0, 0, W, H for a breast at all edges.
    """
    near = np.where(cv2.dilate(breast, np.ones((3, 3), np.uint8)) > 0, rise, np.float32(0))
    height, width = rise.shape
    columns, rows = near.max(axis=0), near.max(axis=1)
    left, top = _first_above(columns), _first_above(rows)
    right, bottom = width - _first_above(columns[::-1]), height - _first_above(rows[::-1])
    return np.clip([left - margin, top - margin, right + margin, bottom + margin], 0, [width, height, width, height])


def _first_above(profile: np.ndarray) -> float:
    """Where a profile first passes 1, from its outer edge on; between two pixels by linear interpolation."""
    first = int((profile > 1).argmax())
    if first == 0:
        return 0.0
    before, after = float(profile[first - 1]), float(profile[first])
    return first + 0.5 - (after - 1) / (after - before)


def _cut(mask: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The mask without what lies outside of a box: left, top, right, bottom in pixels."""
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    cut = np.zeros_like(mask)
    cut[top:bottom, left:right] = mask[top:bottom, left:right]
    return cut


def _block(longest: int, working_side: int) -> int:
    """The largest power of two in whose blocks a side has at least ``working_side`` blocks, the last one counted."""
    block = 1
    while -(-longest // (2 * block)) >= working_side:
        block *= 2
    return block


def block_means(grey: np.ndarray, block: int) -> np.ndarray:
    """The means of square blocks; where the last ones are not full, the border is repeated.

    A JPEG decoder that is asked for a half, a quarter or an eighth of the size gives such means too, rounded.

    Args:
        grey: uint8 (H, W).
        block: side of a block in pixels.

    Returns:
        float32 (⌈H / block⌉, ⌈W / block⌉) in [0, 255].
    """
    bottom, right = (-side % block for side in grey.shape)
    if bottom or right:
        grey = cv2.copyMakeBorder(grey, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    height, width = (side // block for side in grey.shape)
    return cv2.resize(grey.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)


def _enlarged(mask: np.ndarray, block: int, shape: tuple[int, ...]) -> np.ndarray:
    height, width = (side * block for side in mask.shape)
    large = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) if block > 1 else mask
    return white_where(large[: shape[0], : shape[1]] > 127)
