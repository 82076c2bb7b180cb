"""BRINT, a binary rotation-invariant and noise-tolerant texture descriptor, and the steps of the recipe "brint".

Source: L. Liu, Y. Long, P. W. Fieguth, S. Lao and G. Zhao, "BRINT: Binary rotation invariant and noise tolerant texture
classification", IEEE Trans. Image Processing 23(7):3071-3084, 2014; recipe and channels: Marroquín and Cáceres 2024.

For a radius r, p = 8q samples x_0 … x_(p-1) lie on a ring around a centre x_c: x_n at the angle 2πn/p, counted from the
right, counter-clockwise as the image is seen, by bilinear interpolation. Only centres around which the ring lies inside
the image are used. Each arc of q samples is averaged before anything is thresholded, which makes it tolerant of noise:

- S (sign): bit i is 1 where the mean of the arc's samples ≥ x_c, i = 0 … 7.
- M (magnitude): bit i is 1 where the mean of the arc's |x_n − x_c| ≥ the mean of the eight such means.
- C (centre): 1 where x_c ≥ the mean of all centres.

The least of a code's eight bit rotations is the same however the ring is turned by an arc: 36 of the 256 codes remain.

The image is brought to [0, 1] by its least and greatest value, and ≥ means "not smaller by over ``TIE_TOLERANCE``":
so exact ties are not broken by rounding, and codes are those of the image turned by 90° and of a·image + b, a > 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import InputError
from mmdc_tf.preprocessing import operations
from mmdc_tf.preprocessing.operations import checked_image, column_light, light_of_halves, require_positive_whole
from mmdc_tf.preprocessing.steps import State, required_mask

ARCS = 8
TIE_TOLERANCE = 1e-6  # of the image's range: far above float64's rounding, far below a grey level
REFERENCE_HEIGHT = 2546  # of the scans that published lengths are for: the median of 72 Mini-DDSM files
ROTATION_MINIMUM = np.array(
    [min((code >> turn | code << ARCS - turn) & 255 for turn in range(ARCS)) for code in range(256)], np.uint8
)
CODES: tuple[int, ...] = tuple(int(code) for code in np.unique(ROTATION_MINIMUM))
"""The 36 codes that are the least of their rotations, ascending; their places are the bins of a histogram."""
_BINS = np.searchsorted(CODES, ROTATION_MINIMUM)


class BrintMaps(NamedTuple):
    """Codes s and m, and c, 1 at bright centres: uint8 (H − 2r, W − 2r), of the pixels [r, H − r) × [r, W − r)."""

    s: np.ndarray
    m: np.ndarray
    c: np.ndarray


def brint_maps(image: np.ndarray, radius: int, q: int) -> BrintMaps:
    """The maps whose ``s`` and ``m`` do not change when the ring is turned by an arc (45°): values of ``CODES`` only.

    Args:
        image: (H, W), integers or finite floats of any range, at least 2·radius + 1 pixels high and wide.
        radius: of the ring, in pixels, at least 1.
        q: samples that are averaged to one of the eight arcs, at least 1. Liu et al. take 1 at radius 1, else 3.

    Raises:
        InputError: another dtype or shape, an image too small for the ring, or a value that is not finite.
        ConfigurationError: ``radius`` or ``q`` is not a whole number of at least 1.
    """
    patterns = brint_patterns(image, radius, q)
    return BrintMaps(ROTATION_MINIMUM[patterns.s], ROTATION_MINIMUM[patterns.m], patterns.c)


def brint_patterns(image: np.ndarray, radius: int, q: int) -> BrintMaps:
    """The maps before the minimum over rotations: ``s`` and ``m`` hold bit i of arc i. Arguments as ``brint_maps``."""
    require_positive_whole(radius, "radius")
    require_positive_whole(q, "q")
    scaled = _scaled(image, radius)
    centres = _shifted(scaled, radius, 0, 0)
    signs, magnitudes = _arc_means(scaled, centres, radius, q)
    return BrintMaps(
        _packed(signs, centres), _packed(magnitudes, magnitudes.mean(axis=0)), _reaches(centres, centres.mean())
    )


def brint_histogram(image: np.ndarray, radii: Iterable[int] = range(1, 10), q: int = 3) -> np.ndarray:
    """The descriptor BRINT_CS_CM: for each radius the joint histograms of (C, S) and of (C, M), one after the other.

    Args:
        image: as ``brint_maps``.
        radii: in pixels, one scale each; Liu et al. take 1 to 9.
        q: samples an arc at radii above 1. At radius 1 it is 1: more samples would lie between the same pixels.

    Returns:
        float64 (144 · number of radii,), 1,296 by default, in [0, 1]. Of a scale's 144 bins the first 72 are
        (C, S): 36·c + the place of s in ``CODES``; then 72 of (C, M). Each 72 sum to 1.

    Raises:
        InputError, ConfigurationError: as ``brint_maps``.
    """
    histograms = []
    for radius in radii:
        s, m, c = brint_patterns(image, radius, q if radius > 1 else 1)
        upper = c.astype(np.intp) * len(CODES)
        histograms += [np.bincount((upper + _BINS[codes]).ravel(), minlength=72) / c.size for codes in (s, m)]
    return np.concatenate(histograms)


def _scaled(image: np.ndarray, radius: int) -> np.ndarray:
    """The image as float64 in [0, 1]; zeros where it has one value only."""
    kind, shape = getattr(image, "dtype", type(image).__name__), getattr(image, "shape", ())
    side = 2 * radius + 1
    if not (isinstance(image, np.ndarray) and image.dtype.kind in "uif" and image.ndim == 2 and min(shape) >= side):
        raise InputError(
            f"Expected image to be an array of numbers of shape (H, W) with H and W of at least {side} for radius "
            f"{radius}. Received: image of dtype={kind}, shape={shape}. Pass a grey image, or a smaller radius."
        )
    values = np.ascontiguousarray(image, np.float64)
    least, greatest = values.min(), values.max()
    if not np.isfinite(greatest - least):
        raise InputError(
            f"Expected an image of finite values. Received: image with least={least}, greatest={greatest}. "
            "Replace NaN and infinite values first."
        )
    return (values - least) / (greatest - least or 1.0)


def _arc_means(scaled: np.ndarray, centres: np.ndarray, radius: int, q: int) -> tuple[np.ndarray, np.ndarray]:
    """(8, h, w) each: the means of every arc's samples, and of their distances from the centre."""
    signs, magnitudes = np.zeros((2, ARCS, *centres.shape))
    distances = np.empty(centres.shape)
    angles = 2 * np.pi * np.arange(ARCS * q) / (ARCS * q)
    # Rounded, since radius·sin(180°) is 1e-16 and would be taken for a place between two pixels.
    ring = np.round([-radius * np.sin(angles), radius * np.cos(angles)], 12)
    for number, (down, right) in enumerate(ring.T.tolist()):
        samples = _samples(scaled, radius, down, right)
        signs[number // q] += samples
        np.subtract(samples, centres, out=distances)
        magnitudes[number // q] += np.abs(distances, out=distances)
    return signs / q, magnitudes / q


def _samples(scaled: np.ndarray, radius: int, down: float, right: float) -> np.ndarray:
    """One sample of every centre's ring: from centre to centre the four pixels around it weigh the same."""
    top, left = int(np.floor(down)), int(np.floor(right))
    lower, further = down - top, right - left
    weights = np.outer([1 - lower, lower], [1 - further, further])
    # Values that the filter takes from beyond the edge either have weight 0 or are cut off here.
    return _shifted(cv2.filter2D(scaled, cv2.CV_64F, weights, anchor=(0, 0)), radius, top, left)


def _shifted(values: np.ndarray, radius: int, down: int, right: int) -> np.ndarray:
    """(H − 2r, W − 2r): for each centre the value that lies so many pixels down and to the right of it."""
    height, width = values.shape
    return values[radius + down : height - radius + down, radius + right : width - radius + right]


def _packed(arcs: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    return np.packbits(_reaches(arcs, threshold), axis=0, bitorder="little")[0]


def _reaches(values: np.ndarray, threshold: np.ndarray | float) -> np.ndarray:
    return (values >= threshold - TIE_TOLERANCE).view(np.uint8)


def stack_brint(grey: np.ndarray, radius: int = 2, q: int = 2, background: int = 10) -> np.ndarray:
    """Grey, BRINT_S (the least of its rotations) and BRINT_M (as it is) as channels: uint8 (H, W, 3).

    Both codes are 0 where the ring does not fit into the image and at pixels not above ``background``, where they would
    be those of noise. Arguments and errors as for ``brint_maps``, of a uint8 image.
    """
    channels = np.zeros((*checked_image(grey, "grey").shape, 3), np.uint8)
    channels[..., 0] = grey
    if min(grey.shape) > 2 * radius:
        patterns = brint_patterns(grey, radius, q)
        inside = (slice(radius, -radius), slice(radius, -radius))
        codes = np.stack([ROTATION_MINIMUM[patterns.s], patterns.m], axis=-1)
        channels[(*inside, slice(1, 3))] = np.where(grey[inside][..., None] > background, codes, 0)
    return channels


def drop_white(state: State) -> State:
    """Blanks saturated pixels, labels and the scanner's strips, unless only black would be left."""
    return _unless_black(state, np.where(state.image == 255, np.uint8(0), state.image))


def blank_border(state: State, pixels: int, reference_height: int) -> State:
    """Blanks a frame, ``pixels`` wide on a scan of the reference height, unless only black would be left."""
    width = round(pixels * (state.image.shape[0] / reference_height))
    blanked = np.zeros_like(state.image)
    inside = tuple(slice(width, max(side - width, 0)) for side in state.image.shape)
    blanked[inside] = state.image[inside]
    return _unless_black(state, blanked)


def _unless_black(state: State, image: np.ndarray) -> State:
    return replace(state, image=image) if image.any() else state


def close_mask(state: State, diameter: int, reference_height: int) -> State:
    """Fills the mask's gaps; the disc's diameter is that on a scan of the reference height, as in the next two."""
    return _by_disc(operations.close_mask, state, diameter, reference_height)


def open_mask(state: State, diameter: int, reference_height: int) -> State:
    return _by_disc(operations.open_mask, state, diameter, reference_height)


def dilate_mask(state: State, diameter: int, reference_height: int) -> State:
    return _by_disc(operations.dilate_mask, state, diameter, reference_height)


def _by_disc(operation: Callable[..., np.ndarray], state: State, diameter: int, reference_height: int) -> State:
    radius = (diameter - 1) / 2 * (state.image.shape[0] / reference_height)
    return replace(state, mask=operation(required_mask(state), radius))


def flip_left(state: State) -> State:
    """Mirrors image and mask where the right half of the image is the brighter one."""
    left, right = light_of_halves(column_light(state.image))
    if right <= left:
        return state
    return replace(state, image=cv2.flip(state.image, 1), mask=cv2.flip(required_mask(state), 1))


def brint_channels(state: State, radius: int, q: int, background: int) -> State:
    """Puts BRINT's S and M beside the grey image."""
    return replace(state, image=stack_brint(state.image, radius, q, background))
