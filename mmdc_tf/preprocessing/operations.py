"""Pure operations on pixels: uint8 in, uint8 out, the input never changed.

``grey`` and ``mask`` are uint8 (H, W), ``image`` is uint8 (H, W) or (H, W, 3) RGB, all in [0, 255]; in a mask any value
but 0 is white. Every function raises ``InputError`` where an array has another dtype or shape or holds no pixel.
Input in which there is nothing to find (one colour, all black, an empty mask) is no error.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, InputError

# Rounding must not drop pixels at exactly the radius.
_TOLERANCE = 1e-3


def to_grey(image: np.ndarray) -> np.ndarray:
    """Drops colour: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded; three equal channels keep their value."""
    image = checked_image(image, "image", colour=True)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def otsu_mask(grey: np.ndarray) -> np.ndarray:
    """255 above the threshold of the largest between-class variance, 0 elsewhere.

    An image of one value has no two classes: all of it is kept (255 everywhere). Source: N. Otsu, "A threshold
    selection method from gray-level histograms", IEEE Trans. Systems, Man, and Cybernetics 9(1):62-66, 1979
    (reference [15] of the paper).
    """
    grey = checked_image(grey, "grey")
    if grey.min() == grey.max():
        return np.full_like(grey, 255)
    return cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]


def largest_region_mask(mask: np.ndarray) -> np.ndarray:
    """Keeps the largest white region, its holes filled: the paper's "largest contour".

    Largest is by the area inside the outer contour (between pixel centres, ``cv2.contourArea``), and among equal areas,
    such as lines one pixel wide, by the number of contour pixels. Pixels that touch at a corner are connected. A mask
    without white stays empty.
    """
    mask = checked_image(mask, "mask")
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    region = np.zeros_like(mask)
    if contours:
        largest = max(contours, key=lambda contour: (cv2.contourArea(contour), len(contour)))
        cv2.drawContours(region, [largest], -1, color=255, thickness=cv2.FILLED)
    return region


def apply_mask(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Blanks (0) what lies outside the mask; where the mask is empty, the image is returned as it is."""
    grey, mask = checked_pair(grey, mask)
    return cv2.bitwise_and(grey, grey, mask=mask) if mask.any() else grey


