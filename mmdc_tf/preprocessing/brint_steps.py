"""Steps of the recipe "brint": its lengths in pixels are those of a full scan, and follow the scan's height."""

from __future__ import annotations

from dataclasses import replace

from mmdc_tf.preprocessing import brint_operations as operations
from mmdc_tf.preprocessing import morphology
from mmdc_tf.preprocessing.mirroring import light_of_halves, turned
from mmdc_tf.preprocessing.steps import State, required_mask

REFERENCE_HEIGHT = 2546
"""The scan height that the published lengths are taken for: the median of 72 Mini-DDSM files (1,088 to 3,012)."""


def drop_white(state: State) -> State:
    """Blanks saturated pixels."""
    return replace(state, image=operations.drop_white(state.image))


def blank_border(state: State, pixels: int, reference_height: int) -> State:
    """Blanks a frame, ``pixels`` wide on a scan of the reference height."""
    return replace(state, image=operations.blank_border(state.image, round(pixels * _scale(state, reference_height))))


def close_mask(state: State, diameter: int, reference_height: int) -> State:
    """Fills the mask's gaps; the disc's diameter is that on a scan of the reference height."""
    return replace(state, mask=morphology.close_mask(required_mask(state), _radius(state, diameter, reference_height)))


def open_mask(state: State, diameter: int, reference_height: int) -> State:
    """Removes the mask's thin parts; the disc's diameter is that on a scan of the reference height."""
    return replace(state, mask=morphology.open_mask(required_mask(state), _radius(state, diameter, reference_height)))


def dilate_mask(state: State, diameter: int, reference_height: int) -> State:
    """Grows the mask; the disc's diameter is that on a scan of the reference height."""
    return replace(state, mask=morphology.dilate_mask(required_mask(state), _radius(state, diameter, reference_height)))


def flip_left(state: State) -> State:
    """Mirrors image and mask where the right half of the image is the brighter one."""
    left, right = light_of_halves(state.image)
    if right <= left:
        return state
    return replace(state, image=turned(state.image, True), mask=turned(required_mask(state), True))


def brint_channels(state: State, radius: int, q: int, background: int) -> State:
    """Puts BRINT's S and M beside the grey image."""
    return replace(state, image=operations.stack_brint(state.image, radius, q, background))


def _scale(state: State, reference_height: int) -> float:
    return state.image.shape[0] / reference_height


def _radius(state: State, diameter: int, reference_height: int) -> float:
    """Of the disc that leaves (diameter − 1) / 2 pixels on each side of its centre, on this scan."""
    return (diameter - 1) / 2 * _scale(state, reference_height)
