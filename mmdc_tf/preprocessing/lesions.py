"""How much of a lesion a recipe keeps, where the lesion's mask is known."""

from __future__ import annotations

import numpy as np

from mmdc_tf.errors import InputError
from mmdc_tf.opencv import cv2
from mmdc_tf.preprocessing.checks import checked_image, checked_pair
from mmdc_tf.preprocessing.operations import to_grey
from mmdc_tf.preprocessing.recipes import Recipe

_SIZE = 8  # of the finished image: the region kept is settled before it matters


def kept_region(recipe: Recipe, image: np.ndarray) -> np.ndarray:
    """The pixels of a scan that a recipe neither blanks nor cuts away.

    Args:
        recipe: its mask must be in the coordinates of the scan up to the step "crop".
        image: uint8 (H, W) or (H, W, 3).

    Returns:
        uint8 (H, W), 255 on what is kept: all of it in a recipe without the step "blank-outside" or "crop", and where
        the mask is empty, since nothing is blanked then.

    Raises:
        InputError: an image of another dtype or shape, or a recipe that moves pixels before these steps.
    """
    kept = np.full(checked_image(image, "image", colour=True).shape[:2], 255, np.uint8)
    mask = None
    for step, state in recipe.states(image, _SIZE):
        if step.name == "crop" and mask is not None and mask.any():
            return cv2.bitwise_and(kept, _box(mask))
        if step.name == "blank-outside" and state.mask is not None and state.mask.any():
            kept = np.where(_in_scan(state.mask, kept, recipe) > 0, np.uint8(255), np.uint8(0))
        mask = state.mask
    return kept


def lesion_survival(recipe: Recipe, image: np.ndarray, lesion: np.ndarray) -> float:
    """The share of a lesion's pixels in the region that a recipe keeps.

    Args:
        recipe: as for ``kept_region``.
        image: uint8 (H, W) or (H, W, 3).
        lesion: uint8 (H, W) or (H, W, 3), the lesion's mask: a pixel above 127 is lesion (JPEG masks are not pure).
            A reader's outline counts by its line.

    Returns:
        A share in [0, 1].

    Raises:
        InputError: arrays of another dtype or shape, of different sizes, or a mask without a lesion.
    """
    _, kept = checked_pair(to_grey(image), kept_region(recipe, image))
    _, marked = checked_pair(kept, to_grey(checked_image(lesion, "lesion", colour=True)))
    inside = marked > 127
    if not inside.any():
        raise InputError(
            "Expected a lesion mask with a pixel above 127. Received: lesion without one. Leave such masks out."
        )
    return float(np.count_nonzero(kept[inside]) / np.count_nonzero(inside))


def crop_share(recipe: Recipe, image: np.ndarray) -> float:
    """The area of the smallest box around what a recipe keeps, as a share of the scan's: in (0, 1].

    A recipe that blanks and does not cut gives 1.

    Args, Raises: as for ``kept_region``.
    """
    area = image.shape[0] * image.shape[1]
    for step, state in recipe.states(image, _SIZE):
        if step.name == "crop":
            return state.image.shape[0] * state.image.shape[1] / area
    return 1.0


def _box(mask: np.ndarray) -> np.ndarray:
    left, top, width, height = cv2.boundingRect(mask)
    box = np.zeros_like(mask)
    box[top : top + height, left : left + width] = 255
    return box


def _in_scan(mask: np.ndarray, kept: np.ndarray, recipe: Recipe) -> np.ndarray:
    if mask.shape != kept.shape:
        raise InputError(
            f"Expected a mask in the coordinates of the scan {kept.shape} up to the crop. Received: mask of "
            f"shape={mask.shape} in recipe {recipe.name!r}. Blank before images are cut or resized."
        )
    return mask
