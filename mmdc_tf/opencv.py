"""OpenCV, imported in one place so that a missing system library is one clear line."""

from __future__ import annotations

from mmdc_tf.errors import SystemLibraryError

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
