"""Drawing one mammogram of the phantom. A phantom: not a reproduction of any patient or dataset.

Nothing here is fitted to real images. The anatomy is a half-ellipse with a skin line, fat, gland, strands, in MLO
views a pectoral muscle, and a lesion; it is drawn from seeds so that the four views of a patient share the texture's
statistics, as four views of a real patient do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom_cohort import PhantomPatient
from mmdc_tf.datasets.phantom_scanner import add_border, add_noise, add_white_strip, burn_label
from mmdc_tf.datasets.phantom_shapes import (
    LesionField,
    Outline,
    draw_lesion,
    pixel_grid,
    smooth_noise,
    smooth_step,
)
from mmdc_tf.datasets.schema import SIDES, VIEWS
from mmdc_tf.errors import ConfigurationError

WIDTH_PER_HEIGHT = 0.62
MIN_HEIGHT = 64
LESION_RADIUS = (0.056, 0.082)
"""Least and greatest lesion radius, in units of the image height."""
LIKENESS = 0.95
"""Share of the tissue's variance that the four views of a patient have in common."""
GLAND_THRESHOLD = {1: 1.5, 2: 0.7, 3: 0.0, 4: -0.8}
"""BI-RADS density → the level above which the gland's random field is glandular tissue."""


class Mammogram(NamedTuple):
    """A drawn mammogram with its truth.

    Args:
        image: uint8 (H, W) in [0, 255].
        breast_mask: uint8 (H, W), 255 on the breast with the pectoral muscle, where no border or strip covers it.
        lesion_mask: uint8 (H, W), 255 on the lesion's body without its spicules; all 0 for a normal patient.
        strip_mask: uint8 (H, W), 255 on the white edge strip; all 0 on most scans.
    """

    image: np.ndarray
    breast_mask: np.ndarray
    lesion_mask: np.ndarray
    strip_mask: np.ndarray


@dataclass(frozen=True)
class _Anatomy:
    """One view's outline, in units of the image height; the chest wall is at x = 0."""

    depth: float
    half_height: float
    centre: float
    axilla: float
    muscle_width: float
    muscle_length: float


def draw_mammogram(patient: PhantomPatient, view: str, side: str, height: int = 256) -> Mammogram:
    """Draws one view of a phantom patient, with the dirt of a scan and the true masks.

    Args:
        patient: who is drawn; see ``mmdc_tf.datasets.phantom_cohort.mammogram_patients``.
        view: "CC" or "MLO".
        side: "LEFT" (chest wall at the left edge of the image) or "RIGHT" (at the right edge).
        height: image height in pixels, at least 64; the width is 0.62 of it.

    Returns:
        The image and its masks; the same arguments give the same bytes.

    Raises:
        ConfigurationError: an unknown view or side, or a height below 64.
    """
    _check(view, side, height)
    rng = np.random.default_rng([patient.seed, VIEWS.index(view), SIDES.index(side)])
    shape = (height, round(WIDTH_PER_HEIGHT * height))
    anatomy = _draw_anatomy(patient, view, rng)
    reach = _outline(anatomy, shape)
    breast = pixel_grid(*shape)[0] < reach
    lesion = _place_lesion(patient, anatomy, rng, shape)
    image = _paint_lesion(_tissue(patient, anatomy, breast, reach, rng), lesion, patient, rng)
    return _scan(image, breast, lesion.core & breast, patient, view, side, rng)


def _check(view: str, side: str, height: int) -> None:
    if view not in VIEWS or side not in SIDES or height < MIN_HEIGHT:
        raise ConfigurationError(
            f"Expected view in {VIEWS}, side in {SIDES} and height >= {MIN_HEIGHT}. "
            f"Received: view={view!r}, side={side!r}, height={height!r}. Correct the value."
        )


