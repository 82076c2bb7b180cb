"""Near-twins: images that are copies of one another, or nearly so.

BUSI has no patient identifiers, and many of its images occur more than once, some under two labels. Images that
look alike must stay on one side of a split, or the test part contains the training part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import radius_neighbors_graph

from mmdc_tf.datasets.images import read_image
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.opencv import cv2

HASH_SIZE = 16
HASH_BITS = HASH_SIZE**2
NEAR_TWIN_BITS = 40

# The hash marks the coefficients above their median, so a textured image sets half of its bits. An image that
# sets fewer than a quarter has mostly equal coefficients: it is flat, and its hash says nothing about it.
_FEWEST_BITS = HASH_BITS // 4


def perceptual_hashes(paths: Iterable[str | Path]) -> np.ndarray:
    """Hashes what images look like, so that resized and re-encoded copies get nearly equal hashes.

    ``imagehash.phash`` (C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010) of
    the grey image: the 16 x 16 lowest frequencies of its 64 x 64 cosine transform, each above the median or not.

    Args:
        paths: n image files.

    Returns:
        bool, (n, 256). The number of differing bits is the distance of two images; 128 is expected by chance.

    Raises:
        UnreadableImageError: a file cannot be decoded.
    """
    hashes = [imagehash.phash(Image.fromarray(_read_grey(path)), hash_size=HASH_SIZE).hash.ravel() for path in paths]
    return np.array(hashes, dtype=bool).reshape(-1, HASH_BITS)


def near_twin_clusters(paths: Iterable[str | Path], max_bits: int = NEAR_TWIN_BITS) -> np.ndarray:
    """Joins images that are near-twins, directly or through others, into clusters (single linkage).

    Flat images (no texture to hash) are joined only where their pixels are identical.

    Args:
        paths: n image files, in a fixed order.
        max_bits: the largest number of differing hash bits, of 256, at which two images are near-twins. On BUSI
            the distances leave a gap here: 316 of 780 images have a near-twin within 40 bits, 319 within 50.

    Returns:
        int64, (n,): cluster indices 0, 1, … in the order in which the clusters first appear.

    Raises:
        ConfigurationError: ``max_bits`` is not between 0 and 255.
        UnreadableImageError: a file cannot be decoded.
    """
    if not 0 <= max_bits < HASH_BITS:
        raise ConfigurationError(
            f"Expected max_bits between 0 and {HASH_BITS - 1}. Received: max_bits={max_bits}. 40 suits BUSI."
        )
    paths = list(paths)
    hashes = perceptual_hashes(paths)
    textured = hashes.sum(axis=1) >= _FEWEST_BITS
    names = np.empty(len(paths), dtype=object)
    names[textured] = _linked(hashes[textured], max_bits)
    names[~textured] = [_pixel_digest(path) for path, keep in zip(paths, textured, strict=True) if not keep]
    return pd.factorize(names)[0].astype(np.int64)


def _linked(hashes: np.ndarray, max_bits: int) -> np.ndarray:
    """Components of the graph that joins hashes within ``max_bits``; distances are taken in bounded chunks."""
    if len(hashes) == 0:
        return np.empty(0, dtype=np.int64)
    # Half a bit more, since the neighbour search compares rounded fractions of 256.
    radius = (max_bits + 0.5) / HASH_BITS
    graph = radius_neighbors_graph(hashes, radius, metric="hamming", mode="connectivity")
    return connected_components(graph, directed=False)[1]


def _read_grey(path: str | Path) -> np.ndarray:
    image = read_image(path)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _pixel_digest(path: str | Path) -> str:
    image = _read_grey(path)
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
