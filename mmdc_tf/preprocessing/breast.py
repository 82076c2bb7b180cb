"""Finding the breast in a mammogram so that no tissue is thrown away: for the recipe "lesion-safe".

Ours, by lengths that are shares of the scan and so hold at every resolution: film without tissue is the darkest large
area and of nearly one grey level; strips of the scanner's light are straight, lie along a whole edge and have no
texture; frames are thin; labels do not touch the breast, and the breast is large. A scan that is decoded at a quarter
of its size is to give the same box: what is searched are fractions of a grey level, and the outline is smooth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from skimage.filters import threshold_otsu

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.preprocessing import operations
from mmdc_tf.preprocessing.operations import white_where

# Shares are of the scan's longest side, unless they say otherwise; pixels are those of the copy that is searched.
WORKING_SIDE = 130  # the copy's longest side is from here to twice as much: a pixel is 1 to 2 mm of a film
CONTRAST = 0.05  # the threshold's height above the film, as a share of the way to the median of bright pixels
OPENING = 0.04  # radius of the disc that separates frames and labels from the breast: frames and glow are thinner
THIN = 0.01  # what a disc of this radius does not fit into is a frame or a glow, no tissue
MARGIN = 0.015  # what "lesion-safe" keeps around the breast: about 4 mm of a film
LEAST_AREA = 0.01  # a smaller region, as a share of the scan's area, is no breast
AT_THE_SIDE = 0.05  # share of the width: the chest wall lies at the left or right edge, perhaps behind a strip
SMOOTHING = 1.0  # standard deviation in pixels by which grey levels, and the outline, are smoothed
SLACK = 1.5  # by how many pixels a mask with a margin is wider than its box, at most by the margin again
UNSMOOTHED_RISE = 0.75  # share of the threshold a pixel must reach unsmoothed: smoothing carries an outline outwards
LEAST_RISE = 6  # least height of the threshold above the film in grey levels, by which film varies across a scan
LEAST_FILM = 0.10  # share of the scan that lies within FILM_SPREAD of the film's grey level
FILM_SPREAD = 3  # half width in grey levels of the peak that film makes in a scan's histogram
PEAK_ROUNDS = 4  # how often the middle of that peak is looked for again around the last one
BINS = 4  # parts of a grey level
BRIGHTEST_FILM = 90  # where the darkest large area is brighter there is no film in view, as in a cut-out
STRIP_LEVEL = 190  # a strip of the scanner's light is at least so bright: it passes through no film
STRIP_RANGE = 30  # tissue varies by more grey levels than this from one edge of the scan to the other
DEEPEST_STRIP = 0.40  # a strip takes less than this share of a side
STRIP_START = 0.03  # and begins within this share from the edge: a black frame may lie before it


class BreastRegion(NamedTuple):
    """uint8 (H, W), 255 on the region to keep, else 0; and whether a breast was found: if not, all is kept."""

    mask: np.ndarray
    found: bool


def find_breast(
    grey: np.ndarray,
    working_side: int = WORKING_SIDE,
    contrast: float = CONTRAST,
    opening: float = OPENING,
    margin: float = 0.0,
) -> BreastRegion:
    """Finds the breast on film: all that is brighter than the film, less strips, frames and labels, holes filled.

    The mask of a mirrored image is the mirrored mask, to the bit. In an image of one value, without dark film or
    without a region large enough nothing is found, and all of it is kept.

    Args:
        grey: uint8 (H, W).
        working_side: the copy that is searched is of means of square blocks of 1, 2, 4 … pixels, as large as leaves a
            longest side of at least so many pixels.
        contrast, opening: above 0, see ``CONTRAST`` and ``OPENING``.
        margin: how far the mask is grown, as a share of the longest side, 0 or more; not onto strips and labels.

    Raises:
        InputError: another dtype or shape.
        ConfigurationError: ``working_side`` is not a whole number of at least 1.
    """
    grey = operations.checked_image(grey, "grey")
    operations.require_positive_whole(working_side, "working_side")
    turn, block = _is_mirrored(grey), 1
    while -(-max(grey.shape) // (2 * block)) >= working_side:
        block *= 2
    small = block_means(cv2.flip(grey, 1) if turn else grey, block)
    found = _search(small, contrast, opening * max(small.shape), margin * max(small.shape))
    if found is None:
        return BreastRegion(np.full_like(grey, 255), False)
    mask = _full_size(found[0], block, grey.shape, found[1])
    return BreastRegion(cv2.flip(mask, 1) if turn else mask, True)


def _is_mirrored(grey: np.ndarray) -> bool:
    """The mirrored image is searched where its left has more light, or its first column or pixel that differs."""
    light = operations.column_light(grey)
    left, right = operations.light_of_halves(light)
    if left != right:
        return right > left
    given, mirrored = np.append(light, grey), np.append(light[::-1], grey[:, ::-1])
    differing = np.flatnonzero(given != mirrored)
    return differing.size > 0 and bool(mirrored[differing[0]] > given[differing[0]])


def block_means(grey: np.ndarray, block: int) -> np.ndarray:
    """float32 means of square blocks, as a JPEG decoder at reduced size gives; at the end the border repeats."""
    bottom, right = (-side % block for side in grey.shape)
    if bottom or right:
        grey = cv2.copyMakeBorder(grey, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    height, width = (side // block for side in grey.shape)
    return cv2.resize(grey.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)


def _search(small: np.ndarray, contrast: float, radius: float, margin: float) -> tuple[np.ndarray, np.ndarray] | None:
    """The mask on the copy, in [0, 255] with a soft outline at 127, and its box; None where no breast is on film."""
    quiet = cv2.medianBlur(small, 5)
    strips = strip_mask(quiet)
    levels = film_level(quiet, strips, contrast)
    if levels is None:
        return None
    rise = _rise(quiet, *levels)
    bright = white_where(rise > 1)
    bright[strips] = 0
    core = _breast_core(operations.open_mask(bright, radius, fast=True, black_beyond=True))
    if core is None:
        return None
    breast = _regrown(core, bright, radius)
    labels = cv2.subtract(bright, _connected(bright, breast))  # bright regions that do not touch the breast
    foreign = (cv2.dilate(labels, np.ones((5, 5), np.uint8)) > 0) | strips  # with the blur of their rims
    breast = operations.largest_region_mask(operations.close_mask(breast, radius, fast=True))
    return _with_margin(breast, foreign, margin), box_between_pixels(rise, breast, margin)


def film_level(grey: np.ndarray, ignored: np.ndarray, contrast: float) -> tuple[float, float] | None:
    """The film's level, the mean of its peak, and a threshold just above it, by ``contrast``; None without film.

    Args:
        grey: float32 (H, W) in [0, 255], smoothed.
        ignored: bool (H, W): pixels that do not count.
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
    bright = np.cumsum(np.where(levels > otsu, fine, 0))
    median = float(levels[np.searchsorted(bright, bright[-1] / 2)])
    return film, film + max(LEAST_RISE, contrast * (median - film))


