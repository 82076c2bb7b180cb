"""OpenCV, imported in one place: a missing system library is one clear line, and no format decodes without bound."""

from __future__ import annotations

import os

from mmdc_tf.datasets.image_header import MAX_PIXELS
from mmdc_tf.errors import SystemLibraryError

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

__all__ = ["cv2"]
