"""One file to the pixels of a model: the same code for training, for folders and for prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdc_tf.datasets.image_size import jpeg_size
from mmdc_tf.datasets.images import read_image, reductions
from mmdc_tf.preprocessing.kept import Kept, up_to_crop
from mmdc_tf.preprocessing.mirroring import light_of_halves
from mmdc_tf.preprocessing.operations import to_grey
from mmdc_tf.preprocessing.recipes import Recipe

CROPPED = 1.5
"""A crop's shorter side is at least a scan's by this: a guess, by which a reduction is tried first."""


@dataclass(frozen=True)
class PreprocessedScan:
    """What a recipe made of a scan.

    Args:
        image: uint8 (S, S, 3), RGB, in [0, 255].
        width, height: of the scan in pixels, whatever the size at which it was decoded.
        box: left, top, width and height in pixels of the scan: what the recipe's crop kept; all of it without a crop.
        side: "L" or "R", the half of what was kept that holds more light; "" where both hold the same.
        flags: "blank" for a scan of one value, "no_region" where the crop had nothing to keep and kept all,
            "no_breast_found" where a recipe that looks for the breast on film kept all of a scan that is not blank, as
            it does where it finds none.
    """

    image: np.ndarray
    width: int
    height: int
    box: tuple[int, int, int, int]
    side: str
    flags: tuple[str, ...]


def preprocess_file(path: str | bytes | Path, recipe: Recipe, image_size: int) -> np.ndarray:
    """One file to pixels: uint8 (S, S, 3). Arguments and errors as for ``preprocess_scan``."""
    return preprocess_scan(path.decode() if isinstance(path, bytes) else path, recipe, image_size).image


def preprocess_scan(path: str | Path, recipe: Recipe, image_size: int) -> PreprocessedScan:
    """One file to pixels, and what is to be known of them.

    Args:
        path: an image file, as for ``read_image``.
        recipe: its ``least_crop`` says whether a JPEG file may be decoded at a reduced size.
        image_size: height and width of the result in pixels.

    Raises:
        UnreadableImageError: names the file.
        InputError, ConfigurationError, RuntimeError: as ``recipe.apply``.
    """
    least = None if recipe.least_crop is None else recipe.least_crop * image_size
    for factor in (1,) if least is None else reductions(path, CROPPED * least):
        scan = read_image(path, factor)
        states = recipe.states(scan, image_size)
        kept = up_to_crop(states, scan)
        if factor == 1 or least is None or min(kept.box[2:]) >= least:
            break
    image = kept.image
    for _, state in states:
        image = state.image
    width, height = scan.shape[1::-1] if factor == 1 else (jpeg_size(path) or scan.shape[1::-1])
    return PreprocessedScan(
        image, width, height, _scaled(kept, factor, width, height), _side(kept), _flags(scan, kept, recipe)
    )


def _scaled(kept: Kept, factor: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The box in pixels of the whole scan."""
    left, top, box_width, box_height = (factor * side for side in kept.box)
    return left, top, min(box_width, width - left), min(box_height, height - top)


def _side(kept: Kept) -> str:
    left, right = light_of_halves(to_grey(kept.image))
    return "" if left == right else "L" if left > right else "R"


def _flags(scan: np.ndarray, kept: Kept, recipe: Recipe) -> tuple[str, ...]:
    blank = scan.min() == scan.max()
    found = {
        "blank": blank,
        "no_region": not kept.found,
        "no_breast_found": not blank and _looks_for_breast(recipe) and _keeps_all(kept),
    }
    return tuple(name for name, present in found.items() if present)


def _looks_for_breast(recipe: Recipe) -> bool:
    return any(step.name == "find-breast" for step in recipe.steps)


def _keeps_all(kept: Kept) -> bool:
    # A breast that was found leaves film outside it: breast.find_breast keeps all only where it found none.
    return kept.crop_mask is not None and bool(kept.crop_mask.all())
