"""Copies of images: those that the hash does not see, the second measure that confirms them, and datasets without them.

A perceptual hash changes with every shift of the picture; the largest correlation over all shifts does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import fft
from skimage.metrics import structural_similarity

from mmdc_tf.datasets.integrity import (
    NEAR_TWIN_BITS,
    THUMBNAIL,
    Looks,
    Pairs,
    is_textured,
    join_near_twins,
    join_pairs,
    looks_of,
    read_grey,
)
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import TWIN_UNIT, Dataset
from mmdc_tf.errors import ConfigurationError, DatasetError, counted, did_you_mean

SEARCHED = "ultrasound"
CONFIRMED_SSIM = 0.6
"""From BUSI: all 207 pairs within 40 bits have 0.80 or more, 400 random other pairs at most 0.37."""
LEAST_CORRELATION = 0.4
"""From BUSI: the confirmed pairs beyond 40 bits have 0.44 or more; 99 pairs of different clusters reach 0.4."""
MOST_IMAGES, MOST_PAIRS = 10_000, 2000
"""All pairs are compared: 1 s for 780 images, about 3 minutes for 10,000; of more, the hash alone is taken."""
MOST_SIDE, LEAST_OVERLAP = 1024, 0.5
"""Images are compared at most so large, and only where an alignment leaves this share of the image in common."""
NEAR_TWIN_TREATMENTS = ("keep", "drop-conflicts", "one-per-cluster")

_SMOOTH, _CONTRAST = 1.5, 3.0  # pixels of the thumbnail: what is larger than a speckle or a duct is taken away
_LEAST_CONTRAST = 2.0  # grey levels, so that the noise of black parts is not raised to the height of texture
_COLUMNS = 256
_COARSE_SIDE, _WINDOW = 256, 7  # the window of structural_similarity by default
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-4)
_SMOOTHING = 5  # width of the Gaussian window that findTransformECC smooths with


class Candidates(NamedTuple):
    """Pairs that may be copies, and one clear line each on what was not looked at."""

    pairs: Pairs
    notes: tuple[str, ...]


def near_twin_clusters(paths: Iterable[str | Path], modality: str = SEARCHED) -> tuple[np.ndarray, tuple[str, ...]]:
    """Joins images that are copies, directly or through others, into clusters (single linkage).

    Copies are images whose hashes differ in at most ``NEAR_TWIN_BITS`` (``join_near_twins``), and those of
    ``shifted_pairs`` that ``aligned_similarity`` confirms.

    Returns:
        int64, (n,): cluster indices 0, 1, … in the order in which the clusters first appear; and the notes of
        ``shifted_pairs``.

    Raises:
        UnreadableImageError: a file cannot be decoded.
    """
    paths = list(paths)
    looks = looks_of(paths)
    clusters = join_near_twins(paths, looks.hashes, NEAR_TWIN_BITS)
    pairs, notes = shifted_pairs(looks, clusters, modality)
    confirmed = [
        aligned_similarity(read_grey(paths[i]), read_grey(paths[j])) >= CONFIRMED_SSIM
        for i, j in zip(pairs.i, pairs.j, strict=True)
    ]
    return join_pairs(clusters, pairs.i[confirmed], pairs.j[confirmed]), notes


def shifted_pairs(looks: Looks, clusters: np.ndarray, modality: str = SEARCHED, most: int = MOST_PAIRS) -> Candidates:
    """Finds pairs of images of different clusters that correlate once one is shifted over the other.

    Each thumbnail loses its local mean and contrast (Gaussian windows of 1.5 and 3 of 32 pixels), since two
    ultrasound scans that have nothing in common but depth and gain correlate too, and fades out to its sides (Hann
    window). The largest circular correlation over all shifts is that of the inverse Fourier transform (C. Kuglin and
    D. Hines, "The phase correlation image alignment method", IEEE Conf. Cybernetics and Society, 1975, 163-165,
    without their whitening).

    Args:
        looks: of n images; flat ones have no part.
        clusters: int64, (n,): pairs within one are left out.
        modality: of any but ultrasound there are none: all breasts before black film correlate, and are alike by SSIM
            (of 72 mammograms of 18 patients, 793 pairs would be confirmed).
        most: the pairs of the largest correlation are kept.

    Returns:
        Pairs of at least ``LEAST_CORRELATION``, the largest first, ``distance`` that of their hashes; none of more than
        ``MOST_IMAGES`` images. Notes say so, and where more than ``most`` were found.
    """
    count = len(clusters)
    if modality != SEARCHED or count > MOST_IMAGES:
        note = f"{count:,} images: copies beyond {NEAR_TWIN_BITS} bits are searched for among at most {MOST_IMAGES:,}"
        return Candidates(Pairs(*np.empty((3, 0), np.int64)), (note,) if modality == SEARCHED else ())
    prepared = np.array([_prepared(thumbnail) for thumbnail in looks.thumbnails], np.float32)
    spectra = fft.rfft2(prepared.reshape(-1, THUMBNAIL, THUMBNAIL))
    textured = is_textured(looks.hashes)
    places, found = [np.empty((2, 0), np.int64)], [np.empty(0, np.float32)]
    for place in np.flatnonzero(textured):
        others = place + 1 + np.flatnonzero(textured[place + 1 :] & (clusters[place + 1 :] != clusters[place]))
        for block in np.split(others, range(_COLUMNS, len(others), _COLUMNS)):
            correlation = fft.irfft2(spectra[block] * spectra[place].conj(), overwrite_x=True).max(axis=(1, 2))
            near = correlation >= LEAST_CORRELATION
            places.append(np.stack([np.full(near.sum(), place), block[near]]))
            found.append(correlation[near])
    order = np.argsort(-np.concatenate(found), kind="stable")
    i, j = np.concatenate(places, axis=1)[:, order[:most]]
    distance = (looks.hashes[i] != looks.hashes[j]).sum(axis=1)
    note = f"of {len(order):,} pairs that correlate, {len(i):,} were compared at full size"
    return Candidates(Pairs(i, j, distance), (note,) if len(i) < len(order) else ())


def _prepared(thumbnail: np.ndarray) -> np.ndarray:
    """float32 (32, 32) of sum 0 and sum of squares 1."""
    grey = thumbnail.astype(np.float32)
    detail = grey - cv2.GaussianBlur(grey, (0, 0), _SMOOTH)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _CONTRAST))
    even = detail / (contrast + _LEAST_CONTRAST) * cv2.createHanningWindow(grey.shape, cv2.CV_32F)
    even -= even.mean()
    return even / max(float(np.linalg.norm(even)), 1e-6)


def aligned_similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of two images where they overlap after an affine alignment.

    Both are brought to one size (the smaller height and the smaller width, at most ``MOST_SIDE``); ``other`` is moved
    onto ``one`` by the affine transform of the largest correlation, first at 256 pixels, then at full size (G.
    Evangelidis and E. Psarakis, "Parametric image alignment using enhanced correlation coefficient maximization",
    IEEE TPAMI 30 (2008) 1858-1865). The similarity (Z. Wang et al., "Image quality assessment: from error visibility to
    structural similarity", IEEE TIP 13 (2004) 600-612; windows of 7 pixels) is averaged over the overlap. Where that
    is below half of the image, or no alignment is found or helps, the images are compared as they lie.

    Args:
        one, other: uint8 grey, (H, W) and (h, w).

    Returns:
        At most 1 for images that are equal. On BUSI's 256 x 256 pixels unrelated images have 0.2.
    """
    shape = np.maximum(np.minimum(one.shape, other.shape), _WINDOW)
    share = min(1.0, MOST_SIDE / shape.max())
    height, width = (max(_WINDOW, round(side * share)) for side in shape)
    one, other = (cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in (one, other))
    as_they_lie = float(structural_similarity(one, other, data_range=255))
    warp = _affine(one, other)
    if warp is None:
        return as_they_lie
    moved = cv2.warpAffine(other, warp, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    overlap = cv2.warpAffine(np.ones_like(other), warp, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    window = np.ones((_WINDOW, _WINDOW), np.uint8)  # only those that lie in both images count
    inside = cv2.erode(overlap, window, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    if inside.mean() < LEAST_OVERLAP:
        return as_they_lie
    return max(as_they_lie, float(structural_similarity(one, moved, data_range=255, full=True)[1][inside].mean()))


def _affine(one: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """float32 (2, 3), from the pixels of ``one`` to those of ``other``; None where the search does not converge."""
    warp = np.eye(2, 3, dtype=np.float32)
    for side in (_COARSE_SIDE, MOST_SIDE):
        share = min(1.0, side / max(one.shape))
        height, width = (max(1, round(length * share)) for length in one.shape)
        small, small_other = (cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA) for x in (one, other))
        scale, no_mask = np.array([1, 1, share], np.float32), np.full(small.shape, 255, np.uint8)
        try:
            _, found = cv2.findTransformECC(
                small, small_other, warp * scale, cv2.MOTION_AFFINE, _STEPS, no_mask, _SMOOTHING
            )
        except cv2.error:  # flat, or nothing in common
            return None
        warp = np.asarray(found, np.float32) / scale
        if max(one.shape) <= side:
            break
    return warp if np.isfinite(warp).all() else None


def treat_near_twins(dataset: Dataset, treatment: str) -> Dataset:
    """Treats near-twins as a command's option says; a note counts what was left out, and the fingerprint changes.

    Args:
        dataset: with images. Where it has no patients, its groups are the near-twin clusters; otherwise these are
            searched for.
        treatment: "keep"; "drop-conflicts", without any image of a cluster that holds more than one label, since nobody
            can say which is right; or "one-per-cluster", of the others the first image by ``sample_id`` alone.

    Raises:
        ConfigurationError: another treatment, or a dataset without images.
        DatasetError: a class would be left without an image.
        UnreadableImageError: an image cannot be decoded.
    """
    if treatment not in NEAR_TWIN_TREATMENTS:
        names = ", ".join(NEAR_TWIN_TREATMENTS)
        hint = did_you_mean(treatment, NEAR_TWIN_TREATMENTS, "Choose one of them.")
        raise ConfigurationError(
            f"Expected near-twins to be one of {names}. Received: near_twins={treatment!r}. {hint}"
        )
    if treatment == "keep":
        return dataset
    if not dataset.has_images:
        raise ConfigurationError(
            f"Expected a dataset with images to look for near-twins in. Received: {dataset.info.name} from its table "
            "alone. Keep the near-twins, or give the folder with the images."
        )
    table, clusters, notes = dataset.table, dataset.table["group_id"], dataset.notes
    if dataset.info.group_unit != TWIN_UNIT:
        found, unsearched = near_twin_clusters(table["image_path"], dataset.info.modality)
        clusters, notes = pd.Series(found, index=table.index), (*notes, *unsearched)
    conflicting = table["label"].groupby(clusters).transform("nunique") > 1
    conflicts = counted(int(conflicting.sum()), "image")
    if treatment == "drop-conflicts":
        left_out, note = conflicting, f"near-twins with conflicting labels left out: {conflicts}"
    else:
        repeated = clusters.duplicated() & ~conflicting
        left_out, repeats = repeated | conflicting, counted(int(repeated.sum()), "image")
        note = (
            f"one image of each near-twin cluster kept: {repeats} left out as repeats, {conflicts} for conflicting "
            "labels"
        )
    smaller = replace(
        dataset, table=table[~left_out].reset_index(drop=True), notes=(*notes, f"{note}, of {len(table):,}")
    )
    empty = [name for name, count in smaller.found_counts.items() if count == 0 and dataset.found_counts[name]]
    if empty:
        raise DatasetError(
            f"Expected images of every class once near-twins are dropped. Received: {dataset.root} with no {empty[0]} "
            f"left ({note}). Keep the near-twins, or correct the labels."
        )
    return smaller
