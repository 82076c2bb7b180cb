"""A fixed number of looks at each image: augmentation for features that are computed once.

``augmentation_layers`` moves an image anew in every step, so that frozen layers have to run in every step too. With a
few fixed views of each image they run once a view, and training draws one of the views.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import qmc

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.inputs.augmentation import Augmentation

# The fill modes of Keras' random layers: what is seen beyond the border.
BORDERS = {
    "reflect": cv2.BORDER_REFLECT,  # d c b a | a b c d | d c b a
    "constant": cv2.BORDER_CONSTANT,  # 0 0 0 0 | a b c d | 0 0 0 0
    "nearest": cv2.BORDER_REPLICATE,  # a a a a | a b c d | d d d d
    "wrap": cv2.BORDER_WRAP,  # a b c d | a b c d | a b c d
}


@dataclass(frozen=True)
class FixedView:
    """One look at an image: mirrored, then rotated and zoomed about its centre, shifted, and made brighter.

    Directions are those of Keras' random layers. The default changes nothing.

    Args:
        mirror: left and right exchanged.
        shift_y: downwards, as a share of the height.
        shift_x: to the right, as a share of the width.
        zoom: as a share, above -1: what is seen is 1 + zoom times as wide and high, so a positive zoom is farther away.
        rotation: in degrees, counter-clockwise.
        brightness: added, in grey levels of 255; the result is rounded and clipped to [0, 255].
        fill: what is seen beyond the border: ``"reflect"``, ``"constant"``, ``"nearest"`` or ``"wrap"``.
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
        if self.shift_y or self.shift_x or self.zoom or self.rotation:
            pixels = self._moved(pixels)
        if self.brightness:
            pixels = np.clip(np.rint(np.arange(256) + self.brightness), 0, 255).astype(np.uint8)[pixels]
        return pixels

    def _moved(self, pixels: np.ndarray) -> np.ndarray:
        """All movements at once, so that pixels are interpolated once."""
        height, width = pixels.shape[:2]
        centre = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, self.rotation, 1 / (1 + self.zoom))
        matrix[:, 2] += (self.shift_x * width, self.shift_y * height)
        return cv2.warpAffine(pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=BORDERS[self.fill])


def fixed_views(count: int, limits: Augmentation) -> tuple[FixedView, ...]:
    """Views spread evenly within the limits; the first views of a larger count are those of a smaller one.

    The first changes nothing; the second is the mirror, where the limits allow mirroring; the others are points of a
    Sobol sequence (Joe and Kuo, SIAM J. Sci. Comput. 30, 2008), whose every beginning covers the limits evenly. The
    mirror is one of its dimensions, so that half of the views are mirrored and no movement is seen mirrored only.

    Args:
        count: the number of views, at least 1.
        limits: how far an image may be moved either way.

    Returns:
        ``count`` views; fewer where the limits allow no more, as two where they allow mirroring alone.

    Raises:
        ConfigurationError: ``count`` is below 1, or the fill mode is unknown.
    """
    if count < 1:
        raise ConfigurationError(
            f"Expected at least 1 view of each image. Received: views={count}. 1 is the image as it is."
        )
    plain = [FixedView(), FixedView(mirror=True)] if limits.mirror else [FixedView()]
    moves = limits.shift or limits.zoom or limits.rotation or limits.brightness
    moved = [_view(point, limits) for point in _points(count)] if moves else []
    return tuple([*plain, *moved][:count])


def _points(count: int) -> np.ndarray:
    """``count`` points of the open unit cube, float64 (count, 6)."""
    # The first two points, a corner and the centre, are left out: the image as it is has its place already.
    return qmc.Sobol(6, scramble=False).random_base2(math.ceil(math.log2(count + 2)))[2 : count + 2]


def _view(point: np.ndarray, limits: Augmentation) -> FixedView:
    """The view at a point of the unit cube, whose centre is no movement at all."""
    reach = (limits.shift, limits.shift, limits.zoom, limits.rotation, limits.brightness)
    # Rounded, as these numbers name the view in a cache; adding 0.0 makes a zero of -0.0.
    shift_y, shift_x, zoom, rotation, brightness = (
        round(limit * (2 * float(share) - 1), 4) + 0.0 for limit, share in zip(reach, point[1:], strict=True)
    )
    mirror = limits.mirror and bool(point[0] < 0.5)
    return FixedView(mirror, shift_y, shift_x, zoom, rotation, brightness, limits.fill)
