"""The ultrasound phantom: who is in it, and drawing one image: not a reproduction, fitted to no real image.

It has layers of skin, fat, gland and muscle, speckle, attenuation with depth, and a dark lesion with the signs that
textbooks give for each class. Lengths are in units of the image height, layers float32 (H, W) about [0, 1].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmdc_tf.datasets import phantom_images as drawing
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError

ULTRASOUND_SHARES = {"benign": 0.45, "malignant": 0.30, "normal": 0.25}
MIN_ULTRASOUND_IMAGES = 12
AMBIGUOUS_ULTRASOUND_SHARE, NEAR_TWIN_SHARE, COLOURED_SHARE = 0.15, 0.30, 0.05
"""Shares of subjects with a lesion, of images that are pairs of one subject imaged twice, and of all images."""
TWIN_SHIFT = 0.006
"""Greatest shift of a repeated image, as a share of its size."""


class UltrasoundSubject(NamedTuple):
    """What an ultrasound image shows: a seed, and a lesion "none", "smooth", "irregular" or "ambiguous"."""

    seed: int
    lesion: str


class UltrasoundScan(NamedTuple):
    """One image of the ultrasound phantom; ``exposure`` is 0, or 1 for a subject's second image, its near-twin."""

    label: str
    number: int
    subject: UltrasoundSubject
    exposure: int
    coloured: bool


class Ultrasound(NamedTuple):
    """A drawn ultrasound image, uint8 (S, S, 3) RGB, and its mask, uint8 (S, S), 255 on the lesion."""

    image: np.ndarray
    lesion_mask: np.ndarray


def ultrasound_scans(images: int = 120, seed: int = 0) -> tuple[UltrasoundScan, ...]:
    """Who is in the ultrasound phantom, at least 12 images, by label and number; near-twins stand apart, as in BUSI."""
    drawing.require_cohort(images, MIN_ULTRASOUND_IMAGES, "images", seed)
    rng = np.random.default_rng([seed, 2])
    ends = np.round(images * np.cumsum([0.0, *ULTRASOUND_SHARES.values()])).astype(int)
    coloured = drawing.quota(rng, images, COLOURED_SHARE)
    scans = []
    for label, first, end in zip(ULTRASOUND_SHARES, ends[:-1], ends[1:], strict=True):
        count = int(end - first)
        repeats = round(NEAR_TWIN_SHARE * count / 2)
        lesions = _ultrasound_lesions(rng, label, count - repeats)
        subjects = [UltrasoundSubject(int(rng.integers(2**31)), lesion) for lesion in lesions]
        exposures = [*((subject, 0) for subject in subjects), *((subject, 1) for subject in subjects[:repeats])]
        for turn, place in enumerate(rng.permutation(count)):
            subject, exposure = exposures[place]
            scans.append(UltrasoundScan(label, turn + 1, subject, exposure, int(first) + turn in coloured))
    return tuple(scans)


def _ultrasound_lesions(rng: drawing.Random, label: str, count: int) -> list[str]:
    if label == "normal":
        return ["none"] * count
    ambiguous = drawing.quota(rng, count, AMBIGUOUS_ULTRASOUND_SHARE)
    plain = {"benign": "smooth", "malignant": "irregular"}[label]
    return ["ambiguous" if place in ambiguous else plain for place in range(count)]


