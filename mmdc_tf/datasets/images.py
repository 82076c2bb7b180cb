"""Reading one image file into pixels, with errors that name the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import TiffImagePlugin

from mmdc_tf.datasets.decoder_process import decoder
from mmdc_tf.datasets.dicom import DICOM_SUFFIXES, is_dicom, read_dicom
from mmdc_tf.datasets.image_header import ImageHeader, read_image_header, require_few_pixels
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import UnreadableImageError

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
        jpeg: width and height of a JPEG file (``image_header.jpeg_size``), which its decoder can reduce and then has
            less to do; None for any other file.
        least_side: the shorter side of the reduced image has at least so many pixels.
    """
    if jpeg is None:
        return (1,)
    return tuple(factor for factor in REDUCTIONS if factor == 1 or min(jpeg) / factor >= least_side)


# What EXIF's orientation asks for, as numpy does it to a stored image.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}


def read_image(path: str | Path, reduction: int = 1) -> np.ndarray:
    """The pixels of ``read_scan``, without its flags; arguments and errors are the same."""
    return read_scan(path, reduction)[0]


def read_scan(path: str | Path, reduction: int = 1) -> tuple[np.ndarray, tuple[str, ...]]:
    """Reads an image of any supported format, as a viewer shows it.

    Args:
        path: a PNG, JPEG, TIFF or BMP file, 8 or 16 bit, grey or colour, of at most 200 million pixels
            (``image_header.MAX_PIXELS``: an image whose header claims more is refused before it is decoded); or a
            DICOM file (``dicom.is_dicom``).
        reduction: 2, 4 or 8 for a JPEG file of which a half, a quarter or an eighth of each side is enough: see
            ``reductions``. It then comes as grey, sides rounded up, each pixel nearly the mean of a block.

    Returns:
        uint8 in [0, 255]: (H, W) for grey files, (H, W, 3) RGB for colour files, turned upright (EXIF orientation).
        16-bit files are scaled by the smallest of 8, 10, 12, 14 or 16 bits that holds their maximum, since
        scanners store 12-bit values in 16-bit files. DICOM files as ``dicom.read_dicom`` says, always (H, W).
        And what is to be known of the file, as flags: ``transparent`` (composited on black), and those of DICOM files.

    Raises:
        UnreadableImageError: the file is absent, empty, too large, not an image, of several pages or pictures, or its
            decoder says that it is damaged.
    """
    if is_dicom(path):
        return read_dicom(path)
    header = read_image_header(path)
    require_few_pixels(header.width, header.height, path)
    if header.frames > 1:
        raise UnreadableImageError(
            f"Expected one image a file. Received: {path} ({header.frames} pages or pictures in one file). Save them "
            "one by one, or remove it."
        )
    try:
        image = _decoded(path, header, cv2.IMREAD_UNCHANGED if reduction == 1 else _REDUCED_GREY[reduction])
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's word for modes that it does not know
        raise UnreadableImageError(
            f"Expected a PNG, JPEG, TIFF, BMP or DICOM image. Received: {path} "
            f"({getattr(error, 'strerror', None) or error}). Restore the file or remove its row."
        ) from error
    shown, flags = _composited(image, header, path)
    return np.ascontiguousarray(_UPRIGHT.get(header.orientation, np.asarray)(shown)), flags


def _decoded(path: str | Path, header: ImageHeader, how: int) -> np.ndarray:
    if header.samples == 2 and header.bits == 8:  # OpenCV passes over their opacity
        with TiffImagePlugin.TiffImageFile(path) as image:
            return np.asarray(image.convert("RGBA"))[..., [2, 1, 0, 3]]
    if header.samples == 2:
        raise ValueError(f"grey and opacity of {header.bits} bits in a TIFF file, which no decoder here reads")
    how |= cv2.IMREAD_IGNORE_ORIENTATION
    if header.kind in ("JPEG", "TIFF"):  # their decoders only print that a file is damaged
        return decoder.pixels(str(path), how=how)
    data = np.fromfile(path, dtype=np.uint8)
    try:
        decoded = cv2.imdecode(data, how) if data.size else None
    except cv2.error:  # more pixels than OpenCV's own limit, which formats that we know no header of can claim
        decoded = None
    if decoded is None:
        raise ValueError("not a decodable image" if data.size else "empty file")
    return decoded


def _composited(image: np.ndarray, header: ImageHeader, path: str | Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """As 8-bit grey or RGB, on black where it is transparent."""
    # Opacity is always on the full 16-bit scale and would hide that the pixels use fewer bits.
    colours, opacity = (image[..., :3], image[..., 3:]) if image.ndim == 3 else (image, None)
    if header.colour_key is not None and opacity is None:
        opacity = (image != header.colour_key) * image.dtype.type(np.iinfo(image.dtype).max)
    shown = _to_grey_or_rgb(_to_eight_bit(colours, path))
    if header.white_is_zero and image.dtype == np.uint16:  # OpenCV turns those of 8 bits round itself
        shown = 255 - shown
    if not header.transparent or opacity is None or not opacity.size or opacity.min() == np.iinfo(image.dtype).max:
        return shown, ()
    if not header.multiplied:
        shown = np.round(shown * (opacity / np.float32(np.iinfo(image.dtype).max))).astype(np.uint8)
    return shown, ("transparent",)


def _to_eight_bit(image: np.ndarray, path: str | Path) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise UnreadableImageError(
            f"Expected 8-bit or 16-bit pixels. Received: {path} ({image.dtype} pixels). Convert it to 16-bit PNG."
        )
    top = max(int(image.max()), 1)
    bits = next(bits for bits in (8, 10, 12, 14, 16) if top < 2**bits)
    # Looked up, since an image as float32 would take twice its own memory, and its rounded copy again.
    levels = np.round(np.arange(2**bits, dtype=np.float32) * (255.0 / (2**bits - 1))).astype(np.uint8)
    return levels[image]


def _to_grey_or_rgb(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        return image
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return np.ascontiguousarray(image[..., 0])
