"""Near-twins: images that are copies of one another, or nearly so, by a perceptual hash.

BUSI has no patient identifiers, and many of its images occur more than once, some under two labels. Images that
look alike must stay on one side of a split, or the test part contains the training part. What the hash does not see is
found in ``copies``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError

HASH_SIZE, THUMBNAIL = 16, 32
HASH_BITS = HASH_SIZE**2
NEAR_TWIN_BITS = 40

# A tile of 64 x 8,192 hashes is 4 MB for each word of 64 bits: of the sizes that were tried, one of the fastest.
_TILE_ROWS, _TILE_COLUMNS = 64, 8192
_BLOCK_PAIRS = 1_000_000


class Looks(NamedTuple):
    """Of n images: hashes, bool (n, 256), and thumbnails averaged over areas, uint8 grey (n, 32, 32)."""

    hashes: np.ndarray
    thumbnails: np.ndarray


class Pairs(NamedTuple):
    """Places of pairs of images, int64 (p,), i < j, each pair once; and the number of differing bits, int64 (p,)."""

    i: np.ndarray
    j: np.ndarray
    distance: np.ndarray


def looks_of(paths: Iterable[str | Path]) -> Looks:
    """Reads each image once, for its hash and its thumbnail; raises UnreadableImageError.

    ``imagehash.phash`` (C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010) of
    the grey image: the 16 x 16 lowest frequencies of its 64 x 64 cosine transform, each above the median or not, so
    that resized and re-encoded copies get nearly equal hashes. By chance 128 bits differ.
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


def join_near_twins(paths: Sequence[str | Path], hashes: np.ndarray, max_bits: int = NEAR_TWIN_BITS) -> np.ndarray:
    """Joins images whose hashes are near, directly or through others, into clusters (single linkage).

    Flat images (no texture to hash) are joined only where their pixels are identical.

    Args:
        paths: n image files, in a fixed order; only those of flat images are read.
        hashes: bool, (n, 256), as ``looks_of`` returns them.
        max_bits: the largest number of differing bits of near-twins, 0 to 255. On BUSI the distances leave a gap at
            40: 316 of 780 images have a near-twin within 40 bits, 319 within 50.

    Returns:
        int64, (n,): cluster indices 0, 1, … in the order in which the clusters first appear.
    """
    require_bits(max_bits)
    textured = is_textured(hashes)
    keys = [hashes[n].tobytes() if textured[n] else _pixel_digest(path) for n, path in enumerate(paths)]
    clusters = pd.factorize(pd.Series(keys, dtype=object))[0].astype(np.int64)
    first = np.flatnonzero(textured & ~pd.Series(clusters).duplicated().to_numpy())
    for near in pair_blocks(hashes[first], max_bits):
        clusters = join_pairs(clusters, first[near.i], first[near.j])
    return clusters


def join_pairs(clusters: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Joins the clusters, int (n,), that pairs of images (p,) connect; numbered as ``join_near_twins`` does."""
    names, place = np.unique(clusters, return_inverse=True)
    i, j = place[i], place[j]
    apart = i != j
    graph = csr_array((np.ones(apart.sum()), (i[apart], j[apart])), shape=(len(names), len(names)))
    return pd.factorize(connected_components(graph, directed=False)[1][place])[0].astype(np.int64)


def pair_blocks(hashes: np.ndarray, max_bits: int) -> Iterator[Pairs]:
    """All pairs of hashes, bool (n, bits), that differ in at most ``max_bits``, some at a time, in any order.

    A tile of rows and columns is compared at once, by XOR and a count of the set bits: the work grows with the square
    of the number of hashes, memory with that number. Hashes that differ in 40 of 256 bits share no part long enough
    for an index to save much.
    """
    padded = np.pad(hashes, ((0, 0), (0, -hashes.shape[1] % 64)))
    words = np.ascontiguousarray(np.packbits(padded, axis=1).view(np.uint64).T)
    found, count = [np.empty((3, 0), np.int64)], 0
    for top in range(0, len(hashes), _TILE_ROWS):
        for left in range(top, len(hashes), _TILE_COLUMNS):
            distance = _distances(words[:, top : top + _TILE_ROWS], words[:, left : left + _TILE_COLUMNS])
            row, column = np.divmod(np.flatnonzero(distance <= max_bits), distance.shape[1])
            once = top + row < left + column
            row, column = row[once], column[once]
            found.append(np.stack([top + row, left + column, distance[row, column]]).astype(np.int64))
            count += len(row)
            if count >= _BLOCK_PAIRS:
                yield Pairs(*np.concatenate(found, axis=1))
                found, count = found[:1], 0
    yield Pairs(*np.concatenate(found, axis=1))


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """uint16, (rows, columns): the differing bits of uint64 hashes (words, rows) and (words, columns)."""
    total = np.zeros((one.shape[1], other.shape[1]), np.uint16)
    for left, right in zip(one, other, strict=True):
        total += np.bitwise_count(left[:, None] ^ right[None, :])
    return total


def is_textured(hashes: np.ndarray) -> np.ndarray:
    """Which hashes, of bool (n, 256), say what their image looks like: bool (n,).

    The hash marks the coefficients above their median: half of the bits of a textured image. One that sets fewer than a
    quarter has mostly equal coefficients; it is flat.
    """
    return hashes.sum(axis=1) >= HASH_BITS // 4


def require_bits(max_bits: int) -> None:
    """Raises ConfigurationError unless ``max_bits`` is between 0 and 255."""
    if not 0 <= max_bits < HASH_BITS:
        raise ConfigurationError(
            f"Expected max_bits between 0 and {HASH_BITS - 1}. Received: max_bits={max_bits}. 40 suits BUSI."
        )


def read_grey(path: str | Path) -> np.ndarray:
    """Reads an image file as ``read_image`` does, colour turned into grey: uint8 (H, W)."""
    image = read_image(path)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _pixel_digest(path: str | Path) -> str:
    image = read_grey(path)
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()
