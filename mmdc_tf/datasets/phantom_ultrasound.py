"""Drawing one ultrasound image of the phantom. A phantom: not a reproduction of any patient or dataset.

Nothing here is fitted to real images: layers of skin, fat, gland and muscle, speckle, attenuation with depth, and a
dark lesion with the signs that textbooks give for each class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom_cohort import UltrasoundSubject
from mmdc_tf.datasets.phantom_shapes import (
    LesionField,
    Outline,
    draw_lesion,
    pixel_grid,
    smooth_noise,
    smooth_step,
)
from mmdc_tf.errors import ConfigurationError

MIN_SIZE = 64
TWIN_SHIFT = 0.006
"""Greatest shift of a repeated image, as a share of its size."""


class Ultrasound(NamedTuple):
    """A drawn ultrasound image with its truth.

    Args:
        image: uint8 (S, S, 3), RGB in [0, 255]; the channels are equal except on coloured marks.
        lesion_mask: uint8 (S, S), 255 on the lesion; all 0 for a normal subject.
    """

    image: np.ndarray
    lesion_mask: np.ndarray


def draw_ultrasound(
    subject: UltrasoundSubject, size: int = 128, exposure: int = 0, coloured: bool = False
) -> Ultrasound:
    """Draws one image of a phantom subject.

    A smooth lesion is an oval wider than tall with posterior enhancement (brighter tissue below it); an irregular one
    is taller than wide with a jagged outline and a shadow below it; an ambiguous one is round with neither.

    Args:
        subject: what is imaged.
        size: height and width in pixels, at least 64.
        exposure: 0 for the first image; 1, 2 … for repeats, which are near-twins of the first.
        coloured: True for a scan with coloured calipers.

    Returns:
        The image and its mask; the same arguments give the same bytes.

    Raises:
        ConfigurationError: a size below 64 or a negative exposure.
    """
    if size < MIN_SIZE or exposure < 0:
        raise ConfigurationError(
            f"Expected size >= {MIN_SIZE} and exposure >= 0. Received: size={size}, exposure={exposure}. "
            "Correct the value."
        )
    rng = np.random.default_rng([subject.seed, 21])
    echo = _layers(rng, size)
    lesion, centre = _place_lesion(subject, rng, size)
    echo = _with_lesion(echo, subject, lesion, centre, rng)
    image = _display(echo, rng)
    image, core = _expose(image, lesion.core, np.random.default_rng([subject.seed, 22, exposure]), exposure)
    pixels = cv2.cvtColor(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    if coloured:
        _draw_calipers(pixels, centre)
    return Ultrasound(pixels, np.uint8(255) * core)


def _layers(rng: np.random.Generator, size: int) -> np.ndarray:
    """Echo strength of skin, fat, gland and muscle with wavy borders and bright septa: float32 (S, S)."""
    shape = (size, size)
    _, y = pixel_grid(*shape)
    wave = 0.025 * smooth_noise(rng, (1, size), (1, 4))
    fat_end, gland_end = rng.uniform(0.18, 0.32) + wave, rng.uniform(0.5, 0.75) - 1.4 * wave
    fat, gland, muscle = rng.uniform(0.24, 0.34), rng.uniform(0.42, 0.58), rng.uniform(0.16, 0.26)
    in_gland, in_muscle = smooth_step(y - fat_end, -0.02, 0.02), smooth_step(y - gland_end, -0.02, 0.02)
    echo = fat + (gland - fat) * in_gland + (muscle - gland) * in_muscle
    echo = echo * (1.0 + 0.28 * smooth_noise(rng, shape, (6, 5)) + 0.16 * smooth_noise(rng, shape, (14, 9)))
    septa = np.exp(-((smooth_noise(rng, shape, (int(rng.integers(10, 16)), 4)) / 0.13) ** 2))
    fascia = np.exp(-(((y - gland_end) / 0.012) ** 2))
    echo = np.maximum(echo, 0.03) + 0.28 * septa * (1.0 - 0.5 * in_muscle) + 0.3 * fascia
    skin = 1.0 - smooth_step(y, rng.uniform(0.03, 0.05), 0.06)
    return (echo * (1.0 - skin) + 0.75 * skin).astype(np.float32)


def _place_lesion(
    subject: UltrasoundSubject, rng: np.random.Generator, size: int
) -> tuple[LesionField, tuple[float, float]]:
    """The lesion in the gland and its centre (x, y) as shares of the size; empty layers for a normal subject."""
    centre = float(rng.uniform(0.33, 0.67)), float(rng.uniform(0.36, 0.5))
    if subject.lesion == "none":
        return LesionField(np.zeros((size, size), np.float32), np.zeros((size, size), bool)), centre
    radius = rng.uniform(0.09, 0.14)
    aspect, lobes = {
        "smooth": (rng.uniform(1.4, 1.8), 0.02),
        "ambiguous": (rng.uniform(0.95, 1.1), 0.06),
        "irregular": (rng.uniform(0.68, 0.85), 0.12),
    }[subject.lesion]
    stretch = float(np.sqrt(aspect))
    sizes = tuple(float(share) for share in rng.uniform(0.5, 1.0, 7) * lobes)
    phases = tuple(float(phase) for phase in rng.uniform(0, 2 * np.pi, 7))
    return draw_lesion(Outline(radius * stretch, radius / stretch, sizes, phases, 0.12), centre, size, size), centre


def _with_lesion(
    echo: np.ndarray,
    subject: UltrasoundSubject,
    lesion: LesionField,
    centre: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Darkens the lesion, and brightens or shadows what lies below it."""
    _, y = pixel_grid(*echo.shape)
    columns = cv2.GaussianBlur(lesion.weight.max(axis=0, keepdims=True), (0, 0), echo.shape[1] / 60)
    below = columns * smooth_step(y, centre[1], centre[1] + 0.12)
    change = {"none": 0.0, "smooth": 0.7, "ambiguous": 0.0, "irregular": -0.7}[subject.lesion]
    echo = echo * (1.0 + change * below * rng.uniform(0.7, 1.0))
    return echo * (1.0 - lesion.weight * rng.uniform(0.8, 0.92))


