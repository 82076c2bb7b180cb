"""What the probes see of an image, read from each file once: thumbnails, edges, corners, background, markers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import SIDES, Dataset
from mmdc_tf.preprocessing.breast import MARGIN as BREAST_MARGIN
from mmdc_tf.preprocessing.breast import find_breast
from mmdc_tf.preprocessing.operations import resize, shrink, to_grey

MAX_IMAGES = 10_000
"""More images than this are not read for the probes: whole groups are drawn until so many are there."""
THUMBNAIL = 64
CORNER = 8
FRAME = 0.05
"""Width of the frame that counts as border, as a share of the sides."""
BAND = (32, 4)
"""Length and depth in pixels to which each of the frame's bands is averaged."""
BACKGROUND_THUMBNAIL = 16
PERCENTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)
MARKER_SIDE = 512
"""Longest side in pixels of the copy in which markers are sought."""
MARKER_CONTRAST = 60
"""A marker is so many grey levels brighter than the median of the background."""
MARKER_AREA = 2e-4
"""A smaller region, as a share of the image, is dust."""
_READERS = 4


@dataclass(frozen=True)
class ProbeImages:
    """The rows that were read and what was read of them.

    Args:
        table: rows of the sample table, its order kept.
        features: name → (n, …), one row an image; see ``image_features``.
    """

    table: pd.DataFrame
    features: dict[str, np.ndarray]


def read_probe_images(
    dataset: Dataset, limit: int = MAX_IMAGES, seed: int = 0, show_progress: bool = False
) -> ProbeImages:
    """Reads every image of a dataset once, or those of randomly drawn groups where there are too many.

    Args:
        dataset: with images.
        limit: the most images to read, at least 1; the last drawn group may pass it.
        seed: of the draw.
        show_progress: a progress bar on stderr.

    Returns:
        About 6 kB an image, whatever the images' size.

    Raises:
        UnreadableImageError: a file cannot be decoded.
    """
    table = _within(dataset.table, limit, seed)
    read = partial(_read, modality=dataset.info.modality)
    with ThreadPoolExecutor(_READERS) as readers:
        features = readers.map(read, table["image_path"])
        rows = list(tqdm(features, "images for the probes", len(table), disable=not show_progress))
    return ProbeImages(table, {name: np.stack([row[name] for row in rows]) for name in rows[0]})


def image_features(grey: np.ndarray, modality: str) -> dict[str, np.ndarray]:
    """What the probes see of one image.

    Args:
        grey: uint8 (H, W) in [0, 255].
        modality: ``"mammography"``: what the breast covers is filled with the background's median (a mark would move
            the mean) before border and background are taken. ``"ultrasound"``: there is no background, and the
            frame's lower band is left out, since the shadow or enhancement behind a lesion reaches it.

    Returns:
        - ``thumbnail`` uint8 (4096,): the whole image at 64×64, averaged over areas.
        - ``size`` float64 (3,): width and height in pixels, width / height.
        - ``corners`` uint8 (256,): the four corners of 8×8 pixels, untouched.
        - ``border`` uint8: the frame of 5 % of the sides, each band averaged to 32×4.
        - mammography only: ``background`` float64 (265,): the background's percentiles and a 16×16 thumbnail of the
          filled image; ``markers`` float64 (6,): number, area and centre (x, y) of bright regions off the breast,
          width and height of the largest, as shares of the image; ``picture_side`` str (): "LEFT" or "RIGHT", the
          half of the picture that holds more of the breast, "" where no breast was found.
    """
    common = {
        "thumbnail": resize(grey, THUMBNAIL).ravel(),
        "size": np.array([grey.shape[1], grey.shape[0], grey.shape[1] / grey.shape[0]]),
        "corners": _corners(grey),
    }
    if modality != "mammography":
        return {**common, "border": _border(grey, lower=False)}
    breast = find_breast(grey, margin=BREAST_MARGIN)
    off = breast.mask == 0
    filled = np.where(off, grey, np.uint8(np.median(grey[off]) if off.any() else 0))
    return {
        **common,
        "border": _border(filled, lower=True),
        "background": _background(grey[off], filled),
        "markers": _markers(filled, off),
        "picture_side": np.array(_side(breast.mask) if breast.found else ""),
    }


def _within(table: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    if len(table) <= limit:
        return table
    sizes = table.groupby("group_id").size().sample(frac=1.0, random_state=seed)
    before = sizes.cumsum() - sizes
    return table[table["group_id"].isin(sizes.index[before < limit])].reset_index(drop=True)


def _read(path: str, modality: str) -> dict[str, np.ndarray]:
    return image_features(to_grey(read_image(path)), modality)


def _corners(grey: np.ndarray) -> np.ndarray:
    ends = slice(None, CORNER), slice(-CORNER, None)
    patches = [grey[rows, columns] for rows in ends for columns in ends]
    return np.concatenate(
        [cv2.resize(patch, (CORNER, CORNER), interpolation=cv2.INTER_NEAREST) for patch in patches], None
    )


def _border(grey: np.ndarray, lower: bool) -> np.ndarray:
    height, width = (max(1, round(FRAME * side)) for side in grey.shape)
    bands = [grey[:height], grey[:, :width].T, grey[:, -width:].T, *([grey[-height:]] if lower else [])]
    small = [cv2.resize(np.ascontiguousarray(band), BAND, interpolation=cv2.INTER_AREA) for band in bands]
    return np.concatenate(small, None)


def _background(values: np.ndarray, filled: np.ndarray) -> np.ndarray:
    levels = np.percentile(values, PERCENTILES) if values.size else np.zeros(len(PERCENTILES))
    return np.concatenate([levels, resize(filled, BACKGROUND_THUMBNAIL).ravel()])


def _markers(filled: np.ndarray, off: np.ndarray) -> np.ndarray:
    small = shrink(filled, MARKER_SIDE)
    bright = (small > float(np.median(filled[off]) if off.any() else 255) + MARKER_CONTRAST).astype(np.uint8)
    _, _, stats, centres = cv2.connectedComponentsWithStats(bright, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA] / small.size
    kept = areas >= MARKER_AREA
    if not kept.any():
        return np.array([0, 0, 0.5, 0.5, 0, 0])
    largest = stats[1 + int(areas.argmax())]
    extent = largest[[cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]] / small.shape[::-1]
    centre = np.average(centres[1:][kept], axis=0, weights=areas[kept]) / small.shape[::-1]
    return np.array([kept.sum(), areas[kept].sum(), *centre, *extent])


def _side(mask: np.ndarray) -> str:
    half = mask.shape[1] // 2
    return SIDES[int(np.count_nonzero(mask[:, :half]) < np.count_nonzero(mask[:, -half:]))] if half else ""
