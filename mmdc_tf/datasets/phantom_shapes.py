"""The drawing that both phantoms share: smooth random fields and lesion outlines, as float32 arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmdc_tf.datasets.opencv import cv2


class LesionField(NamedTuple):
    """A lesion as two layers of the image.

    Args:
        weight: float32 (H, W) in [0, 1]: how much of each pixel is lesion, spicules included.
        core: bool (H, W): the pixels that a reader would outline.
    """

    weight: np.ndarray
    core: np.ndarray


@dataclass(frozen=True)
class Outline:
    """A lesion's outline around its centre, in units of the image height.

    Args:
        radius_x, radius_y: half axes.
        lobes: amplitudes of the outline's 2nd, 3rd … harmonic, as shares of the radius.
        phases: their phases in radians, as many as ``lobes``.
        softness: width of the rim over which the lesion fades, as a share of the radius.
        spicules: directions of the spicules in radians; empty for a smooth lesion.
        reach: how far the spicules go, as a multiple of the radius.
    """

    radius_x: float
    radius_y: float
    lobes: tuple[float, ...]
    phases: tuple[float, ...]
    softness: float
    spicules: tuple[float, ...] = ()
    reach: float = 1.0


def pixel_grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns x (1, W) and y (H, 1), float32: the pixels' centres in units of the image height."""
    x = (np.arange(width, dtype=np.float32) + 0.5) / height
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    return x[None, :], y[:, None]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> np.ndarray:
    """Returns a smooth random field.

    The random numbers depend on ``cells`` only, so one seed gives one field at every image size.

    Args:
        rng: source of the random numbers.
        shape: (H, W) of the field in pixels.
        cells: bumps down and across the field.

    Returns:
        float32 (H, W), mean about 0, standard deviation about 1.
    """
    grid = rng.standard_normal((cells[0] + 3, cells[1] + 3)).astype(np.float32)
    height, width = shape
    field = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def smooth_step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns 0 below ``low``, 1 above ``high`` and a cubic ramp between, in the dtype of ``values``."""
    ramp = np.clip((values - low) / (high - low), 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def draw_lesion(outline: Outline, centre: tuple[float, float], height: int, width: int) -> LesionField:
    """Draws a lesion's layers.

    Args:
        outline: the shape.
        centre: x and y of the lesion in units of the image height.
        height, width: size of the image in pixels.

    Returns:
        The lesion's weight and core, each (height, width).
    """
    x, y = pixel_grid(height, width)
    dx, dy = (x - centre[0]) / outline.radius_x, (y - centre[1]) / outline.radius_y
    distance, angle = np.sqrt(dx * dx + dy * dy), np.arctan2(dy, dx)
    edge = np.ones_like(angle)
    for order, (size, phase) in enumerate(zip(outline.lobes, outline.phases, strict=True), start=2):
        edge += size * np.cos(order * angle + phase)
    relative = distance / edge
    body = 1.0 - smooth_step(relative, 1.0 - outline.softness, 1.0 + outline.softness)
    weight = np.maximum(body, _spicules(outline, distance, angle))
    return LesionField(weight.astype(np.float32), relative < 1.0)


def _spicules(outline: Outline, distance: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rays that thin out from the centre to ``reach`` radii; each is about a sixth of a radius wide."""
    rays = np.zeros_like(angle)
    for direction in outline.spicules:
        turn = angle - direction
        offset = np.where(np.cos(turn) > 0, np.abs(np.sin(turn)) * distance, np.inf)
        rays = np.maximum(rays, np.exp(-((offset / 0.09) ** 2)))
    return rays * (1.0 - smooth_step(distance, 0.6 * outline.reach, outline.reach))
