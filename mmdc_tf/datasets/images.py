"""Reading one image file into pixels, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmdc_tf.datasets.dicom import DICOM_SUFFIXES, is_dicom, read_dicom
from mmdc_tf.datasets.image_size import require_few_pixels_in_header
from mmdc_tf.errors import UnreadableImageError
from mmdc_tf.opencv import cv2

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", *DICOM_SUFFIXES)


REDUCTIONS = (8, 4, 2, 1)
_REDUCED_GREY = {
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def reductions(jpeg: tuple[int, int] | None, least_side: float) -> tuple[int, ...]:
    """By how much an image may be reduced while it is decoded, the largest first, 1 at the end.

    Args:
        jpeg: width and height of a JPEG file (``image_size.jpeg_size``), which its decoder can reduce and then has
            less to do; None for any other file.
        least_side: the shorter side of the reduced image has at least so many pixels.
    """
    if jpeg is None:
        return (1,)
    return tuple(factor for factor in REDUCTIONS if factor == 1 or min(jpeg) / factor >= least_side)


def read_image(path: str | Path, reduction: int = 1) -> np.ndarray:
    """Reads an image of any supported format.

    Args:
        path: a PNG, JPEG, TIFF or BMP file, 8 or 16 bit, grey or colour, of at most 200 million pixels
            (``image_size.MAX_PIXELS``: an image whose header claims more is refused before it is decoded); or a
            DICOM file (``dicom.is_dicom``).
        reduction: 2, 4 or 8 for a JPEG file of which a half, a quarter or an eighth of each side is enough: see
            ``reductions``. It then comes as grey, sides rounded up, each pixel nearly the mean of a block.

    Returns:
        uint8 in [0, 255]: (H, W) for grey files, (H, W, 3) RGB for colour files. Transparency is dropped.
        16-bit files are scaled by the smallest of 8, 10, 12, 14 or 16 bits that holds their maximum, since
        scanners store 12-bit values in 16-bit files. DICOM files as ``dicom.read_dicom`` says, always (H, W).

    Raises:
        UnreadableImageError: the file is absent, empty, too large or not an image.
    """
    if is_dicom(path):
        return read_dicom(path)
    require_few_pixels_in_header(path)
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise UnreadableImageError(
            f"Expected a readable image file. Received: {path} ({error.strerror}). Restore the file or remove its row."
        ) from error
    image = _decoded(data, cv2.IMREAD_UNCHANGED if reduction == 1 else _REDUCED_GREY[reduction])
    if image is None:
        reason = "empty file" if data.size == 0 else "not a decodable image"
        raise UnreadableImageError(
            f"Expected a PNG, JPEG, TIFF, BMP or DICOM image. Received: {path} ({reason}). "
            "Restore the file or remove its row."
        )
    return _to_grey_or_rgb(_to_eight_bit(image, path))


def _decoded(data: np.ndarray, how: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(data, how | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    except cv2.error:  # more pixels than OpenCV's own limit, which formats outside image_size's list can claim
        return None


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
    # Looked up, since an image as float32 would take twice its own memory, and its rounded copy again.
    levels = np.round(np.arange(2**bits, dtype=np.float32) * (255.0 / (2**bits - 1))).astype(np.uint8)
    return levels[image]


def _to_grey_or_rgb(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        return image
    if image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2RGB)
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(image[..., 0])
