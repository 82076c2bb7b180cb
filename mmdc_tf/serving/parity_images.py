"""The images that an exported model is compared on, and what is given with them; needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmdc_tf.datasets.phantom import write_phantom_mammograms, write_phantom_ultrasound
from mmdc_tf.datasets.schema import AGE_RANGE, DENSITY_RANGE
from mmdc_tf.preprocessing import preprocess_file
from mmdc_tf.serving.card import ModelCard
from mmdc_tf.serving.listing import list_images

MOST_IMAGES = 50
PATIENTS = 13  # of the phantom mammograms, with four views each


def spread(paths: Sequence[Path]) -> list[Path]:
    """At most ``MOST_IMAGES`` of the images that files and folders hold, evenly over their order.

    Args:
        paths: as for ``listing.list_images``.

    Raises:
        DatasetError: as ``listing.list_images``.
    """
    found = list_images(paths, None, None, None).paths
    chosen = np.linspace(0, len(found) - 1, min(len(found), MOST_IMAGES)).round().astype(int)
    return [found[index] for index in chosen]


def phantom_images(card: ModelCard, folder: Path) -> list[Path]:
    """Draws ``MOST_IMAGES`` phantom scans of the model's modality: mammograms, unless it is made for ultrasound alone.

    Args:
        card: the model's.
        folder: a new one, for the scans.
    """
    if card.modality == "ultrasound":
        return spread([write_phantom_ultrasound(folder, images=MOST_IMAGES)])
    return spread([write_phantom_mammograms(folder, patients=PATIENTS)])


def parity_inputs(card: ModelCard, paths: Sequence[Path]) -> dict[str, np.ndarray]:
    """All that the model takes, for each image: its pixels, and what no image file holds as in ``with_the_rest``.

    Args:
        card: the model's.
        paths: images.

    Raises:
        UnreadableImageError: names the file.
        RuntimeError: a step of the preprocessing failed.
    """
    pixels = np.stack([preprocess_file(path, card.recipe, card.image_size) for path in paths])
    return with_the_rest(card.inputs, pixels)


def with_the_rest(names: Sequence[str], pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The tensors of a model, with every combination of known and unknown.

    Age and density go over their ranges, in turn both known, the age unknown, the density unknown, and both; the other
    view is the image before, and missing for each second image.

    Args:
        names: of ``"image"``, ``"metadata"`` and ``"other_view"``, those that the model takes.
        pixels: (n, S, S, 3) in [0, 255].

    Returns:
        By name, float32, the images in the first axis.
    """
    image = pixels.astype(np.float32)
    other = np.roll(image, 1, axis=0)
    other[::2] = np.nan
    known = {"image": image, "metadata": _metadata(len(image)), "other_view": other}
    return {name: known[name] for name in names}


def _metadata(count: int) -> np.ndarray:
    """Float32 (count, 2): years and grades, NaN where unknown."""
    turn = np.arange(count)
    values = np.stack([np.linspace(*limits, count) for limits in (AGE_RANGE, DENSITY_RANGE)], axis=1)
    values[:, 1] = values[:, 1].round()
    values[turn % 2 == 1, 0] = np.nan
    values[turn % 4 >= 2, 1] = np.nan
    return values.astype(np.float32)