def crop_to_mask(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cuts the image to the smallest upright box of the mask's white pixels; the whole image where it is empty."""
    grey, mask = checked_pair(grey, mask)
    left, top, width, height = cv2.boundingRect(mask)
    return grey[top : top + height, left : left + width].copy() if width else grey


def enhance_contrast(grey: np.ndarray, clip_limit: float = 2.0, tiles: int = 8) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (CLAHE); an image of one value is returned as it is.

    The paper names CLAHE (K. Zuiderveld, Graphics Gems IV, 1994) without parameters; 2.0 and 8×8 are the values of
    reference [20], whose preprocessing it says it shares.

    Args:
        grey: uint8 (H, W).
        clip_limit: the largest count of a grey level, in multiples of a flat histogram; above 0.
        tiles: rows and columns of the grid of local histograms; at least 1.

    Raises:
        ConfigurationError: a clip limit or number of tiles out of range.
    """
    grey = checked_image(grey, "grey")
    if not clip_limit > 0:
        raise ConfigurationError(
            f"Expected clip_limit above 0. Received: clip_limit={clip_limit!r}. Choose a larger value."
        )
    require_positive_whole(tiles, "tiles")
    if grey.min() == grey.max():
        return grey
    return cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=(tiles, tiles)).apply(grey)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Brings an image to size × size pixels; the sides' ratio is not kept, as in the paper (224×224).

    A side that shrinks is averaged over areas (``INTER_AREA``, no aliasing), and only then is a side that grows
    interpolated linearly, since OpenCV averages only where no side grows. No value leaves the range of the image's own.

    Raises:
        ConfigurationError: the size is not a whole number of at least 1.
    """
    image = checked_image(image, "image", colour=True)
    require_positive_whole(size, "size")
    height, width = image.shape[:2]
    shrunk = cv2.resize(image, (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)


def pad_to_square(image: np.ndarray) -> np.ndarray:
    """Adds black at both ends of the shorter side, so that resizing keeps the proportions."""
    image = checked_image(image, "image", colour=True)
    height, width = image.shape[:2]
    rows, columns = max(width - height, 0), max(height - width, 0)
    edges = rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
    return cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT, value=0)


def shrink(grey: np.ndarray, longest: int) -> np.ndarray:
    """Averages an image down to a longest side in pixels, the sides' ratio kept; a smaller one is returned as it is."""
    grey = checked_image(grey, "grey")
    require_positive_whole(longest, "longest")
    share = longest / max(grey.shape)
    if share >= 1:
        return grey
    height, width = (max(1, round(side * share)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    """Repeats a grey image in three equal channels, for backbones trained on photographs: uint8 (H, W, 3)."""
    return cv2.cvtColor(checked_image(grey, "grey"), cv2.COLOR_GRAY2RGB)


def dilate_mask(mask: np.ndarray, radius: float, fast: bool = False) -> np.ndarray:
    """Grows the white part by a disc: all pixels within ``radius``, at least 0, of a white one; 0 and 255.

    By the Euclidean distance (``cv2.distanceTransform``), whose time does not depend on the radius: ``cv2.dilate`` by
    an ellipse of 157 takes a second a scan. ``fast``: four times as fast, with distances wrong by up to 2 %.
    """
    black = white_where(checked_image(mask, "mask") == 0)
    return white_where(_distances(black, fast) <= radius + _TOLERANCE)


def erode_mask(mask: np.ndarray, radius: float, fast: bool = False, black_beyond: bool = False) -> np.ndarray:
    """Shrinks the white part by a disc; with ``black_beyond`` black grows in from beyond the image too."""
    white = white_where(checked_image(mask, "mask") > 0)
    if black_beyond:
        white = cv2.copyMakeBorder(white, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    left = white_where(_distances(white, fast) > radius + _TOLERANCE)
    return np.ascontiguousarray(left[1:-1, 1:-1]) if black_beyond else left


def close_mask(mask: np.ndarray, radius: float, fast: bool = False) -> np.ndarray:
    """Fills gaps and notches that a disc does not fit into."""
    return erode_mask(dilate_mask(mask, radius, fast), radius, fast)


def open_mask(mask: np.ndarray, radius: float, fast: bool = False, black_beyond: bool = False) -> np.ndarray:
    """Removes what a disc does not fit into."""
    return dilate_mask(erode_mask(mask, radius, fast, black_beyond), radius, fast)


def white_where(condition: np.ndarray) -> np.ndarray:
    """A mask from a bool array of any shape: uint8, 255 where it is True, 0 elsewhere."""
    return condition.view(np.uint8) * np.uint8(255)


def _distances(white: np.ndarray, fast: bool) -> np.ndarray:
    return cv2.distanceTransform(white, cv2.DIST_L2, cv2.DIST_MASK_5 if fast else cv2.DIST_MASK_PRECISE)


def column_light(grey: np.ndarray) -> np.ndarray:
    return cv2.reduce(grey, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel().astype(np.int64)


def light_of_halves(columns: np.ndarray) -> tuple[int, int]:
    """The light of the left and the right half; a middle column counts for neither."""
    half = columns.size // 2
    return int(columns[:half].sum()), int(columns[columns.size - half :].sum())


def checked_image(array: np.ndarray, name: str, colour: bool = False) -> np.ndarray:
    """The array, or an ``InputError`` that says what it should have been."""
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
    grey, mask = checked_image(grey, "grey"), checked_image(mask, "mask")
    if grey.shape != mask.shape:
        raise InputError(
            f"Expected a mask of the image's size {grey.shape}. Received: mask of shape={mask.shape}. "
            "Make the mask from this very image."
        )
    return grey, mask


def require_positive_whole(value: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ConfigurationError(
            f"Expected {name} to be a whole number of at least 1. Received: {name}={value!r}. Choose such a number."
        )
