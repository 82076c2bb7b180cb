"""One file to the pixels of a model: the same code for training, for folders and for prediction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdc_tf.datasets.images import jpeg_size, read_scan, reductions
from mmdc_tf.preprocessing.kept import Kept, up_to_crop
from mmdc_tf.preprocessing.mirroring import light_of_halves
from mmdc_tf.preprocessing.operations import to_grey
from mmdc_tf.preprocessing.recipes import Recipe

CROPPED = 1.5
"""A guess: a crop's shorter side is at least the scan's divided by this. The reduction that is tried first follows."""


@dataclass(frozen=True)
class PreprocessedScan:
    """What a recipe made of a scan.

    Args:
        image: uint8 (S, S, 3), RGB, in [0, 255].
        width, height: of the scan in pixels, whatever the size at which it was decoded.
        box: left, top, width and height in pixels of the scan: what the recipe's crop kept; all of it without a crop.
        side: "L" or "R", the half of what was kept that holds more light; "" where both hold the same.
        flags: those of ``read_scan``, "blank" for a scan of one value, "no_region" where the crop had nothing to keep
            and kept all, "no_breast_found" where a recipe that looks for the breast on film found none in a scan that
            is not blank.
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
    jpeg = None if least is None else jpeg_size(path)
    for factor in reductions(jpeg, CROPPED * (least or 0)):
        scan, flags = read_scan(path, factor)
        states = recipe.states(scan, image_size)
        kept = up_to_crop(states, scan)
        if factor == 1 or least is None or min(kept.box[2:]) >= least:
            break
    image = kept.image
    for _, state in states:
        image = state.image
    width, height = jpeg or scan.shape[1::-1]
    box = _scaled(kept, factor, width, height)
    return PreprocessedScan(image, width, height, box, _side(kept), (*flags, *_flags(scan, kept)))


def _scaled(kept: Kept, factor: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The box in pixels of the whole scan."""
    left, top, box_width, box_height = (factor * side for side in kept.box)
    return left, top, min(box_width, width - left), min(box_height, height - top)


def _side(kept: Kept) -> str:
    left, right = light_of_halves(to_grey(kept.image))
    return "" if left == right else "L" if left > right else "R"


def _flags(scan: np.ndarray, kept: Kept) -> tuple[str, ...]:
    region = () if kept.found else ("no_region",)
    if scan.min() == scan.max():
        return ("blank", *region)
    return (*region, *kept.flags)
