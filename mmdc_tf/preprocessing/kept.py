"""What a recipe keeps of a scan: the region that it does not blank and the box that it cuts to."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import InputError
from mmdc_tf.preprocessing.steps import State, Step


@dataclass(frozen=True)
class Kept:
    """What is known once a recipe has gone as far as its crop.

    Args:
        image: uint8 (h, w) or (h, w, 3): the picture after the last step taken.
        scan_shape: height and width of the scan in pixels.
        blank_mask: uint8 (H, W), the mask of the last step "blank-outside"; None without such a step.
        crop_mask: uint8 (H, W), the mask that the step "crop" was given; None without such a step.
        flags: what the steps noticed.
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
        """False where the crop was given an empty mask, so that all was kept."""
        return self.crop_mask is None or bool(self.crop_mask.any())

    @property
    def share(self) -> float:
        """The box's area as a share of the scan's: in (0, 1]."""
        return self.box[2] * self.box[3] / (self.scan_shape[0] * self.scan_shape[1])

    @property
    def region(self) -> np.ndarray:
        """The pixels that are neither blanked nor cut away: uint8 (H, W), 255 on what is kept.

        Raises:
            InputError: a mask is not in the coordinates of the scan: the recipe moves pixels before it blanks or cuts.
        """
        self._require_scan_coordinates()
        left, top, width, height = self.box
        region = np.zeros(self.scan_shape, np.uint8)
        region[top : top + height, left : left + width] = 255
        if self.blank_mask is not None and self.blank_mask.any():
            region[self.blank_mask == 0] = 0
        return region

    def _require_scan_coordinates(self) -> None:
        for mask in (self.blank_mask, self.crop_mask):
            if mask is not None and mask.shape != self.scan_shape:
                raise InputError(
                    f"Expected masks in the coordinates of the scan {self.scan_shape} up to the crop. Received: mask "
                    f"of shape={mask.shape}. Blank and cut before images are resized."
                )


def up_to_crop(states: Iterator[tuple[Step, State]], scan: np.ndarray) -> Kept:
    """Takes a recipe's steps up to its crop, or all where it has none; those after it stay in the iterator.

    Args:
        states: ``recipe.states(scan, size)``.
        scan: uint8 (H, W) or (H, W, 3), the same scan.

    Raises:
        InputError, ConfigurationError, RuntimeError: as ``recipe.apply``.
    """
    image, mask, blank_mask, crop_mask = scan, None, None, None
    flags: tuple[str, ...] = ()
    for step, state in states:
        image, flags = state.image, state.flags
        if step.name == "crop":
            crop_mask = mask
            break
        mask = state.mask
        blank_mask = mask if step.name == "blank-outside" else blank_mask
    return Kept(image, (scan.shape[0], scan.shape[1]), blank_mask, crop_mask, flags)