def draw_ultrasound(
    subject: UltrasoundSubject, size: int = 128, exposure: int = 0, coloured: bool = False
) -> Ultrasound:
    """Draws one image of a phantom subject; the same arguments give the same bytes.

    A smooth lesion is an oval wider than tall with brighter tissue below it, an irregular one taller than wide with a
    jagged outline and a shadow below it, an ambiguous one round with neither.

    Args:
        subject: what is imaged.
        size: height and width in pixels, at least 64.
        exposure: 0 for the first image; 1, 2 … for its near-twins: a small shift, another gain and new noise.
        coloured: True for a scan with coloured calipers.

    Raises:
        ConfigurationError: a size below 64 or a negative exposure.
    """
    if size < drawing.LEAST_SIDE or exposure < 0:
        raise ConfigurationError(
            f"Expected size >= {drawing.LEAST_SIDE} and exposure >= 0. Received: size={size}, exposure={exposure}. "
            "Correct the value."
        )
    rng = np.random.default_rng([subject.seed, 21])
    echo = _layers(rng, size)
    lesion, centre = _lesion_in_gland(subject, rng, size)
    below = cv2.GaussianBlur(lesion.weight.max(axis=0, keepdims=True), (0, 0), size / 60)
    below = below * drawing.smooth_step(drawing.pixel_grid(size, size)[1], centre[1], centre[1] + 0.12)
    change = {"smooth": 0.7, "irregular": -0.7}.get(subject.lesion, 0.0)
    echo = echo * (1.0 + change * below * rng.uniform(0.7, 1.0))
    image, core = _speckled(echo * (1.0 - lesion.weight * rng.uniform(0.8, 0.92)), rng), lesion.core
    if exposure:
        image, core = _again(image, core, np.random.default_rng([subject.seed, 22, exposure]))
    pixels = cv2.cvtColor(drawing.eight_bit(image), cv2.COLOR_GRAY2RGB)
    if coloured:
        arm = max(2, size // 40)
        for offset in (-0.15, 0.15):  # two yellow crosses beside the lesion's place, a green tick at the edge
            place = round((centre[0] + offset) * size), round(centre[1] * size)
            cv2.drawMarker(pixels, place, (255, 220, 0), cv2.MARKER_CROSS, 2 * arm, 1)
        cv2.rectangle(pixels, (2, size // 2), (2 + arm, size // 2 + arm), (0, 230, 60), -1)
    return Ultrasound(pixels, np.uint8(255) * core)


def _layers(rng: drawing.Random, size: int) -> np.ndarray:
    """Echo strength of skin, fat, gland and muscle with wavy borders and bright septa."""
    shape = (size, size)
    _, y = drawing.pixel_grid(*shape)
    wave = 0.025 * drawing.smooth_noise(rng, (1, size), (1, 4))
    fat_end, gland_end = rng.uniform(0.18, 0.32) + wave, rng.uniform(0.5, 0.75) - 1.4 * wave
    fat, gland, muscle = rng.uniform(0.24, 0.34), rng.uniform(0.42, 0.58), rng.uniform(0.16, 0.26)
    in_gland, in_muscle = drawing.smooth_step(y - fat_end, -0.02, 0.02), drawing.smooth_step(y - gland_end, -0.02, 0.02)
    echo = fat + (gland - fat) * in_gland + (muscle - gland) * in_muscle
    echo = echo * (
        1.0 + 0.28 * drawing.smooth_noise(rng, shape, (6, 5)) + 0.16 * drawing.smooth_noise(rng, shape, (14, 9))
    )
    septa = np.exp(-((drawing.smooth_noise(rng, shape, (int(rng.integers(10, 16)), 4)) / 0.13) ** 2))
    fascia = np.exp(-(((y - gland_end) / 0.012) ** 2))
    echo = np.maximum(echo, 0.03) + 0.28 * septa * (1.0 - 0.5 * in_muscle) + 0.3 * fascia
    skin = 1.0 - drawing.smooth_step(y, rng.uniform(0.03, 0.05), 0.06)
    return (echo * (1.0 - skin) + 0.75 * skin).astype(np.float32)


def _lesion_in_gland(
    subject: UltrasoundSubject, rng: drawing.Random, size: int
) -> tuple[drawing.Lesion, tuple[float, float]]:
    """The lesion and its centre."""
    centre = float(rng.uniform(0.33, 0.67)), float(rng.uniform(0.36, 0.5))
    if subject.lesion == "none":
        return drawing.no_lesion((size, size)), centre
    radius = rng.uniform(0.09, 0.14)
    aspect, lobes = {
        "smooth": (rng.uniform(1.4, 1.8), 0.02),
        "ambiguous": (rng.uniform(0.95, 1.1), 0.06),
        "irregular": (rng.uniform(0.68, 0.85), 0.12),
    }[subject.lesion]
    stretch = float(np.sqrt(aspect))
    sizes, phases = rng.uniform(0.5, 1.0, 7) * lobes, rng.uniform(0, 2 * np.pi, 7)
    outline = drawing.Outline(radius * stretch, radius / stretch, sizes, phases, 0.12)
    return drawing.drawn_lesion(outline, centre, (size, size)), centre


def _speckled(echo: np.ndarray, rng: drawing.Random) -> np.ndarray:
    """Attenuation with depth, Rayleigh speckle wider than high, compression and gain."""
    waves = rng.standard_normal((2, *echo.shape)).astype(np.float32)
    speckle = np.hypot(*(cv2.GaussianBlur(wave, (0, 0), sigmaX=1.4, sigmaY=0.7) for wave in waves))
    speckle /= speckle.mean()
    attenuated = echo * np.exp(-rng.uniform(0.4, 1.3) * drawing.pixel_grid(*echo.shape)[1])
    dropout = 1.0 + 0.1 * drawing.smooth_noise(rng, (1, echo.shape[1]), (1, 8))
    return rng.uniform(0.85, 1.1) * (attenuated * dropout * (0.5 + 0.5 * speckle)).clip(0) ** 0.75


def _again(image: np.ndarray, core: np.ndarray, rng: drawing.Random) -> tuple[np.ndarray, np.ndarray]:
    shift = rng.uniform(-TWIN_SHIFT, TWIN_SHIFT, 2) * image.shape[0]
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    size = image.shape[::-1]
    moved = cv2.warpAffine(image, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    mask = cv2.warpAffine(core.astype(np.uint8), move, size, flags=cv2.INTER_NEAREST) > 0
    noise = 0.01 * rng.standard_normal(image.shape)
    return moved * rng.uniform(0.92, 1.08) + noise, mask