def _peak(counts: np.ndarray, levels: np.ndarray, otsu: float) -> float:
    """The middle of the dark class's peak; pure black is what was painted over, unless no other level is common."""
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
    return cv2.boxFilter(counts[None], -1, window, normalize=False, borderType=cv2.BORDER_CONSTANT).ravel()


def strip_mask(grey: np.ndarray) -> np.ndarray:
    """bool (H, W): strips of the scanner's light along the edges, white without texture, and the blur beside them."""
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
    low, high = np.percentile(lines, (10, 90), axis=1)
    is_strip = (low >= STRIP_LEVEL) & (high - low <= STRIP_RANGE)
    start = int(is_strip.argmax())
    if not is_strip[start] or start > STRIP_START * len(lines):
        return 0
    depth = start + int(np.append(~is_strip[start:], True).argmax())
    return min(depth + 1, len(lines)) if depth <= DEEPEST_STRIP * len(lines) else 0


def _rise(quiet: np.ndarray, film: float, threshold: float) -> np.ndarray:
    """float32: how far each pixel is on the way from the film, 0, to the threshold, 1; what is above 1 is bright."""
    height = threshold - film
    smooth = (cv2.GaussianBlur(quiet, (0, 0), SMOOTHING) - film) / height
    return np.minimum(smooth, (quiet - film) / (UNSMOOTHED_RISE * height))


def _breast_core(opened: np.ndarray) -> np.ndarray | None:
    """The largest region that reaches the left or right side, or the largest of all where none does."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    width, areas = opened.shape[1], stats[:, cv2.CC_STAT_AREA]
    large = [index for index in range(1, len(stats)) if areas[index] >= LEAST_AREA * opened.size]
    left, right = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_LEFT] + stats[:, cv2.CC_STAT_WIDTH]
    at_side = (left <= AT_THE_SIDE * width) | (right >= (1 - AT_THE_SIDE) * width)
    if not large:
        return None
    best = max(large, key=lambda index: (bool(at_side[index]), int(areas[index])))
    return white_where(regions == best)


def _regrown(core: np.ndarray, bright: np.ndarray, radius: float) -> np.ndarray:
    """Gives back what the opening took off the breast, such as the nipple: bright, not thin, near and connected."""
    thick = operations.open_mask(bright, THIN * max(bright.shape), fast=True, black_beyond=True)
    candidates = cv2.bitwise_and(cv2.bitwise_or(core, thick), bright)
    return _connected(cv2.bitwise_and(operations.dilate_mask(core, 2 * radius, fast=True), candidates), core)


def _connected(mask: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """The regions of a mask that hold a pixel of the seed."""
    count, regions = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_16U)
    held = white_where(np.bincount(regions[seed > 0], minlength=count) > 0)
    held[0] = 0
    return held.take(np.asarray(regions))


def _with_margin(breast: np.ndarray, foreign: np.ndarray, margin: float) -> np.ndarray:
    # A little wider than the box, which then alone says where the image is cut.
    grown = operations.dilate_mask(breast, margin + min(SLACK, margin), fast=True)
    grown = cv2.max(cv2.GaussianBlur(grown, (0, 0), SMOOTHING), breast)
    grown[foreign & (breast == 0)] = 0
    return grown


def box_between_pixels(rise: np.ndarray, breast: np.ndarray, margin: float) -> np.ndarray:
    """Left, top, right and bottom in fractions of a pixel, where the grey levels (``rise``) pass the threshold, 1."""
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


def _full_size(mask: np.ndarray, block: int, shape: tuple[int, ...], box: np.ndarray) -> np.ndarray:
    """The copy's mask on the scan, without what lies outside of the copy's box."""
    height, width = (side * block for side in mask.shape)
    large = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) if block > 1 else mask
    full = white_where(large[: shape[0], : shape[1]] > 127)
    left, top = np.floor(box[:2] * block).astype(int)
    right, bottom = np.ceil(box[2:] * block).astype(int)
    cut = np.zeros_like(full)
    cut[top:bottom, left:right] = full[top:bottom, left:right]
    return cut
