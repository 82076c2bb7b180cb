"""One file to the pixels of a model: the same code for training, for folders and for prediction."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdc_tf.datasets.images import jpeg_size, read_scan, reductions
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.preprocessing.operations import checked_image, column_light, light_of_halves, to_grey
from mmdc_tf.preprocessing.recipes import Recipe
from mmdc_tf.preprocessing.steps import State, Step

CROPPED = 1.5
"""A guess: a crop's shorter side is at least the scan's divided by this. The reduction that is tried first follows."""


@dataclass(frozen=True)
class PreprocessedScan:
    """What a recipe made of a scan.

    Args:
        image: uint8 (S, S, 3), RGB, in [0, 255].
        width, height: of the scan in pixels, whatever the size at which it was decoded.
        box: left, top, width and height in pixels of the scan: what the recipe cuts to; all of it without a crop.
        side: "L" or "R", the half of the crop that holds more light; "" where both hold the same.
        flags: those of ``read_scan`` and of the recipe, as in ``scan_folder.Row``.
    """

    image: np.ndarray
    width: int
    height: int
    box: tuple[int, int, int, int]
    side: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Crop:
    """A scan once a recipe has gone as far as its crop, or through all steps where it has none.

    ``image`` is the picture after the last step taken, ``scan_shape`` the scan's height and width; ``blank_mask`` and
    ``crop_mask``, uint8 (H, W), are what the steps "blank-outside" and "crop" were given; None without them.
    """

    image: np.ndarray
    scan_shape: tuple[int, int]
    blank_mask: np.ndarray | None
    crop_mask: np.ndarray | None
    flags: tuple[str, ...] = ()

    @functools.cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width, height in pixels of the scan; the whole scan where nothing is cut or no region found."""
        left, top, width, height = (0, 0, 0, 0) if self.crop_mask is None else cv2.boundingRect(self.crop_mask)
        return (left, top, width, height) if width else (0, 0, self.scan_shape[1], self.scan_shape[0])

    @property
    def found(self) -> bool:
        """False where the crop was given an empty mask, so that all stayed."""
        return self.crop_mask is None or bool(self.crop_mask.any())

    @property
    def share(self) -> float:
        """The box's area as a share of the scan's: in (0, 1]."""
        return self.box[2] * self.box[3] / (self.scan_shape[0] * self.scan_shape[1])

    @property
    def region(self) -> np.ndarray:
        """uint8 (H, W), 255 on the pixels that are neither blanked nor cut away; all where a mask is empty or absent.

        A recipe moves no pixel before it blanks and cuts, so that the masks are those of the scan.
        """
        left, top, width, height = self.box
        region = np.zeros(self.scan_shape, np.uint8)
        region[top : top + height, left : left + width] = 255
        if self.blank_mask is not None and self.blank_mask.any():
            region[self.blank_mask == 0] = 0
        return region


def run_to_crop(states: Iterator[tuple[Step, State]], scan: np.ndarray) -> Crop:
    """Takes ``recipe.states(scan, size)`` up to the crop, or all without one; those after it stay in the iterator."""
    image, mask, blank_mask, crop_mask = scan, None, None, None
    flags: tuple[str, ...] = ()
    for step, state in states:
        image, flags = state.image, state.flags
        if step.name == "crop":
            crop_mask = mask
            break
        mask = state.mask
        blank_mask = mask if step.name == "blank-outside" else blank_mask
    return Crop(image, (scan.shape[0], scan.shape[1]), blank_mask, crop_mask, flags)


def crop_of(recipe: Recipe, image: np.ndarray) -> Crop:
    """Runs a recipe on a scan as far as its crop; ``image`` and errors as ``recipe.apply``."""
    image = checked_image(image, "image", colour=True)
    return run_to_crop(recipe.states(image, size=8), image)  # of the finished image: the crop is before it


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
        crop = run_to_crop(states, scan)
        if factor == 1 or least is None or min(crop.box[2:]) >= least:
            break
    image = crop.image
    for _, state in states:
        image = state.image
    width, height = jpeg or scan.shape[1::-1]
    left, top, box_width, box_height = (factor * side for side in crop.box)  # in pixels of the whole scan
    box = left, top, min(box_width, width - left), min(box_height, height - top)
    light = light_of_halves(column_light(to_grey(crop.image)))
    side = "" if light[0] == light[1] else "L" if light[0] > light[1] else "R"
    region = () if crop.found else ("no_region",)
    noticed = ("blank", *region) if scan.min() == scan.max() else (*region, *crop.flags)
    return PreprocessedScan(image, width, height, box, side, (*flags, *noticed))
