"""Noise on the image that a model is given, in steps, to see how its accuracy falls.

It is added after preprocessing, so that a step means the same whatever the resolution of the scan.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, InputError

REFERENCE_SIZE = 224
CLEAN = "clean"


@dataclass(frozen=True)
class Noise:
    """One kind of noise: its title and the unit of its four levels, from the mildest; an image and a level → noisy."""

    title: str
    unit: str
    levels: tuple[float, ...]
    apply: Callable[[np.ndarray, float], np.ndarray]


def add_noise(image: np.ndarray, noise: str, step: int) -> np.ndarray:
    """The image with noise of one kind and strength: uint8 (S, S, 3).

    The noise is drawn from the image's own content: the same image gets the same noise, wherever and whenever, and a
    higher step is the same draw made stronger. A grey image (three equal channels) stays grey.

    Args:
        image: uint8 (S, S, 3), RGB in [0, 255]; not changed.
        noise: a name of ``NOISES``, or ``"clean"``.
        step: 1 to 4; 0 is the image itself.

    Raises:
        ConfigurationError: the noise or step is unknown.
        InputError: an image of another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"Expected an image uint8 (S, S, 3). Received: image={image.dtype} {image.shape}. Preprocess it first."
        )
    if step == 0 and noise in (CLEAN, *NOISES):
        return image.copy()
    if noise not in NOISES or not 1 <= step <= len(NOISES[noise].levels):
        raise ConfigurationError(
            f"Expected noise of {', '.join(NOISES)} in steps 0 to 4. Received: noise={noise!r}, step={step}. "
            "Choose one of them."
        )
    kind = NOISES[noise]
    return kind.apply(image, kind.levels[step - 1])


def _gaussian(image: np.ndarray, deviation: float) -> np.ndarray:
    return _as_uint8(image + deviation * _normal(image, stream=0))


def _speckle(image: np.ndarray, deviation: float) -> np.ndarray:
    """Multiplied by 1 + n, n normal of this standard deviation: as ``skimage.util.random_noise`` does it."""
    return _as_uint8(image * (1.0 + deviation * _normal(image, stream=1)))


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian, sigma in pixels of an image of 224 and in proportion elsewhere; cut at four sigma."""
    sigma = sigma * image.shape[0] / REFERENCE_SIZE
    width = 2 * int(np.ceil(4.0 * sigma)) + 1
    return cv2.GaussianBlur(image, (width, width), sigma, borderType=cv2.BORDER_REFLECT_101)


def _jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    pixels = image[..., 0] if _is_grey(image) else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return cv2.cvtColor(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)


def _normal(image: np.ndarray, stream: int) -> np.ndarray:
    """Standard normal numbers that the image decides: (S, S, 3), or (S, S, 1) for a grey one."""
    rng = np.random.default_rng([stream, zlib.crc32(image.tobytes())])
    return rng.standard_normal((*image.shape[:2], 1 if _is_grey(image) else 3))


def _is_grey(image: np.ndarray) -> bool:
    return bool((image == image[..., :1]).all())


def _as_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


NOISES: dict[str, Noise] = {
    "gaussian": Noise("Gaussian noise", "standard deviation in grey levels", (5.0, 10.0, 20.0, 40.0), _gaussian),
    "speckle": Noise("Speckle", "standard deviation as a share", (0.05, 0.1, 0.2, 0.4), _speckle),
    "blur": Noise("Gaussian blur", "sigma in pixels of 224", (0.5, 1.0, 2.0, 4.0), _blur),
    "jpeg": Noise("JPEG compression", "quality", (75.0, 50.0, 25.0, 10.0), _jpeg),
}
