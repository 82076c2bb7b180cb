"""Images for the tests of the readers and of near-twins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmdc_tf.datasets.opencv import cv2


def noise(seed: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size), np.uint8)


def texture(seed: int, size: int = 96, sigmas: Sequence[float] = (3,)) -> np.ndarray:
    """Smooth random texture, so that resizing keeps what there is to see."""
    rng = np.random.default_rng(seed)
    smooth = sum(cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), sigma) * sigma for sigma in sigmas)
    return np.clip(128 + smooth / np.std(smooth) * 40, 0, 255).astype(np.uint8)


def write(path: Path, image: np.ndarray | int) -> Path:
    """An image, or noise of this seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), noise(image) if isinstance(image, int) else image)
    return path


def write_all(folder: Path, images: Sequence[np.ndarray]) -> list[Path]:
    return [write(folder / f"{number}.png", image) for number, image in enumerate(images)]