def _draw_anatomy(patient: PhantomPatient, view: str, rng: np.random.Generator) -> _Anatomy:
    """The patient's own size and shape, then small differences of positioning between the views."""
    own = np.random.default_rng([patient.seed, 11])
    depth, half_height = own.uniform(0.25, 0.42), own.uniform(0.26, 0.37)
    axilla, muscle_width, muscle_length = own.uniform(0.16, 0.24), own.uniform(0.14, 0.22), own.uniform(0.45, 0.62)
    depth, half_height = depth * rng.uniform(0.95, 1.05), half_height * rng.uniform(0.95, 1.05)
    if view == "CC":
        return _Anatomy(depth, half_height, rng.uniform(0.45, 0.53), 0.0, 0.0, 1.0)
    return _Anatomy(depth, half_height, rng.uniform(0.56, 0.60), axilla, muscle_width, muscle_length)


def _outline(anatomy: _Anatomy, shape: tuple[int, int]) -> np.ndarray:
    """How far the breast reaches from the chest wall in each row: float32 (H, 1)."""
    _, y = pixel_grid(*shape)
    height = (y - anatomy.centre) / anatomy.half_height
    ellipse = anatomy.depth * np.sqrt(np.clip(1.0 - height**2, 0.0, 1.0))
    tail = anatomy.axilla * (1.0 - smooth_step(y, anatomy.centre - 0.15, anatomy.centre + 0.15))
    nipple = 0.016 * np.exp(-(((y - anatomy.centre) / 0.02) ** 2))
    return np.cbrt(ellipse**3 + tail**3) + nipple


