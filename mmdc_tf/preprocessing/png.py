"""Writing pixels as PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.io import write_with


def write_png(path: Path, image: np.ndarray) -> None:
    """Writes uint8 (H, W, 3) RGB as PNG, whole or not at all.

    Raises:
        OSError: the folder cannot be made or written to, or is full.
    """
    _, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    write_with(path, lambda temporary: temporary.write_bytes(content.tobytes()))
