"""Drawing one mammogram of the phantom, and what both phantoms draw with: not a reproduction, fitted to no real image.

A mammogram is a half-ellipse with skin, fat, gland, strands, in MLO views a muscle, and a lesion; the four views of a
patient share the texture's statistics, as real ones do. Lengths are in units of the image height, layers float32
(H, W) about [0, 1], and random numbers are drawn in one order whatever the size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import SIDES, VIEWS
from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    from mmdc_tf.datasets.phantom import PhantomPatient

WIDTH_PER_HEIGHT = 0.62
LEAST_SIDE = 64
LESION_RADIUS = (0.08, 0.11)
BORDER_SHARES = {"none": 0.45, "black": 0.35, "white": 0.20}
"""How often a film has a frame of each kind along its upper and lower edges."""
_GLAND_THRESHOLD = {1: 1.5, 2: 0.7, 3: 0.0, 4: -0.8}  # by BI-RADS density
_LIKENESS = 0.95  # share of the tissue's variance that the views of a patient have in common

Random = np.random.Generator


class Mammogram(NamedTuple):
    """A drawn mammogram with its truth, all uint8 (H, W), the masks 255 where they hold.

    Args:
        breast_mask: with the pectoral muscle, where no border or strip covers it.
        lesion_mask: the lesion's body without its spicules; all 0 for a normal patient.
        strip_mask: the white edge strip; all 0 on most scans.
    """

    image: np.ndarray
    breast_mask: np.ndarray
    lesion_mask: np.ndarray
    strip_mask: np.ndarray


class Lesion(NamedTuple):
    """How much of each pixel is lesion, with its spicules; and, bool, what a reader would outline."""

    weight: np.ndarray
    core: np.ndarray


class Outline(NamedTuple):
    """Half axes; amplitudes (shares of the radius) and phases of the 2nd, 3rd … harmonic; the rim over which the lesion
    fades (share of the radius); directions of the spicules, and how far they go (multiple of the radius)."""

    radius_x: float
    radius_y: float
    lobes: np.ndarray
    phases: np.ndarray
    softness: float
    spicules: np.ndarray | tuple[()] = ()
    reach: float = 1.0


class _Anatomy(NamedTuple):
    depth: float
    half_height: float
    centre: float
    axilla: float = 0.0
    muscle_width: float = 0.0
    muscle_length: float = 1.0


def draw_mammogram(patient: PhantomPatient, view: str, side: str, height: int = 256) -> Mammogram:
    """Draws one view of a phantom patient, with the dirt of a scan and the true masks.

    Args:
        patient: see ``phantom.mammogram_patients``; the same arguments give the same bytes.
        view: "CC" or "MLO".
        side: "LEFT" (chest wall at the left edge of the image) or "RIGHT" (at the right edge).
        height: in pixels, at least 64; the width is 0.62 of it.

    Raises:
        ConfigurationError: another view or side, or a height below 64.
    """
    if view not in VIEWS or side not in SIDES or height < LEAST_SIDE:
        raise ConfigurationError(
            f"Expected view in {VIEWS}, side in {SIDES} and height >= {LEAST_SIDE}. "
            f"Received: view={view!r}, side={side!r}, height={height!r}. Correct the value."
        )
    rng = np.random.default_rng([patient.seed, VIEWS.index(view), SIDES.index(side)])
    shape = (height, round(WIDTH_PER_HEIGHT * height))
    anatomy = _anatomy(patient, view, rng)
    reach = _breast_reach(anatomy, shape)
    breast = pixel_grid(*shape)[0] < reach
    lesion = _lesion_in_breast(patient, anatomy, rng, shape)
    image = _tissue(patient, anatomy, breast, reach, rng)
    if patient.lesion != "none":
        own = np.random.default_rng([patient.seed, 14])
        level = {"smooth": 0.77, "ambiguous": own.uniform(0.77, 0.89), "spiculated": 0.89}[patient.lesion]
        level += own.uniform(-0.05, 0.05)
        image = image + (image > 0).astype(np.float32) * lesion.weight * 0.9 * np.maximum(level - image, 0.0)
    turn = slice(None, None, -1 if side == "RIGHT" else 1)
    image, breast, core = (np.ascontiguousarray(layer[:, turn]) for layer in (image, breast, lesion.core & breast))
    image = _with_noise(image, rng).astype(np.float32)
    burn_label(image, breast, side[0] + view, rng)
    strip = np.zeros(breast.shape, bool)
    if (view, side) in patient.white_strips:
        strip = _add_white_strip(image, side, rng)
    hidden = _add_border(image, rng) | strip
    masks = (np.uint8(255) * layer for layer in (breast & ~hidden, core & ~hidden, strip))
    return Mammogram(eight_bit(image), *masks)


def burn_label(image: np.ndarray, breast: np.ndarray, text: str, rng: Random) -> None:
    """Writes "LMLO" or the like on a tag into the film's background, in place: at the top, away from the chest wall."""
    height, width = image.shape
    scale, thick = height / 600.0, max(1, round(height / 220))
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    margin = round(height * rng.uniform(0.025, 0.04))
    left = margin if text.startswith("R") else width - margin - text_width
    base = round(height * rng.uniform(0.04, 0.09)) + text_height
    corners = (left - 3, base - text_height - 3), (left + text_width + 2, base + 3)
    tag, ink = np.zeros(image.shape, np.uint8), np.zeros(image.shape, np.uint8)
    cv2.rectangle(tag, *corners, 1, -1)
    cv2.putText(ink, text, (left, base), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thick, cv2.LINE_AA)
    image[(tag > 0) & ~breast] = rng.uniform(0.0, 0.14)
    image += np.where(breast, 0.0, ink / 255.0) * (rng.choice([0.3, 0.95]) - image)