def _tissue(
    patient: PhantomPatient, anatomy: _Anatomy, breast: np.ndarray, reach: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Fat, gland, strands and muscle, thinner towards the skin: float32 (H, W) in [0, 1], 0 off the breast."""
    own = np.random.default_rng([patient.seed, 12])
    fat, strand_strength, share = own.uniform(0.25, 0.45), own.uniform(0.0, 0.14), own.uniform(0.1, 0.9)
    cells = own.integers(4, 12), own.integers(12, 30), own.integers(18, 50)
    coarse, fine, strands = (_alike(own, rng, breast.shape, (int(count), int(count) // 3 + 1)) for count in cells)
    gland = _gland(share * coarse + (1.0 - share) * fine, patient.density, anatomy, breast.shape, reach)
    lines = np.exp(-((strands / 0.25) ** 2))
    inside = fat + 0.02 * coarse + 0.012 * fine + 0.17 * gland + strand_strength * lines * (0.4 + gland)
    inside = _add_muscle(inside, anatomy)
    return inside * _thickness(breast) * rng.uniform(0.93, 1.07)


def _alike(
    own: np.random.Generator, rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]
) -> np.ndarray:
    """A random field, most of it the patient's own: float32 (H, W), standard deviation as of ``smooth_noise``."""
    shared, other = (smooth_noise(source, shape, cells) for source in (own, rng))
    return LIKENESS**0.5 * shared + (1.0 - LIKENESS) ** 0.5 * other


def _gland(field: np.ndarray, density: int, anatomy: _Anatomy, shape: tuple[int, int], reach: np.ndarray) -> np.ndarray:
    """Share of glandular tissue in each pixel; it lies behind the nipple, and more of it at a higher density."""
    x, y = pixel_grid(*shape)
    across = (x / np.maximum(reach, 0.05) - 0.5) / 0.5
    down = (y - anatomy.centre) / anatomy.half_height
    prior = 1.2 - 1.6 * (across**2 + down**2)
    return smooth_step(field + prior, GLAND_THRESHOLD[density] - 1.1, GLAND_THRESHOLD[density] + 1.1)


def _add_muscle(tissue: np.ndarray, anatomy: _Anatomy) -> np.ndarray:
    """The pectoral muscle of an MLO view: a bright triangle from the top along the chest wall."""
    x, y = pixel_grid(*tissue.shape)
    edge = anatomy.muscle_width * (1.0 - (y / anatomy.muscle_length) ** 1.3)
    muscle = smooth_step(edge - x, -0.008, 0.012)
    return tissue * (1.0 - muscle) + (0.53 + 0.1 * tissue) * muscle


def _thickness(breast: np.ndarray) -> np.ndarray:
    """Compressed thickness: 1 inside, falling to the skin; the chest wall and the image's edges are no skin."""
    padded = cv2.copyMakeBorder(breast.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1] / breast.shape[0]
    return np.where(breast, 1.0 - 0.65 * np.exp(-distance / 0.022), 0.0).astype(np.float32)


def _place_lesion(
    patient: PhantomPatient, anatomy: _Anatomy, rng: np.random.Generator, shape: tuple[int, int]
) -> LesionField:
    """The lesion: of one shape in all views of a patient, and nearly in one place."""
    if patient.lesion == "none":
        return LesionField(np.zeros(shape, np.float32), np.zeros(shape, bool))
    own = np.random.default_rng([patient.seed, 13])
    across, down = own.uniform(0.42, 0.58), own.uniform(-0.35, 0.30)
    outline = lesion_outline(patient.lesion, own)
    down = np.clip(down + rng.uniform(-0.06, 0.06), -0.35, 0.30)
    x = across * anatomy.depth * np.sqrt(1.0 - down**2)
    return draw_lesion(outline, (float(x), float(anatomy.centre + down * anatomy.half_height)), *shape)


def lesion_outline(appearance: str, rng: np.random.Generator) -> Outline:
    """Draws a lesion's shape.

    Args:
        appearance: "smooth" (an oval with a soft, even rim), "spiculated" (irregular with rays), or "ambiguous" (any
            look from the one to the other: drawn the same way whatever the class).
        rng: source of the random numbers.

    Returns:
        The outline, its radius within ``LESION_RADIUS``.
    """
    lobes, count, reach = {
        "smooth": (0.03, 0, 1.0),
        "ambiguous": (rng.uniform(0.03, 0.13), int(rng.integers(0, 20)), rng.uniform(1.3, 2.4)),
        "spiculated": (0.13, int(rng.integers(12, 20)), rng.uniform(1.8, 2.4)),
    }[appearance]
    radius, aspect = rng.uniform(*LESION_RADIUS), rng.uniform(0.95, 1.1)
    sizes = tuple(float(size) for size in rng.uniform(0.4, 1.0, 4) * lobes)
    phases = tuple(float(phase) for phase in rng.uniform(0, 2 * np.pi, 4))
    spicules = tuple(float(turn) for turn in rng.uniform(0, 2 * np.pi, count))
    return Outline(
        radius / aspect, radius * aspect, sizes, phases, float(rng.uniform(0.12, 0.25)), spicules, float(reach)
    )


def _paint_lesion(
    tissue: np.ndarray, lesion: LesionField, patient: PhantomPatient, rng: np.random.Generator
) -> np.ndarray:
    """Lays the lesion over the tissue, of one level in all views; spiculated ones are brighter on average."""
    if patient.lesion == "none":
        return tissue
    own = np.random.default_rng([patient.seed, 14])
    level = {"smooth": 0.77, "ambiguous": own.uniform(0.77, 0.89), "spiculated": 0.89}[patient.lesion]
    level += own.uniform(-0.05, 0.05)
    inside = (tissue > 0).astype(np.float32)
    return tissue + inside * lesion.weight * 0.9 * np.maximum(level - tissue, 0.0)


def _scan(
    image: np.ndarray,
    breast: np.ndarray,
    lesion: np.ndarray,
    patient: PhantomPatient,
    view: str,
    side: str,
    rng: np.random.Generator,
) -> Mammogram:
    """Turns the anatomy to its side and adds noise, label, border and, where the patient has it, a strip."""
    turn = slice(None, None, -1 if side == "RIGHT" else 1)
    image, breast, lesion = (np.ascontiguousarray(layer[:, turn]) for layer in (image, breast, lesion))
    image = add_noise(image, rng).astype(np.float32)
    burn_label(image, breast, side[0] + view, rng)
    strip = np.zeros(breast.shape, bool)
    if (view, side) in patient.white_strips:
        strip = add_white_strip(image, side, rng)
    hidden = add_border(image, rng) | strip
    masks = (np.uint8(255) * layer for layer in (breast & ~hidden, lesion & ~hidden, strip))
    return Mammogram(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8), *masks)
