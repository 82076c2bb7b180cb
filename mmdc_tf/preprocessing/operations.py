"""Pure operations on pixels: one idea each, uint8 in, uint8 out, the input never changed.

They are the parts of the preprocessing of section II-A and Fig. 1 of "Deep Multi-modal Breast Cancer
Detection Network". Every function raises ``InputError`` where an array is not uint8, has the wrong number of
dimensions or holds no pixel. Input in which there is nothing to find (one colour, all black, an empty mask) is
no error: the function says what it returns then, so that one odd scan does not stop a folder of thousands.
"""

from __future__ import annotations

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.preprocessing.checks import checked_image, checked_pair, require_positive, require_positive_whole


def to_grey(image: np.ndarray) -> np.ndarray:
    """Drops colour: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), rounded.

    Args:
        image: uint8, (H, W) grey or (H, W, 3) RGB.

    Returns:
        uint8 (H, W) in [0, 255]; a grey image, or three equal channels, keeps its values.

    Raises:
        InputError: another dtype or shape.
    """
    image = checked_image(image, "image", colour=True)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def otsu_mask(grey: np.ndarray) -> np.ndarray:
    """Separates bright from dark pixels at the threshold of the largest between-class variance.

    Source: N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. Systems, Man, and
    Cybernetics 9(1):62-66, 1979 (reference [15] of the paper).

    Args:
        grey: uint8 (H, W).

    Returns:
        uint8 (H, W): 255 above the threshold, 0 elsewhere. An image of one value has no two classes: all of it
        is kept (255 everywhere).

    Raises:
        InputError: another dtype or shape.
    """
    grey = checked_image(grey, "grey")
    if grey.min() == grey.max():
        return np.full_like(grey, 255)
    _, mask = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return mask


def largest_region_mask(mask: np.ndarray) -> np.ndarray:
    """Keeps the largest white region, its holes filled: the paper's "largest contour".

    Largest is by the area inside the outer contour (between pixel centres, ``cv2.contourArea``), and among
    equal areas, such as lines one pixel wide, by the number of contour pixels. Pixels that touch at a corner
    are connected.

    Args:
        mask: uint8 (H, W); any value but 0 is white.

    Returns:
        uint8 (H, W) of 0 and 255. A mask without white stays empty.

    Raises:
        InputError: another dtype or shape.
    """
    mask = checked_image(mask, "mask")
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    kept = np.zeros_like(mask)
    if contours:
        largest = max(contours, key=lambda contour: (cv2.contourArea(contour), len(contour)))
        cv2.drawContours(kept, [largest], -1, color=255, thickness=cv2.FILLED)
    return kept


def apply_mask(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Blanks what lies outside the mask.

    Args:
        grey: uint8 (H, W).
        mask: uint8 (H, W); any value but 0 keeps the pixel.

    Returns:
        uint8 (H, W): the pixel where the mask is white, 0 elsewhere. An empty mask found nothing, and blanking
        everything would pass on an image without content: the image is returned as it is.

    Raises:
        InputError: another dtype or shape, or a mask of another size than the image.
    """
    grey, mask = checked_pair(grey, mask)
    return cv2.bitwise_and(grey, grey, mask=mask) if mask.any() else grey


def crop_to_mask(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Cuts the image to the smallest upright box that holds the mask's white pixels.

    Args:
        grey: uint8 (H, W).
        mask: uint8 (H, W); any value but 0 is white.

    Returns:
        uint8 (h, w) with 1 <= h <= H and 1 <= w <= W; the whole image where the mask is empty.

    Raises:
        InputError: another dtype or shape, or a mask of another size than the image.
    """
    grey, mask = checked_pair(grey, mask)
    left, top, width, height = cv2.boundingRect(mask)
    return grey[top : top + height, left : left + width].copy() if width else grey


def enhance_contrast(grey: np.ndarray, clip_limit: float = 2.0, tiles: int = 8) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation (CLAHE).

    Source: K. Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994, as in
    ``cv2.createCLAHE``. The paper names CLAHE without parameters; 2.0 and 8×8 are the values of reference [20],
    whose preprocessing it says it shares.

    Args:
        grey: uint8 (H, W).
        clip_limit: the largest count of a grey level, in multiples of a flat histogram; above 0.
        tiles: rows and columns of the grid of local histograms; at least 1.

    Returns:
        uint8 (H, W) in [0, 255]. An image of one value has no contrast to enhance and is returned as it is.

    Raises:
        InputError: another dtype or shape.
        ConfigurationError: a clip limit or number of tiles out of range.
    """
    grey = checked_image(grey, "grey")
    require_positive(clip_limit, "clip_limit")
    require_positive_whole(tiles, "tiles")
    if grey.min() == grey.max():
        return grey
    return cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=(tiles, tiles)).apply(grey)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Brings an image to size × size pixels; the sides' ratio is not kept, as in the paper (224×224).

    A side that shrinks is averaged over areas (``INTER_AREA``, no aliasing), and only then is a side that
    grows interpolated linearly (``INTER_LINEAR``), since OpenCV averages only where no side grows.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        size: the new height and width in pixels, at least 1.

    Returns:
        uint8 (size, size) or (size, size, 3), no value outside the range of the image's own.

    Raises:
        InputError: another dtype or shape.
        ConfigurationError: the size is not a whole number of at least 1.
    """
    image = checked_image(image, "image", colour=True)
    require_positive_whole(size, "size")
    height, width = image.shape[:2]
    shrunk = cv2.resize(image, (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)


def shrink(grey: np.ndarray, longest: int) -> np.ndarray:
    """Averages an image down to a longest side and keeps the sides' ratio; a smaller one is returned as it is.

    Args:
        grey: uint8 (H, W).
        longest: in pixels, at least 1.

    Returns:
        uint8 (h, w), no side below 1.

    Raises:
        InputError: another dtype or shape.
        ConfigurationError: ``longest`` is not a whole number of at least 1.
    """
    grey = checked_image(grey, "grey")
    require_positive_whole(longest, "longest")
    share = longest / max(grey.shape)
    if share >= 1:
        return grey
    height, width = (max(1, round(side * share)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    """Repeats a grey image in three channels, for backbones that were trained on colour photographs.

    Args:
        grey: uint8 (H, W).

    Returns:
        uint8 (H, W, 3), three equal channels.

    Raises:
        InputError: another dtype or shape.
    """
    return cv2.cvtColor(checked_image(grey, "grey"), cv2.COLOR_GRAY2RGB)
