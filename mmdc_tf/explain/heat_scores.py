"""Whether a heatmap lies on the lesion: pointing game, share of the heat inside, and what chance would give."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_fill_holes

from mmdc_tf.datasets.images import read_image
from mmdc_tf.errors import InputError
from mmdc_tf.explain.drawing import is_uniform
from mmdc_tf.preprocessing import PreprocessedScan, Recipe
from mmdc_tf.preprocessing.lesions import lesion_pixels
from mmdc_tf.preprocessing.operations import pad_to_square, resize
from mmdc_tf.preprocessing.recipes import PAD

MIRRORING = "flip-left"  # the step of a recipe after which a mask's place is not known


@dataclass(frozen=True)
class HeatScore:
    """How well a heatmap meets a lesion.

    Args:
        hit: the pointing game: the heatmap's maximum lies in the lesion (all of its maxima, where it has several).
        heat_inside: the share of the heat inside the lesion, in [0, 1]; 0 where there is no heat.
        lesion_area: the lesion's share of the image, in (0, 1]: what chance would reach, though lesions often lie near
            the middle, so that a map that merely favours the middle exceeds it too.
    """

    hit: bool
    heat_inside: float
    lesion_area: float


def heat_score(heat: np.ndarray, lesion: np.ndarray) -> HeatScore | None:
    """Scores a heatmap against a lesion.

    The pointing game is that of Zhang et al., "Top-Down Neural Attention by Excitation Backprop", IJCV 2018, section
    4.1, without its tolerance of 15 pixels.

    Args:
        heat: float (h, w), no value below 0.
        lesion: bool (h, w), true on the lesion.

    Returns:
        The score; None for a map that is uniform (``is_uniform``), which has none.

    Raises:
        InputError: the two differ in shape, or the lesion is empty.
    """
    lesion = np.asarray(lesion, bool)
    if heat.shape != lesion.shape or not lesion.any():
        raise InputError(
            f"Expected a lesion of the heatmap's shape {heat.shape} with at least one pixel. "
            f"Received: shape={lesion.shape}, pixels={np.count_nonzero(lesion)}. Bring both to the model's image."
        )
    if is_uniform(heat):
        return None
    total = float(heat.sum(dtype="float64"))
    hit = total > 0 and bool(lesion[heat == heat.max()].all())
    inside = float(heat[lesion].sum(dtype="float64")) / total if total > 0 else 0.0
    return HeatScore(hit, inside, float(lesion.mean()))


def read_lesion(masks: Iterable[Path], scan: PreprocessedScan, recipe: Recipe) -> np.ndarray | None:
    """The lesions of a scan in the coordinates of the model's image: cut and resized as the scan was.

    Masks are put together; what an outline encloses belongs to the lesion. A lesion of less than half a pixel of the
    model's image keeps the pixels that it touches.

    Args:
        masks: image files of the scan's size: a pixel above 127 is lesion. BUSI's normal images have masks without one.
        scan: of the same scan, as ``recipe`` left it.
        recipe: the one that made it.

    Returns:
        bool (S, S), or None where the masks mark nothing.

    Raises:
        UnreadableImageError: a mask cannot be read.
        InputError: a mask has another size than the scan, none of the lesion is left by the crop, or the recipe may
            mirror scans, so that the lesion's place is not known.
    """
    if MIRRORING in [step.name for step in recipe.steps]:
        raise InputError(
            f"Expected a recipe that does not mirror scans, to place lesion masks. Received: recipe={recipe.name!r}. "
            "Its heatmaps are drawn without scores."
        )
    marked = np.zeros((scan.height, scan.width), bool)
    for path in masks:
        mask = read_image(path)
        if mask.shape[:2] != marked.shape:
            raise InputError(
                f"Expected a lesion mask of its scan's size {marked.shape}. Received: {path} of "
                f"shape={mask.shape[:2]}. Give such a mask."
            )
        with contextlib.suppress(InputError):  # a mask that marks nothing
            marked |= np.asarray(binary_fill_holes(lesion_pixels(mask) > 0))
    if not marked.any():
        return None
    left, top, width, height = scan.box
    kept = np.where(marked[top : top + height, left : left + width], np.uint8(255), np.uint8(0))
    is_padded = PAD in [step.name for step in recipe.steps]
    small = resize(pad_to_square(kept) if is_padded else kept, scan.image.shape[0])
    if not small.any():
        raise InputError(
            "Expected a lesion inside what the recipe keeps of the scan. Received: none of it after the crop. "
            "See mmdc-tf datasets lesions for how much of each lesion a recipe keeps."
        )
    return small >= min(128, int(small.max()))
