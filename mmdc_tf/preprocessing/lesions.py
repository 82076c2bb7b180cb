"""How much of a lesion a recipe keeps, where the lesion's mask is known."""

from __future__ import annotations

import numpy as np

from mmdc_tf.errors import InputError
from mmdc_tf.preprocessing.checks import checked_image, checked_pair
from mmdc_tf.preprocessing.kept import Kept, up_to_crop
from mmdc_tf.preprocessing.morphology import white_where
from mmdc_tf.preprocessing.operations import to_grey
from mmdc_tf.preprocessing.recipes import Recipe

_SIZE = 8  # of the finished image: the region kept is settled before it matters
_LESION_ABOVE = 127  # JPEG masks are not pure


def what_is_kept(recipe: Recipe, image: np.ndarray) -> Kept:
    """Runs a recipe as far as its crop, which settles both the region and the box that it keeps.

    Args:
        recipe: its mask must be in the coordinates of the scan up to the step "crop".
        image: uint8 (H, W) or (H, W, 3).

    Raises:
        InputError: an image of another dtype or shape.
        RuntimeError: a step failed in any other way.
    """
    image = checked_image(image, "image", colour=True)
    return up_to_crop(recipe.states(image, _SIZE), image)


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
    return what_is_kept(recipe, image).region


def crop_share(recipe: Recipe, image: np.ndarray) -> float:
    """The area of the smallest box around what a recipe keeps, as a share of the scan's: in (0, 1].

    A recipe that blanks and does not cut gives 1.

    Args, Raises: as for ``what_is_kept``.
    """
    return what_is_kept(recipe, image).share


def lesion_survival(recipe: Recipe, image: np.ndarray, lesion: np.ndarray) -> float:
    """The share of a lesion's pixels in the region that a recipe keeps.

    Args:
        recipe: as for ``kept_region``.
        image: uint8 (H, W) or (H, W, 3).
        lesion: as for ``lesion_pixels``.

    Returns:
        A share in [0, 1].

    Raises:
        InputError: arrays of another dtype or shape, of different sizes, or a mask without a lesion.
    """
    return share_inside(kept_region(recipe, image), lesion)


def share_inside(region: np.ndarray, lesion: np.ndarray) -> float:
    """The share of a lesion's pixels in a region.

    Args:
        region: uint8 (H, W), above 0 inside.
        lesion: as for ``lesion_pixels``, of the same height and width.

    Returns:
        A share in [0, 1].

    Raises:
        InputError: as for ``lesion_survival``.
    """
    region, marked = checked_pair(region, lesion_pixels(lesion))
    return float(np.count_nonzero(region[marked > 0]) / np.count_nonzero(marked))


def lesion_pixels(lesion: np.ndarray) -> np.ndarray:
    """The pixels that a lesion mask marks. A reader's outline counts by its line.

    Args:
        lesion: uint8 (H, W) or (H, W, 3), the lesion's mask: a pixel above 127 is lesion (JPEG masks are not pure).

    Returns:
        uint8 (H, W), 255 on the lesion, with at least one such pixel.

    Raises:
        InputError: an array of another dtype or shape, or a mask without a lesion.
    """
    grey = to_grey(checked_image(lesion, "lesion", colour=True))
    marked = white_where(grey > _LESION_ABOVE)
    if not marked.any():
        raise InputError(
            f"Expected a lesion mask with a pixel above {_LESION_ABOVE}. Received: lesion without one. "
            "Leave such masks out."
        )
    return marked
