"""Moving training images: anew in every step by Keras layers, or once, as a few fixed views of each image.

``augmentation_layers`` makes frozen layers run in every step; with fixed views they run once a view, and training draws
one of the views. Neither is part of a model or applied in scoring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
import numpy as np
from scipy.stats import qmc

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError

# The fill modes of Keras' random layers: what is seen beyond the border.
BORDERS = {
    "reflect": cv2.BORDER_REFLECT,  # d c b a | a b c d | d c b a
    "constant": cv2.BORDER_CONSTANT,  # 0 0 0 0 | a b c d | 0 0 0 0
    "nearest": cv2.BORDER_REPLICATE,  # a a a a | a b c d | d d d d
    "wrap": cv2.BORDER_WRAP,  # a b c d | a b c d | a b c d
}


@dataclass(frozen=True)
class Augmentation:
    """How far training images are moved.

    Args:
        mirror: left-right mirroring, with probability one half.
        shift: largest shift, as a share of height and width.
        zoom: largest zoom in or out, as a share.
        rotation: largest rotation either way, in degrees.
        brightness: largest change of brightness, in grey levels of 255.
        fill: what is seen beyond the border: one of ``BORDERS``.
    """

    mirror: bool = True
    shift: float = 0.1
    zoom: float = 0.1
    rotation: float = 0.0
    brightness: float = 0.0
    fill: str = "reflect"


def augmentation_layers(settings: Augmentation, seed: int) -> list[keras.layers.Layer]:
    """The Keras layers for these settings, for float32 images (batch, H, W, 3) in [0, 255]; the seed decides."""
    layers: list[keras.layers.Layer] = []
    if settings.mirror:
        layers.append(keras.layers.RandomFlip("horizontal", seed=seed))
    if settings.shift:
        layers.append(keras.layers.RandomTranslation(settings.shift, settings.shift, settings.fill, seed=seed + 1))
    if settings.zoom:
        layers.append(keras.layers.RandomZoom(settings.zoom, None, settings.fill, seed=seed + 2))
    if settings.rotation:
        layers.append(keras.layers.RandomRotation(settings.rotation / 360.0, settings.fill, seed=seed + 3))
    if settings.brightness:
        layers.append(keras.layers.RandomBrightness(settings.brightness / 255.0, value_range=(0, 255), seed=seed + 4))
    return layers


@dataclass(frozen=True)
class FixedView:
    """One look at an image: mirrored, then rotated and zoomed about its centre, shifted, and made brighter.

    Directions are those of Keras' random layers. The default changes nothing.

    Args:
        mirror: left and right exchanged.
        shift_y, shift_x: downwards and to the right, as a share of height and width.
        zoom: as a share, above -1: what is seen is 1 + zoom times as wide and high, so a positive zoom is farther away.
        rotation: in degrees, counter-clockwise.
        brightness: added, in grey levels of 255; the result is rounded and clipped to [0, 255].
        fill: what is seen beyond the border: one of ``BORDERS``.

    Raises:
        ConfigurationError: the fill mode is unknown.
    """

    mirror: bool = False
    shift_y: float = 0.0
    shift_x: float = 0.0
    zoom: float = 0.0
    rotation: float = 0.0
    brightness: float = 0.0
    fill: str = "reflect"

    def __post_init__(self) -> None:
        if self.fill not in BORDERS:
            raise ConfigurationError(
                f"Expected a fill mode of {', '.join(BORDERS)}. Received: fill={self.fill!r}. Choose one of these."
            )

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """The view of an image: uint8 (H, W, 3) to uint8 (H, W, 3)."""
        if self.mirror:
            pixels = np.ascontiguousarray(np.flip(pixels, axis=1))
        if self.shift_y or self.shift_x or self.zoom or self.rotation:  # all at once: pixels are interpolated once
            height, width = pixels.shape[:2]
            centre = ((width - 1) / 2, (height - 1) / 2)
            matrix = cv2.getRotationMatrix2D(centre, self.rotation, 1 / (1 + self.zoom))
            matrix[:, 2] += (self.shift_x * width, self.shift_y * height)
            pixels = cv2.warpAffine(pixels, matrix, (width, height), borderMode=BORDERS[self.fill])
        if self.brightness:
            pixels = np.clip(np.rint(np.arange(256) + self.brightness), 0, 255).astype(np.uint8)[pixels]
        return pixels


def fixed_views(count: int, limits: Augmentation) -> tuple[FixedView, ...]:
    """At most ``count`` views spread evenly within the limits; a larger count begins with those of a smaller one.

    The first changes nothing; the second is the mirror, where the limits allow mirroring; the others are points of a
    Sobol sequence (Joe and Kuo, SIAM J. Sci. Comput. 30, 2008), whose every beginning covers the limits evenly. The
    mirror is one of its dimensions, so that half of the views are mirrored and no movement is seen mirrored only.

    Raises:
        ConfigurationError: ``count`` is below 1, or the fill mode is unknown.
    """
    if count < 1:
        raise ConfigurationError(
            f"Expected at least 1 view of each image. Received: views={count}. 1 is the image as it is."
        )
    views = [FixedView(), FixedView(mirror=True)] if limits.mirror else [FixedView()]
    if limits.shift or limits.zoom or limits.rotation or limits.brightness:
        points = qmc.Sobol(6, scramble=False).random_base2(math.ceil(math.log2(count + 2)))
        # the first two points, a corner and the centre, are left out: the image as it is has its place already
        views += [_view(point, limits) for point in points[2 : count + 2]]
    return tuple(views[:count])


def _view(point: np.ndarray, limits: Augmentation) -> FixedView:
    reach = (limits.shift, limits.shift, limits.zoom, limits.rotation, limits.brightness)
    # Rounded, as these numbers name the view in a cache; adding 0.0 makes a zero of -0.0.
    shift_y, shift_x, zoom, rotation, brightness = (
        round(limit * (2 * float(share) - 1), 4) + 0.0 for limit, share in zip(reach, point[1:], strict=True)
    )
    mirror = limits.mirror and bool(point[0] < 0.5)
    return FixedView(mirror, shift_y, shift_x, zoom, rotation, brightness, limits.fill)
