"""Reading one image file into pixels, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmdc_tf.errors import UnreadableImageError
from mmdc_tf.opencv import cv2

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image of any supported format.

    Args:
        path: a PNG, JPEG, TIFF or BMP file, 8 or 16 bit, grey or colour.

    Returns:
        uint8 in [0, 255]: (H, W) for grey files, (H, W, 3) RGB for colour files. Transparency is dropped.
        16-bit files are scaled by the smallest of 8, 10, 12, 14 or 16 bits that holds their maximum, since
        scanners store 12-bit values in 16-bit files.

    Raises:
        UnreadableImageError: the file is absent, empty or not an image.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise UnreadableImageError(
            f"Expected a readable image file. Received: {path} ({error.strerror}). Restore the file or remove its row."
        ) from error
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    if image is None:
        reason = "empty file" if data.size == 0 else "not a decodable image"
        raise UnreadableImageError(
            f"Expected a PNG, JPEG, TIFF or BMP image. Received: {path} ({reason}). Restore the file or remove its row."
        )
    return _to_grey_or_rgb(_to_eight_bit(image, path))


def _to_eight_bit(image: np.ndarray, path: str | Path) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise UnreadableImageError(
            f"Expected 8-bit or 16-bit pixels. Received: {path} ({image.dtype} pixels). Convert it to 16-bit PNG."
        )
    # Opacity is always on the full 16-bit scale and would hide that the pixels use fewer bits.
    image = image[..., :3] if image.ndim == 3 else image
    top = max(int(image.max()), 1)
    bits = next(bits for bits in (8, 10, 12, 14, 16) if top < 2**bits)
    return np.round(image.astype(np.float32) * (255.0 / (2**bits - 1))).astype(np.uint8)


def _to_grey_or_rgb(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        return image
    if image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2RGB)
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(image[..., 0])