def require_cohort(count: int, least: int, unit: str, seed: int) -> None:
    if count < least or seed < 0:
        raise ConfigurationError(
            f"Expected at least {least} phantom {unit} and a seed of 0 or more. "
            f"Received: {unit}={count}, seed={seed}. Ask for more {unit} or another seed."
        )


def quota(rng: Random, count: int, share: float) -> frozenset[int]:
    """Places of a random ``share`` of ``count`` things, at least one."""
    return frozenset(int(place) for place in rng.permutation(count)[: max(1, round(share * count))])


def eight_bit(image: np.ndarray) -> np.ndarray:
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def pixel_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x (1, W) and y (H, 1) of the pixels' centres, float32."""
    x, y = ((np.arange(count, dtype=np.float32) + 0.5) / height for count in (width, height))
    return x[None, :], y[:, None]


def smooth_noise(rng: Random, shape: tuple[int, int], cells: tuple[int, int]) -> np.ndarray:
    """A smooth random field of so many bumps down and across: mean about 0, standard deviation about 1."""
    bumps = rng.standard_normal((cells[0] + 3, cells[1] + 3)).astype(np.float32)
    field = cv2.resize(bumps, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def smooth_step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below ``low``, 1 above ``high`` and a cubic ramp between."""
    ramp = np.clip((values - low) / (high - low), 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def drawn_lesion(outline: Outline, centre: tuple[float, float], shape: tuple[int, int]) -> Lesion:
    x, y = pixel_grid(*shape)
    dx, dy = (x - centre[0]) / outline.radius_x, (y - centre[1]) / outline.radius_y
    distance, angle = np.sqrt(dx * dx + dy * dy), np.arctan2(dy, dx)
    edge, rays = np.ones_like(angle), np.zeros_like(angle)
    for order, (size, phase) in enumerate(zip(outline.lobes, outline.phases, strict=True), start=2):
        edge += float(size) * np.cos(order * angle + float(phase))
    for direction in outline.spicules:  # rays that thin out from the centre, each about a sixth of a radius wide
        turn = angle - float(direction)
        offset = np.where(np.cos(turn) > 0, np.abs(np.sin(turn)) * distance, np.inf)
        rays = np.maximum(rays, np.exp(-((offset / 0.09) ** 2)))
    rays = rays * (1.0 - smooth_step(distance, 0.6 * outline.reach, outline.reach))
    body = 1.0 - smooth_step(distance / edge, 1.0 - outline.softness, 1.0 + outline.softness)
    return Lesion(np.maximum(body, rays).astype(np.float32), distance / edge < 1.0)


def no_lesion(shape: tuple[int, int]) -> Lesion:
    return Lesion(np.zeros(shape, np.float32), np.zeros(shape, bool))


def _anatomy(patient: PhantomPatient, view: str, rng: Random) -> _Anatomy:
    """The patient's own size and shape, then small differences of positioning between the views."""
    own = np.random.default_rng([patient.seed, 11])
    depth, half_height = own.uniform(0.25, 0.42), own.uniform(0.26, 0.37)
    axilla = own.uniform(0.16, 0.24), own.uniform(0.14, 0.22), own.uniform(0.45, 0.62)
    depth, half_height = depth * rng.uniform(0.95, 1.05), half_height * rng.uniform(0.95, 1.05)
    if view == "CC":
        return _Anatomy(depth, half_height, rng.uniform(0.45, 0.53))
    return _Anatomy(depth, half_height, rng.uniform(0.56, 0.60), *axilla)


def _breast_reach(anatomy: _Anatomy, shape: tuple[int, int]) -> np.ndarray:
    """How far the breast reaches from the chest wall, at x = 0, in each row: (H, 1)."""
    _, y = pixel_grid(*shape)
    height = (y - anatomy.centre) / anatomy.half_height
    ellipse = anatomy.depth * np.sqrt(np.clip(1.0 - height**2, 0.0, 1.0))
    tail = anatomy.axilla * (1.0 - smooth_step(y, anatomy.centre - 0.15, anatomy.centre + 0.15))
    return np.cbrt(ellipse**3 + tail**3) + 0.016 * np.exp(-(((y - anatomy.centre) / 0.02) ** 2))  # with the nipple


def _tissue(
    patient: PhantomPatient, anatomy: _Anatomy, breast: np.ndarray, reach: np.ndarray, rng: Random
) -> np.ndarray:
    """Fat, gland behind the nipple, strands, muscle at the chest wall, thinner towards the skin; 0 off the breast."""
    shape, own = breast.shape, np.random.default_rng([patient.seed, 12])
    x, y = pixel_grid(*shape)
    fat, strand_strength, share = own.uniform(0.25, 0.45), own.uniform(0.0, 0.14), own.uniform(0.1, 0.9)
    fields = []
    for count in (own.integers(4, 12), own.integers(12, 30), own.integers(18, 50)):
        shared, other = (smooth_noise(source, shape, (int(count), int(count) // 3 + 1)) for source in (own, rng))
        fields.append(_LIKENESS**0.5 * shared + (1.0 - _LIKENESS) ** 0.5 * other)
    coarse, fine, strands = fields
    across = (x / np.maximum(reach, 0.05) - 0.5) / 0.5
    prior = 1.2 - 1.6 * (across**2 + ((y - anatomy.centre) / anatomy.half_height) ** 2)
    threshold = _GLAND_THRESHOLD[patient.density]
    gland = smooth_step(share * coarse + (1.0 - share) * fine + prior, threshold - 1.1, threshold + 1.1)
    lines = np.exp(-((strands / 0.25) ** 2))
    inside = fat + 0.02 * coarse + 0.012 * fine + 0.17 * gland + strand_strength * lines * (0.4 + gland)
    muscle = smooth_step(anatomy.muscle_width * (1.0 - (y / anatomy.muscle_length) ** 1.3) - x, -0.008, 0.012)
    inside = inside * (1.0 - muscle) + (0.53 + 0.1 * inside) * muscle
    padded = cv2.copyMakeBorder(breast.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)  # the edges are no skin
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1] / shape[0]
    thickness = np.where(breast, 1.0 - 0.65 * np.exp(-depth / 0.022), 0.0).astype(np.float32)
    return inside * thickness * rng.uniform(0.93, 1.07)


def _lesion_in_breast(patient: PhantomPatient, anatomy: _Anatomy, rng: Random, shape: tuple[int, int]) -> Lesion:
    """Of one shape in all views of a patient, and nearly in one place; an ambiguous one looks alike in every class."""
    if patient.lesion == "none":
        return no_lesion(shape)
    own = np.random.default_rng([patient.seed, 13])
    across, down = own.uniform(0.42, 0.58), own.uniform(-0.35, 0.30)
    lobes, count, reach = {
        "smooth": (0.03, 0, 1.0),
        "ambiguous": (own.uniform(0.03, 0.13), int(own.integers(0, 20)), own.uniform(1.3, 2.4)),
        "spiculated": (0.13, int(own.integers(12, 20)), own.uniform(1.8, 2.4)),
    }[patient.lesion]
    radius, aspect = own.uniform(*LESION_RADIUS), own.uniform(0.95, 1.1)
    sizes, phases = own.uniform(0.4, 1.0, 4) * lobes, own.uniform(0, 2 * np.pi, 4)
    spicules, softness = own.uniform(0, 2 * np.pi, count), float(own.uniform(0.12, 0.25))
    outline = Outline(radius / aspect, radius * aspect, sizes, phases, softness, spicules, float(reach))
    down = np.clip(down + rng.uniform(-0.06, 0.06), -0.35, 0.30)
    x = across * anatomy.depth * np.sqrt(1.0 - down**2)
    return drawn_lesion(outline, (float(x), float(anatomy.centre + down * anatomy.half_height)), shape)


def _with_noise(image: np.ndarray, rng: Random) -> np.ndarray:
    """With the scanner's background level, faint vertical streaks and grain."""
    level = rng.uniform(0.02, 0.05)
    streaks = 0.004 * smooth_noise(rng, image.shape, (1, 60))
    grain = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.012)
    return image + level + streaks + grain


def _add_border(image: np.ndarray, rng: Random) -> np.ndarray:
    """Draws a black or white frame along the upper and lower edges of some scans; the pixels that it covers."""
    kind = rng.choice(list(BORDER_SHARES), p=list(BORDER_SHARES.values()))
    top, bottom = (max(1, round(image.shape[0] * rng.uniform(0.006, 0.02))) for _ in range(2))
    covered = np.zeros(image.shape, bool)
    if kind != "none":
        covered[:top] = covered[-bottom:] = True
        image[covered] = 0.0 if kind == "black" else rng.uniform(0.8, 1.0)
    return covered


def _add_white_strip(image: np.ndarray, side: str, rng: Random) -> np.ndarray:
    """Draws the light that passes beside the film, brighter than any tissue; the pixels that it covers."""
    height, width = image.shape
    covered = np.zeros(image.shape, bool)
    if rng.random() < 0.5:
        thick = round(height * rng.uniform(0.12, 0.20))
        covered[:, slice(width - thick, None) if side == "LEFT" else slice(thick)] = True
    else:
        covered[height - round(height * rng.uniform(0.14, 0.18)) :] = True
    image[covered] = rng.uniform(0.95, 1.0)
    return covered
