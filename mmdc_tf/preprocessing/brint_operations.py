"""The operations of the recipe "brint" that no other has: pure, uint8 in, uint8 out, the input never changed.

Source: the preprocessing and input channels of Marroquín and Cáceres 2024 (BRINT + CNN, reference [20] of the paper),
as in the first author's thesis code. As in ``operations``, ``InputError`` is raised for arrays of another kind, and
input in which there is nothing to find is no error.
"""

from __future__ import annotations

import numpy as np

from mmdc_tf.preprocessing.brint import ROTATION_MINIMUM, brint_patterns
from mmdc_tf.preprocessing.checks import checked_image

WHITE = 255


def drop_white(grey: np.ndarray) -> np.ndarray:
    """Blanks saturated pixels: labels and the scanner's edge strips.

    Args:
        grey: uint8 (H, W).

    Returns:
        uint8 (H, W): 0 in place of 255; the image as it is where only black would be left.

    Raises:
        InputError: another dtype or shape.
    """
    grey = checked_image(grey, "grey")
    return _unless_black(np.where(grey == WHITE, np.uint8(0), grey), grey)


def blank_border(grey: np.ndarray, width: int) -> np.ndarray:
    """Blanks a frame along the edges.

    Args:
        grey: uint8 (H, W).
        width: of the frame in pixels, at least 0.

    Returns:
        uint8 (H, W): 0 in the frame; the image as it is where only black would be left.

    Raises:
        InputError: another dtype or shape.
    """
    grey = checked_image(grey, "grey")
    inside = (slice(width, max(grey.shape[0] - width, 0)), slice(width, max(grey.shape[1] - width, 0)))
    blanked = np.zeros_like(grey)
    blanked[inside] = grey[inside]
    return _unless_black(blanked, grey)


def stack_brint(grey: np.ndarray, radius: int = 2, q: int = 2, background: int = 10) -> np.ndarray:
    """Grey, BRINT_S and BRINT_M as the three channels of an image.

    Args:
        grey: uint8 (H, W).
        radius: of BRINT's ring in pixels, at least 1.
        q: samples to each of its eight arcs, at least 1.
        background: the greatest grey level of a pixel that gets no codes: they would be those of its noise.

    Returns:
        uint8 (H, W, 3): the grey level; the S code, the least of its rotations (one of ``brint.CODES``); the M code as
        it is. Both codes are 0 at such pixels and where the ring does not fit into the image.

    Raises:
        InputError: another dtype or shape.
        ConfigurationError: ``radius`` or ``q`` is not a whole number of at least 1.
    """
    channels = np.zeros((*checked_image(grey, "grey").shape, 3), np.uint8)
    channels[..., 0] = grey
    if min(grey.shape) > 2 * radius:
        patterns = brint_patterns(grey, radius, q)
        inside = (slice(radius, -radius), slice(radius, -radius))
        codes = np.stack([ROTATION_MINIMUM[patterns.s], patterns.m], axis=-1)
        channels[(*inside, slice(1, 3))] = np.where(grey[inside][..., None] > background, codes, 0)
    return channels


def _unless_black(result: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    return result if result.any() else otherwise
