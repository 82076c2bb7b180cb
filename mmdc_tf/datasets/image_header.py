"""What an image file says of its pixels, known before any of them is decoded."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

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

from mmdc_tf.errors import UnreadableImageError

MAX_PIXELS = 200_000_000
"""A film of 24 × 30 cm has 115 million pixels at 25 µm, the finest of the film scanners."""

# Pillow's file classes, since Image.open refuses by a limit of its own that only a global setting can move.
_READERS: dict[bytes, type[ImageFile.ImageFile]] = {
    b"\x89PNG": PngImagePlugin.PngImageFile,
    b"\xff\xd8": JpegImagePlugin.JpegImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
}
_TIFF = (b"II", b"MM")
_UNASSOCIATED, _ORIENTATION = 2, 274


@dataclass(frozen=True)
class ImageHeader:
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


def read_image_header(path: str | Path) -> ImageHeader:
    """Reads the header of a PNG, JPEG, TIFF, BMP, GIF or WebP file; one of nothing for other or broken files.

    Args:
        path: the file; what is wrong with one that cannot be opened is left to the decoder.
    """
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
    return ImageHeader(kind)


def _of_pillow(image: ImageFile.ImageFile) -> ImageHeader:
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        exif.load(image.info.get("exif", b""))
    orientation = exif.get(_ORIENTATION, 1)
    key = image.info.get("transparency")
    if isinstance(key, int) and image.tile:
        key *= {"L;2": 85, "L;4": 17}.get(str(image.tile[0].args), 1)  # pixels are read as 8 bits, the key is not
    return ImageHeader(
        str(image.format),
        *(image.size if orientation < 5 else image.size[::-1]),
        frames=getattr(image, "n_frames", 1),
        orientation=orientation if orientation in range(1, 9) else 1,
        transparent=image.mode in ("RGBA", "LA", "PA") or key is not None,
        colour_key=key if isinstance(key, int) and image.mode != "P" else None,
    )


def _of_tiff(file: IO[bytes]) -> ImageHeader:
    start = file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(start if start[2] != 43 else start + file.read(8))
    pages, places = [], set()
    while tags.next and tags.next not in places:
        places.add(tags.next)
        file.seek(tags.next)
        tags.load(file)
        pages.append(dict(tags))
    first = pages[0]
    bits, samples = max(first.get(258, (1,))), first.get(277, 1)
    return ImageHeader(
        "TIFF",
        first[256],
        first[257],
        frames=len(pages),
        bits=bits,
        samples=samples,
        white_is_zero=first.get(262) == 0,
        transparent=_UNASSOCIATED in first.get(338, ()),
        multiplied=bits == 8 and samples > 2,
    )


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


def jpeg_size(path: str | Path) -> tuple[int, int] | None:
    """Width and height in pixels that a JPEG file's header claims; None for other files and broken headers."""
    header = read_image_header(path)
    return (header.width, header.height) if header.kind == "JPEG" and header.width else None
