"""Near-twins: images that are copies of one another, or nearly so.

BUSI has no patient identifiers, and many of its images occur more than once, some under two labels. Images that
look alike must stay on one side of a split, or the test part contains the training part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from mmdc_tf.datasets.hash_pairs import Pairs, spanning_pairs
from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError

HASH_SIZE = 16
HASH_BITS = HASH_SIZE**2
THUMBNAIL = 32
NEAR_TWIN_BITS = 40

# The hash marks the coefficients above their median, so a textured image sets half of its bits. An image that
# sets fewer than a quarter has mostly equal coefficients: it is flat, and its hash says nothing about it.
_FEWEST_BITS = HASH_BITS // 4


class Looks(NamedTuple):
    """What n images look like.

    Args:
        hashes: bool, (n, 256): of ``perceptual_hashes``.
        thumbnails: uint8 grey, (n, 32, 32): averaged over areas.
    """

    hashes: np.ndarray
    thumbnails: np.ndarray


def looks_of(paths: Iterable[str | Path]) -> Looks:
    """Reads each image once, for its hash and its thumbnail.

    ``imagehash.phash`` (C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010) of
    the grey image: the 16 x 16 lowest frequencies of its 64 x 64 cosine transform, each above the median or not.

    Args:
        paths: n image files.

    Raises:
        UnreadableImageError: a file cannot be decoded.
    """
    hashes, thumbnails = [], []
    for path in paths:
        grey = read_grey(path)
        hashes.append(imagehash.phash(Image.fromarray(grey), hash_size=HASH_SIZE).hash.ravel())
        thumbnails.append(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA))
    return Looks(
        np.array(hashes, dtype=bool).reshape(-1, HASH_BITS),
        np.array(thumbnails, dtype=np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL),
    )


def perceptual_hashes(paths: Iterable[str | Path]) -> np.ndarray:
    """Hashes what images look like, so that resized and re-encoded copies get nearly equal hashes.

    Args:
        paths: n image files.

    Returns:
        bool, (n, 256), as ``looks_of`` makes them. The number of differing bits is the distance of two images; 128 is
        expected by chance.

    Raises:
        UnreadableImageError: a file cannot be decoded.
    """
    return looks_of(paths).hashes


def join_near_twins(paths: Sequence[str | Path], hashes: np.ndarray, max_bits: int = NEAR_TWIN_BITS) -> np.ndarray:
    """Joins images whose hashes are near, directly or through others, into clusters (single linkage).

    Flat images (no texture to hash) are joined only where their pixels are identical.

    Args:
        paths: n image files, in a fixed order; only those of flat images are read.
        hashes: bool, (n, 256), as ``perceptual_hashes`` returns them.
        max_bits: the largest number of differing hash bits, of 256, at which two images are near-twins. On BUSI
            the distances leave a gap here: 316 of 780 images have a near-twin within 40 bits, 319 within 50.

    Returns:
        int64, (n,): cluster indices 0, 1, … in the order in which the clusters first appear.

    Raises:
        ConfigurationError: ``max_bits`` is not between 0 and 255.
        UnreadableImageError: a flat image cannot be decoded.
    """
    require_bits(max_bits)
    textured = np.flatnonzero(is_textured(hashes))
    near, equal = spanning_pairs(hashes[textured], max_bits), equal_flat_images(paths, hashes)
    i = np.concatenate([textured[near.i], equal.i])
    j = np.concatenate([textured[near.j], equal.j])
    return connected_clusters(i, j, len(hashes))


def connected_clusters(i: np.ndarray, j: np.ndarray, count: int) -> np.ndarray:
    """Joins places, directly or through others, into clusters.

    Args:
        i, j: int, (p,): the pairs that belong together.
        count: the number of places.

    Returns:
        int64, (count,): cluster indices 0, 1, … in the order in which the clusters first appear.
    """
    graph = csr_array((np.ones(len(i), np.int8), (i, j)), shape=(count, count))
    return pd.factorize(connected_components(graph, directed=False)[1])[0].astype(np.int64)


def is_textured(hashes: np.ndarray) -> np.ndarray:
    """Which hashes, of bool (n, 256), say what their image looks like: bool (n,). Those of flat images do not."""
    return hashes.sum(axis=1) >= _FEWEST_BITS


def equal_flat_images(paths: Sequence[str | Path], hashes: np.ndarray) -> Pairs:
    """Pairs each flat image with the first flat image of the same pixels; their distance is 0.

    Args:
        paths, hashes: as for ``join_near_twins``.

    Raises:
        UnreadableImageError: a flat image cannot be decoded.
    """
    flat = np.flatnonzero(~is_textured(hashes))
    digests = pd.Series([_pixel_digest(paths[int(place)]) for place in flat], index=flat, dtype=str)
    first = digests.index.to_series().groupby(digests).transform("min")
    repeated = first[first != first.index]
    return Pairs(repeated.to_numpy(np.int64), repeated.index.to_numpy(np.int64), np.zeros(len(repeated), np.int64))


def require_bits(max_bits: int) -> None:
    """Raises unless ``max_bits`` is between 0 and 255, the bits by which two different hashes can differ.

    Raises:
        ConfigurationError: it is not.
    """
    if not 0 <= max_bits < HASH_BITS:
        raise ConfigurationError(
            f"Expected max_bits between 0 and {HASH_BITS - 1}. Received: max_bits={max_bits}. 40 suits BUSI."
        )


def read_grey(path: str | Path) -> np.ndarray:
    """Reads an image file as ``read_image`` does, colour turned into grey: uint8 (H, W).

    Raises:
        UnreadableImageError: the file cannot be decoded.
    """
    image = read_image(path)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _pixel_digest(path: str | Path) -> str:
    image = read_grey(path)
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
