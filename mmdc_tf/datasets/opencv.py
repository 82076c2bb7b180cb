"""OpenCV, imported in one place: a missing system library is one clear line, and no format decodes without bound."""

from __future__ import annotations

import os
from pathlib import Path

from mmdc_tf.errors import SystemLibraryError, UnreadableImageError

MAX_PIXELS = 200_000_000
"""A film of 24 × 30 cm has 115 million pixels at 25 µm, the finest of the film scanners."""

# OpenCV's own limit is five times as high, and holds for formats too whose headers nobody else looks at.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

try:
    import cv2
except ImportError as error:
    raise SystemLibraryError(
        "opencv-python needs the system libraries libGL and libglib. "
        f"Received: import error={str(error)!r}. "
        "Install them (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0; "
        "Fedora: dnf install mesa-libGL glib2), or replace the package: "
        "pip uninstall opencv-python && pip install opencv-python-headless."
    ) from error

__all__ = ["MAX_PIXELS", "cv2", "require_few_pixels"]


def require_few_pixels(width: int, height: int, path: str | Path) -> None:
    """Raises UnreadableImageError for an image of more than ``MAX_PIXELS``, before it is decoded."""
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"Expected an image of at most {MAX_PIXELS // 10**6} million pixels. Received: {path} (its header claims "
            f"{width:,} × {height:,} pixels). Save it at a lower resolution, or remove it."
        )
