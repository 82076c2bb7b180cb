"""What the probes are shown: images read once each, and what the table says without the breast.

A shortcut survives group splits: sites, scanners and habits of labelling reach from patient to patient (R. Geirhos et
al., "Shortcut learning in deep neural networks", Nature Machine Intelligence 2, 2020).
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmdc_tf.audit.probes import Probe, boosted_trees, commonest_label, nearest_neighbour, random_trees, score_probe
from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import SIDES, Dataset
from mmdc_tf.preprocessing.breast import MARGIN as BREAST_MARGIN
from mmdc_tf.preprocessing.breast import find_breast
from mmdc_tf.preprocessing.operations import resize, shrink, to_grey

MAX_IMAGES = 10_000  # of more, whole groups are drawn until so many are there
THUMBNAIL = 64
CORNER = 8
FRAME = 0.05  # width of the frame that counts as border, as a share of the sides
BAND = (32, 4)  # length and depth in pixels to which each of the frame's bands is averaged
BACKGROUND_THUMBNAIL = 16
PERCENTILES = (0, 1, 5, 25, 50, 75, 95, 99, 100)
MARKER_SIDE = 512  # longest side in pixels of the copy in which markers are sought
MARKER_CONTRAST = 60  # a marker is so many grey levels brighter than the median of the background
MARKER_AREA = 2e-4  # a smaller region, as a share of the image, is dust
# an unknown age or density, below every known one: scikit-learn's own trees fail on a column without a known value
UNKNOWN = -1.0
_LETTERS = re.compile(r"[^\W\d_]*")
_WORDS = re.compile(r"[^\W\d_]+|\d+")
_WITHOUT_IMAGES = "the table was read without images"
_PIXELS = {
    "image-size": ("size", "Image size (width, height and their ratio)"),
    "corner-pixels": ("corners", "The four corners of 8×8 pixels"),
    "border-pixels": ("border", "A frame of 5 % of the image"),
    "background": ("background", "The film around the breast"),
    "markers": ("markers", "Bright regions off the breast, such as burnt-in labels"),
}


@dataclass(frozen=True)
class ProbeImages:
    """The rows of the sample table that were read, in its order, and what was read of them.

    ``features`` are name → (n, …), one row an image, as in ``image_features``.
    """

    table: pd.DataFrame
    features: dict[str, np.ndarray]


def leak_probes(dataset: Dataset, images: ProbeImages | None, seed: int = 0) -> list[dict[str, Any]]:
    """Scores two models that cannot diagnose: the nearest neighbour of a thumbnail, and age and density alone.

    Age and density are inputs of the models, so what they know of the label under group splits is no shortcut.

    Args:
        dataset: its whole table gives age and density.
        images: of ``read_probe_images``; None where the dataset has no images.
        seed: of folds, models and bootstrap.

    Returns:
        "nearest-neighbour" and "age-density", as from ``score_probe``.
    """
    shown = images.features["thumbnail"].astype("float32") if images else None
    sees, reason = "The most similar 64×64 grey thumbnail", "" if images else _WITHOUT_IMAGES
    neighbour = Probe("nearest-neighbour", "leak", sees, nearest_neighbour, shown, reason)
    known = dataset.table[["age", "density"]]
    reason = "" if known.notna().any(axis=None) else "neither is known"
    values = known.fillna(UNKNOWN).to_numpy(float)
    metadata = Probe("age-density", "leak", "Age and density", boosted_trees, values, reason)
    return [
        score_probe(neighbour, images.table if images else dataset.table, seed),
        score_probe(metadata, dataset.table, seed),
    ]


def shortcut_probes(dataset: Dataset, images: ProbeImages | None, seed: int = 0) -> list[dict[str, Any]]:
    """Guesses the label from what is not the breast, under group splits and, to compare, image-level ones.

    In mammograms the breast is found by ``preprocessing.breast`` and filled with the film's median; what it misses of
    a breast counts as film. The corners are left as they are, tissue or not, so that a mark under a mask is found too.
    In ultrasound the whole picture is tissue: its border probe says how much the edges alone tell, the lower edge left
    out.

    Args:
        dataset: its whole table gives file names, views and sides.
        images, seed: as for ``leak_probes``.

    Returns:
        Eight results as from ``score_probe``: "file-name-prefix", "view-and-side", "picture-side", "image-size",
        "corner-pixels", "border-pixels", "background" and "markers".
    """
    table = dataset.table
    prefixes = table["image_path"].map(file_name_prefix).to_numpy(dtype=object)[:, None]
    named = table[["view", "side"]]
    sees = "The letters that the file name starts with (site, scanner)"
    reason = "the file names hold the label itself" if names_carry_labels(table) else ""
    prefix = Probe("file-name-prefix", "shortcut", sees, commonest_label, prefixes, reason)
    reason, values = "" if (named != "").any(axis=None) else "neither is known", named.to_numpy(dtype=object)
    view = Probe("view-and-side", "shortcut", "View and side", commonest_label, values, reason)
    pixels = [_side_probe(images), *(_pixel_probe(name, images) for name in _PIXELS)]
    rows = images.table if images else table
    return [
        *(score_probe(one, table, seed) for one in (prefix, view)),
        *(score_probe(one, rows, seed) for one in pixels),
    ]


def file_name_prefix(path: str) -> str:
    """The letters that a file's name starts with, lower case: ``"A_0029_1.LEFT_CC.jpg"`` → ``"a"``; "" for none."""
    return _LETTERS.match(Path(path).stem).group().lower()  # type: ignore[union-attr]  # matches nothing too


