"""How many pixels an image file claims to hold, known before any of them is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from mmdc_tf.errors import UnreadableImageError

MAX_PIXELS = 200_000_000
"""A film of 24 × 30 cm has 115 million pixels at 25 µm, the finest of the film scanners."""

_Reader = Callable[[IO[bytes]], ImageFile.ImageFile]
_JPEG = b"\xff\xd8"
# Pillow's file classes, since Image.open refuses by a limit of its own that only a global setting can move.
_HEADERS: dict[bytes, _Reader] = {
    b"\x89PNG": PngImagePlugin.PngImageFile,
    _JPEG: JpegImagePlugin.JpegImageFile,
    b"II": TiffImagePlugin.TiffImageFile,
    b"MM": TiffImagePlugin.TiffImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
}


def require_few_pixels(width: int, height: int, path: str | Path) -> None:
    """Refuses an image that is too large to be decoded.

    Args:
        width: in pixels.
        height: in pixels.
        path: for the message.

    Raises:
        UnreadableImageError: more than ``MAX_PIXELS``.
    """
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"Expected an image of at most {MAX_PIXELS // 10**6} million pixels. Received: {path} (its header claims "
            f"{width:,} × {height:,} pixels). Save it at a lower resolution, or remove it."
        )


def require_few_pixels_in_header(path: str | Path) -> None:
    """The same for a PNG, JPEG, TIFF or BMP file, by its header alone; other files are left to their decoder.

    Args:
        path: the file; one that cannot be opened is left to the decoder as well.

    Raises:
        UnreadableImageError: the header claims more than ``MAX_PIXELS``.
    """
    size = _header_size(path)
    if size is not None:
        require_few_pixels(*size, path)


def jpeg_size(path: str | Path) -> tuple[int, int] | None:
    """Width and height in pixels that a JPEG file's header claims; None for other files and broken headers."""
    return _header_size(path, {_JPEG: _HEADERS[_JPEG]})


def _header_size(path: str | Path, readers: Mapping[bytes, _Reader] = _HEADERS) -> tuple[int, int] | None:
    try:
        with Path(path).open("rb") as file:
            start = file.read(4)
            reader = next((reader for magic, reader in readers.items() if start.startswith(magic)), None)
            file.seek(0)
            return reader(file).size if reader else None
    except Exception:  # a broken header raises errors of a dozen classes; the decoder says what is wrong
        return None
