"""Reading one image file into pixels, with errors that name the file: first its header, then what it holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from mmdc_tf.datasets.decoder_process import decoder
from mmdc_tf.datasets.dicom import DICOM_SUFFIXES, is_dicom, read_dicom
from mmdc_tf.datasets.opencv import cv2, require_few_pixels
from mmdc_tf.errors import UnreadableImageError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", *DICOM_SUFFIXES)

# Pillow's file classes, since Image.open refuses by a limit of its own that only a global setting can move.
_READERS: dict[bytes, type[ImageFile.ImageFile]] = {
    b"\x89PNG": PngImagePlugin.PngImageFile,
    b"\xff\xd8": JpegImagePlugin.JpegImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
}
_TIFF = (b"II", b"MM")
REDUCTIONS = (8, 4, 2, 1)
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _EXTRA = 256, 257, 258, 262, 274, 277, 338
_UNASSOCIATED = 2
_REDUCED = {
    1: cv2.IMREAD_UNCHANGED,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

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
            (``opencv.MAX_PIXELS``: an image whose header claims more is refused before it is decoded); or a
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
    header = _header(path)
    require_few_pixels(header.width, header.height, path)
    if header.frames > 1:
        raise UnreadableImageError(
            f"Expected one image a file. Received: {path} ({header.frames} pages or pictures in one file). Save them "
            "one by one, or remove it."
        )
    try:
        image = _decoded(path, header, _REDUCED[reduction])
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's word for modes that it does not know
        raise UnreadableImageError(
            f"Expected a PNG, JPEG, TIFF, BMP or DICOM image. Received: {path} "
            f"({getattr(error, 'strerror', None) or error}). Restore the file or remove its row."
        ) from error
    shown, flags = _composited(image, header, path)
    return np.ascontiguousarray(_UPRIGHT.get(header.orientation, np.asarray)(shown)), flags


def reductions(jpeg: tuple[int, int] | None, least_side: float) -> tuple[int, ...]:
    """By how much an image may be reduced while it is decoded, the largest first, 1 at the end.

    Args:
        jpeg: width and height of a JPEG file (``jpeg_size``), which its decoder can reduce and then has less to do;
            None for any other file.
        least_side: the shorter side of the reduced image has at least so many pixels.
    """
    return tuple(factor for factor in REDUCTIONS if factor == 1 or (jpeg and min(jpeg) / factor >= least_side))


def jpeg_size(path: str | Path) -> tuple[int, int] | None:
    """Width and height in pixels that a JPEG file's header claims; None for other files and broken headers."""
    header = _header(path)
    return (header.width, header.height) if header.kind == "JPEG" and header.width else None


@dataclass(frozen=True)
class _Header:
    """What the file claims.

    Args:
        kind: "JPEG", "PNG", "TIFF", "BMP", "GIF" or "WEBP"; "" for other files. All else is as here where it is
            unknown.
        width, height: in pixels; of a JPEG file upright, as shown.
        frames: pages of a TIFF file, pictures of an animation.
        orientation: EXIF's 1 to 8, which the decoder leaves to us. TIFF files have their own, which it applies.
        bits, samples: of a pixel, for TIFF files.
        white_is_zero: of a TIFF file.
        transparent: there is an opacity that the colours as stored have not been multiplied by.
        multiplied: the decoder multiplies them.
        colour_key: the grey that stands for transparent in a PNG file.
    """

    kind: str = ""
    width: int = 0
    height: int = 0
    frames: int = 1
    orientation: int = 1
    bits: int = 8
    samples: int = 1
    white_is_zero: bool = False
    transparent: bool = False
    multiplied: bool = False
    colour_key: int | None = None


def _header(path: str | Path) -> _Header:
    """One of nothing for other or broken files; what is wrong with them is left to the decoder."""
    kind = ""
    with contextlib.suppress(Exception), Path(path).open("rb") as file:  # a broken one raises errors of a dozen classes
        start = file.read(4)
        file.seek(0)
        if start.startswith(_TIFF):
            kind = "TIFF"
            return _of_tiff(file)
        for magic, reader in _READERS.items():
            if start.startswith(magic):
                kind = str(reader.format)
                return _of_pillow(reader(file))
    return _Header(kind)


def _of_pillow(image: ImageFile.ImageFile) -> _Header:
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        exif.load(image.info.get("exif", b""))
    orientation = exif.get(_ORIENTATION, 1)
    key = image.info.get("transparency")
    if isinstance(key, int) and image.tile:
        key *= {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)  # pixels are read as 8 bits, the key is not
    return _Header(
        str(image.format),
        *(image.size if orientation < 5 else image.size[::-1]),
        frames=getattr(image, "n_frames", 1),
        orientation=orientation if orientation in range(1, 9) else 1,
        transparent=image.mode in ("RGBA", "LA", "PA") or key is not None,
        colour_key=key if isinstance(key, int) and image.mode != "P" else None,
    )


def _of_tiff(file: IO[bytes]) -> _Header:
    start = file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(start if start[2] != 43 else start + file.read(8))
    pages, places = [], set()
    while tags.next and tags.next not in places:
        places.add(tags.next)
        file.seek(tags.next)
        tags.load(file)
        pages.append(dict(tags))
    first = pages[0]
    bits, samples = max(first.get(_BITS, (1,))), first.get(_SAMPLES, 1)
    return _Header(
        "TIFF",
        first[_WIDTH],
        first[_HEIGHT],
        frames=len(pages),
        bits=bits,
        samples=samples,
        white_is_zero=first.get(_PHOTOMETRIC) == 0,
        transparent=_UNASSOCIATED in first.get(_EXTRA, ()),
        multiplied=bits == 8 and samples > 2,
    )


def _decoded(path: str | Path, header: _Header, how: int) -> np.ndarray:
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


def _composited(image: np.ndarray, header: _Header, path: str | Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """As 8-bit grey or RGB, on black where it is transparent."""
    # Opacity is always on the full 16-bit scale and would hide that the pixels use fewer bits.
    colours, opacity = (image[..., :3], image[..., 3:]) if image.ndim == 3 else (image, None)
    if header.colour_key is not None and opacity is None:
        opacity = (image != header.colour_key) * image.dtype.type(np.iinfo(image.dtype).max)
    shown = _to_eight_bit(colours, path)
    if shown.ndim == 3:
        shown = cv2.cvtColor(shown, cv2.COLOR_BGR2RGB) if shown.shape[2] == 3 else np.ascontiguousarray(shown[..., 0])
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
    bits = next(bits for bits in (8, 10, 12, 14, 16) if image.max() < 2**bits)
    # Looked up, since an image as float32 would take twice its own memory, and its rounded copy again.
    levels = np.round(np.arange(2**bits, dtype=np.float32) * (255.0 / (2**bits - 1))).astype(np.uint8)
    return levels[image]
