"""Copies that the hash does not see: moved or cut otherwise, found by correlation and confirmed at full size.

A perceptual hash changes with every shift of the picture; the largest correlation over all shifts does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import fft

from mmdc_tf.datasets.aligned_similarity import aligned_similarity
from mmdc_tf.datasets.hash_pairs import Pairs
from mmdc_tf.datasets.integrity import (
    NEAR_TWIN_BITS,
    THUMBNAIL,
    Looks,
    connected_clusters,
    is_textured,
    join_near_twins,
    looks_of,
    read_grey,
)
from mmdc_tf.datasets.opencv import cv2

SEARCHED = "ultrasound"

CONFIRMED_SSIM = 0.6
"""From BUSI: all 207 pairs within 40 bits have 0.80 or more, 400 random other pairs at most 0.37."""

LEAST_CORRELATION = 0.4
"""From BUSI: the confirmed pairs beyond 40 bits have 0.44 or more; 99 pairs of different clusters reach 0.4."""

MOST_IMAGES = 10_000
"""All pairs are compared: 1 s for 780 images, about 3 minutes for so many; of more, the hash alone is taken."""

MOST_PAIRS = 2000
_SMOOTH, _CONTRAST = 1.5, 3.0  # pixels of the thumbnail: what is larger than a speckle or a duct is taken away
_LEAST_CONTRAST = 2.0  # grey levels, so that the noise of black parts is not raised to the height of texture
_COLUMNS = 256


class Candidates(NamedTuple):
    """Pairs that may be copies, and one clear line each on what was not looked at."""

    pairs: Pairs
    notes: tuple[str, ...]


def near_twin_clusters(paths: Iterable[str | Path], modality: str = SEARCHED) -> tuple[np.ndarray, tuple[str, ...]]:
    """Joins images that are copies, directly or through others, into clusters (single linkage).

    Copies are images whose hashes differ in at most ``NEAR_TWIN_BITS`` (``join_near_twins``), and those of
    ``shifted_pairs`` that ``aligned_similarity`` confirms.

    Args:
        paths: n image files, in a fixed order.
        modality: as for ``shifted_pairs``.

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


def join_pairs(clusters: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Joins the clusters, int64 (n,), that pairs of images (p,) connect; numbered again as before."""
    first = np.unique(clusters, return_index=True)[1][clusters]
    places = np.arange(len(clusters))
    return connected_clusters(np.concatenate([places, i]), np.concatenate([first, j]), len(clusters))


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
    i, j, found = [], [], []
    for place in np.flatnonzero(textured):
        others = place + 1 + np.flatnonzero(textured[place + 1 :] & (clusters[place + 1 :] != clusters[place]))
        for block in np.split(others, range(_COLUMNS, len(others), _COLUMNS)):
            correlation = fft.irfft2(spectra[block] * spectra[place].conj(), overwrite_x=True).max(axis=(1, 2))
            near = correlation >= LEAST_CORRELATION
            i.append(np.full(near.sum(), place))
            j.append(block[near])
            found.append(correlation[near])
    order = np.argsort(-np.concatenate([*found, np.empty(0)]), kind="stable")
    one, other = (np.concatenate([*places, np.empty(0, np.int64)])[order[:most]] for places in (i, j))
    distance = (looks.hashes[one] != looks.hashes[other]).sum(axis=1)
    dropped = len(order) - len(one)
    notes = (f"of {len(order):,} pairs that correlate, {len(one):,} were compared at full size",) if dropped else ()
    return Candidates(Pairs(one, other, distance), notes)


def _prepared(thumbnail: np.ndarray) -> np.ndarray:
    """float32 (32, 32) of sum 0 and sum of squares 1."""
    grey = thumbnail.astype(np.float32)
    detail = grey - cv2.GaussianBlur(grey, (0, 0), _SMOOTH)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), _CONTRAST))
    window = cv2.createHanningWindow(grey.shape, cv2.CV_32F)
    even = detail / (contrast + _LEAST_CONTRAST) * window
    even -= even.mean()
    return even / max(float(np.linalg.norm(even)), 1e-6)