def names_carry_labels(table: pd.DataFrame) -> bool:
    """Whether most file names of some class hold the class's name as a word, as in ``benign (1).png``."""

    def words(text: str) -> str:
        return f" {' '.join(_WORDS.findall(text.lower()))} "

    pairs = zip(table["image_path"], table["label"], strict=True)
    named = pd.Series([words(label) in words(Path(path).stem) for path, label in pairs], index=table.index)
    return bool((named.groupby(table["label"]).mean() > 0.5).any())


def _side_probe(images: ProbeImages | None) -> Probe:
    """Scans turned over at one site: the breast lies in the other half of the picture than its name says."""
    sees, pairs, reason = "The half of the picture that holds the breast, against the side in the name", None, ""
    if images is None or "picture_side" not in images.features or not (images.table["side"] != "").any():
        reason = _WITHOUT_IMAGES if images is None else "sides are known for no mammogram"
    else:
        sides = images.table["side"].to_numpy(dtype=object)
        pairs = (images.features["picture_side"].astype(object) + "/" + sides)[:, None]
    return Probe("picture-side", "shortcut", sees, commonest_label, pairs, reason)


def _pixel_probe(name: str, images: ProbeImages | None) -> Probe:
    feature, sees = _PIXELS[name]
    features = images.features.get(feature) if images else None
    missing = "only mammograms show film beside the breast" if images else _WITHOUT_IMAGES
    return Probe(name, "shortcut", sees, random_trees, features, missing if features is None else "")


def read_probe_images(
    dataset: Dataset, limit: int = MAX_IMAGES, seed: int = 0, show_progress: bool = False
) -> ProbeImages:
    """Reads every image of a dataset once, or those of randomly drawn groups where there are too many.

    Args:
        dataset: with images.
        limit: the most images to read, at least 1; the last drawn group may pass it.
        seed: of the draw.
        show_progress: a progress bar on stderr.

    Raises:
        UnreadableImageError: a file cannot be decoded.
    """
    table = dataset.table
    if len(table) > limit:
        sizes = table.groupby("group_id").size().sample(frac=1.0, random_state=seed)
        drawn = sizes.index[sizes.cumsum() - sizes < limit]
        table = table[table["group_id"].isin(drawn)].reset_index(drop=True)

    def read(path: str) -> dict[str, np.ndarray]:
        return image_features(to_grey(read_image(path)), dataset.info.modality)

    with ThreadPoolExecutor(4) as readers:
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
    ends = slice(None, CORNER), slice(-CORNER, None)
    corners = [grey[rows, columns] for rows in ends for columns in ends]
    common = {
        "thumbnail": resize(grey, THUMBNAIL).ravel(),
        "size": np.array([grey.shape[1], grey.shape[0], grey.shape[1] / grey.shape[0]]),
        "corners": _resized(corners, (CORNER, CORNER), cv2.INTER_NEAREST),
    }
    if modality != "mammography":
        return {**common, "border": _border(grey, lower=False)}
    breast = find_breast(grey, margin=BREAST_MARGIN)
    off = breast.mask == 0
    filled = np.where(off, grey, np.uint8(np.median(grey[off]) if off.any() else 0))
    levels = np.percentile(grey[off], PERCENTILES) if off.any() else np.zeros(len(PERCENTILES))
    return {
        **common,
        "border": _border(filled, lower=True),
        "background": np.concatenate([levels, resize(filled, BACKGROUND_THUMBNAIL).ravel()]),
        "markers": _markers(filled, off),
        "picture_side": np.array(_side(breast.mask) if breast.found else ""),
    }


def _resized(parts: list[np.ndarray], size: tuple[int, int], interpolation: int) -> np.ndarray:
    small = [cv2.resize(np.ascontiguousarray(part), size, interpolation=interpolation) for part in parts]
    return np.concatenate(small, None)


def _border(grey: np.ndarray, lower: bool) -> np.ndarray:
    height, width = (max(1, round(FRAME * side)) for side in grey.shape)
    bands = [grey[:height], grey[:, :width].T, grey[:, -width:].T, *([grey[-height:]] if lower else [])]
    return _resized(bands, BAND, cv2.INTER_AREA)


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