def _display(echo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Attenuation with depth, Rayleigh speckle wider than high, compression and gain: float32 (S, S), about [0, 1]."""
    _, y = pixel_grid(*echo.shape)
    waves = rng.standard_normal((2, *echo.shape)).astype(np.float32)
    real, imaginary = (cv2.GaussianBlur(wave, (0, 0), sigmaX=1.4, sigmaY=0.7) for wave in waves)
    speckle = np.hypot(real, imaginary)
    speckle /= speckle.mean()
    attenuated = echo * np.exp(-rng.uniform(0.4, 1.3) * y)
    dropout = 1.0 + 0.1 * smooth_noise(rng, (1, echo.shape[1]), (1, 8))
    return rng.uniform(0.85, 1.1) * (attenuated * dropout * (0.5 + 0.5 * speckle)).clip(0) ** 0.75


def _expose(
    image: np.ndarray, core: np.ndarray, rng: np.random.Generator, exposure: int
) -> tuple[np.ndarray, np.ndarray]:
    """A repeat of an image: a small shift, another gain, new electronic noise; the first exposure is unchanged."""
    if exposure == 0:
        return image, core
    shift = rng.uniform(-TWIN_SHIFT, TWIN_SHIFT, 2) * image.shape[0]
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    size = image.shape[::-1]
    moved = cv2.warpAffine(image, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    mask = cv2.warpAffine(core.astype(np.uint8), move, size, flags=cv2.INTER_NEAREST) > 0
    noise = 0.01 * rng.standard_normal(image.shape)
    return moved * rng.uniform(0.92, 1.08) + noise, mask


def _draw_calipers(pixels: np.ndarray, centre: tuple[float, float]) -> None:
    """Two yellow crosses beside the lesion's place and a green tick at the edge, in place."""
    size = pixels.shape[0]
    arm = max(2, size // 40)
    for offset in (-0.15, 0.15):
        place = round((centre[0] + offset) * size), round(centre[1] * size)
        cv2.drawMarker(pixels, place, (255, 220, 0), cv2.MARKER_CROSS, 2 * arm, 1)
    cv2.rectangle(pixels, (2, size // 2), (2 + arm, size // 2 + arm), (0, 230, 60), -1)
