"""What a film scanner adds to a mammogram phantom: noise, borders, burnt-in labels, white edge strips."""

from __future__ import annotations

import numpy as np

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom_shapes import smooth_noise

BORDER_SHARES = {"none": 0.45, "black": 0.35, "white": 0.20}
"""How often a scan has a frame of each kind along its upper and lower edges."""


def add_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds the scanner's background level, faint vertical streaks and grain.

    Args:
        image: float32 (H, W) in [0, 1].
        rng: source of the random numbers.

    Returns:
        float32 (H, W), not clipped.
    """
    level = rng.uniform(0.02, 0.05)
    streaks = 0.004 * smooth_noise(rng, image.shape, (1, 60))
    grain = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(0.012)
    return image + level + streaks + grain


def burn_label(image: np.ndarray, breast: np.ndarray, text: str, rng: np.random.Generator) -> None:
    """Writes a label such as "LMLO" into the background of the image, in place.

    The label stands at the top, away from the chest wall, on a tag darker or lighter than the film, and never
    covers the breast.

    Args:
        image: float32 (H, W), changed in place.
        breast: bool (H, W), the breast's pixels.
        text: the side's first letter and the view; "R…" puts the label at the left.
        rng: source of the random numbers.
    """
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
    cover = np.where(breast, 0.0, ink / 255.0)
    image += cover * (rng.choice([0.3, 0.95]) - image)


def add_border(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws a black or white frame along the upper and lower edges of some scans, in place.

    Args:
        image: float32 (H, W), changed in place.
        rng: source of the random numbers; the kinds come as often as ``BORDER_SHARES`` says.

    Returns:
        bool (H, W): the pixels that the frame covers.
    """
    kind = rng.choice(list(BORDER_SHARES), p=list(BORDER_SHARES.values()))
    top, bottom = (max(1, round(image.shape[0] * rng.uniform(0.006, 0.02))) for _ in range(2))
    covered = np.zeros(image.shape, bool)
    if kind != "none":
        covered[:top] = covered[-bottom:] = True
        image[covered] = 0.0 if kind == "black" else rng.uniform(0.8, 1.0)
    return covered


def add_white_strip(image: np.ndarray, side: str, rng: np.random.Generator) -> np.ndarray:
    """Draws the light of the scanner that passes beside the film, in place.

    The strip lies along the edge opposite the chest wall or along the lower edge; it is brighter than any
    tissue, and Otsu's threshold may keep it and drop a fatty breast.

    Args:
        image: float32 (H, W), changed in place.
        side: "LEFT" (chest wall at the left edge) or "RIGHT".
        rng: source of the random numbers.

    Returns:
        bool (H, W): the pixels that the strip covers.
    """
    height, width = image.shape
    covered = np.zeros(image.shape, bool)
    if rng.random() < 0.5:
        thick = round(height * rng.uniform(0.12, 0.20))
        covered[:, slice(width - thick, None) if side == "LEFT" else slice(thick)] = True
    else:
        covered[height - round(height * rng.uniform(0.14, 0.18)) :] = True
    image[covered] = rng.uniform(0.95, 1.0)
    return covered
