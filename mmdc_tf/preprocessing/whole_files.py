"""Files written to a temporary name and renamed, so that none is ever half-written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mmdc_tf.opencv import cv2


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all; its folder is made where it is absent.

    Raises:
        OSError: the folder cannot be made or written to, or is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".mmdc-tf-{os.getpid()}.tmp")  # short: the file's own name may be as long as allowed
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_png(path: Path, image: np.ndarray) -> None:
    """Writes uint8 (H, W, 3) RGB as PNG, whole or not at all.

    Raises:
        OSError: as for ``replace_file``.
    """
    _, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    replace_file(path, content.tobytes())
