"""Checks of what an operation is given: each names what was expected and what came."""

from __future__ import annotations

from numbers import Integral

import numpy as np

from mmdc_tf.errors import ConfigurationError, InputError


def checked_image(array: np.ndarray, name: str, colour: bool = False) -> np.ndarray:
    """The array, or an error that says what it should have been."""
    shapes = "(H, W) or (H, W, 3)" if colour else "(H, W)"
    kind = getattr(array, "dtype", type(array).__name__)
    shape: tuple[int, ...] = getattr(array, "shape", ())
    right_shape = len(shape) == 2 or (colour and len(shape) == 3 and shape[2] == 3)
    if not (isinstance(array, np.ndarray) and array.dtype == np.uint8 and right_shape and array.size):
        raise InputError(
            f"Expected {name} to be a uint8 array of shape {shapes} with at least one pixel. Received: {name} of "
            f"dtype={kind}, shape={shape}. Read files with mmdc_tf.datasets.images.read_image, which gives such arrays."
        )
    return array


def checked_pair(grey: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A grey image and a mask of its size, or an error that says what they should have been."""
    grey, mask = checked_image(grey, "grey"), checked_image(mask, "mask")
    if grey.shape != mask.shape:
        raise InputError(
            f"Expected a mask of the image's size {grey.shape}. Received: mask of shape={mask.shape}. "
            "Make the mask from this very image."
        )
    return grey, mask


def require_positive(value: float, name: str) -> None:
    """Raises ``ConfigurationError`` unless the value is above 0."""
    if not value > 0:
        raise ConfigurationError(f"Expected {name} above 0. Received: {name}={value!r}. Choose a larger value.")


def require_positive_whole(value: int, name: str) -> None:
    """Raises ``ConfigurationError`` unless the value is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ConfigurationError(
            f"Expected {name} to be a whole number of at least 1. Received: {name}={value!r}. Choose such a number."
        )
