"""Pairs of hashes that differ in few bits, among many hashes.

Each hash is packed into 64-bit words; a tile of rows and columns is compared at once, by XOR and a count of the set
bits in numpy's compiled code. The work grows with the square of the number of hashes, memory with the number of hashes
and of pairs found; ``benchmarks/near_twins.py`` measures both. Hashes that differ in 40 of 256 bits share no part long
enough for an index to save much of the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree

from mmdc_tf.errors import ConfigurationError

MOST_PAIRS = 20_000_000
"""The longest list that ``hash_pairs`` returns, about 0.5 GB."""

# 64 x 8,192 words of 64 bits are 4 MB: of the tiles that were tried, one of the fastest.
_TILE_ROWS, _TILE_COLUMNS = 64, 8192
_PENDING_PAIRS = 2_000_000


class Pairs(NamedTuple):
    """Pairs of places in one list, each pair once.

    Args:
        i, j: int64, (p,), with i < j.
        distance: int64, (p,): the number of differing bits.
    """

    i: np.ndarray
    j: np.ndarray
    distance: np.ndarray


def hash_pairs(hashes: np.ndarray, max_bits: int, most: int = MOST_PAIRS) -> Pairs:
    """Finds all pairs of hashes that differ in at most ``max_bits`` bits.

    Args:
        hashes: bool, (n, bits).
        max_bits: at least 0.
        most: the largest number of pairs to return, so that memory stays bounded.

    Returns:
        The pairs sorted by i, then by j.

    Raises:
        ConfigurationError: ``hashes`` is not a boolean matrix, ``max_bits`` is negative, or there are more than
            ``most`` pairs (many images are alike: ``spanning_pairs`` joins them without listing each pair).
    """
    blocks: list[Pairs] = []
    count = 0
    for block in pair_blocks(hashes, max_bits):
        count += len(block.i)
        if count > most:
            raise ConfigurationError(
                f"Expected at most {most:,} pairs of hashes within max_bits. Received: max_bits={max_bits} with more "
                f"pairs than that among {len(hashes):,} hashes. Lower max_bits: most of these images are alike."
            )
        blocks.append(block)
    pairs = _joined(blocks)
    order = np.lexsort((pairs.j, pairs.i))
    return Pairs(*(values[order] for values in pairs))


def pair_blocks(hashes: np.ndarray, max_bits: int) -> Iterator[Pairs]:
    """As ``hash_pairs``, but some pairs at a time, at most 524,288, in no promised order: for any number of pairs.

    Raises:
        ConfigurationError: ``hashes`` is not a boolean matrix, or ``max_bits`` is negative.
    """
    words = _words(hashes, max_bits)
    count = words.shape[1]
    for top in range(0, count, _TILE_ROWS):
        for left in range(top, count, _TILE_COLUMNS):
            distance = _distances(words[:, top : top + _TILE_ROWS], words[:, left : left + _TILE_COLUMNS])
            row, column = np.divmod(np.flatnonzero(distance <= max_bits), distance.shape[1])
            once = top + row < left + column
            row, column = row[once], column[once]
            if len(row):
                yield Pairs(top + row, left + column, distance[row, column].astype(np.int64))


def spanning_pairs(hashes: np.ndarray, max_bits: int) -> Pairs:
    """Finds few pairs that join the same hashes as all pairs do, at every limit up to ``max_bits``.

    A minimum spanning forest: for each limit b ≤ ``max_bits`` the pairs of distance ≤ b have the same connected
    components here as among all pairs, and each hash has its nearest neighbour's distance. Equal hashes are joined
    to the first of them before the search, so that any number of copies costs nothing.

    Args:
        hashes, max_bits: as for ``hash_pairs``.

    Returns:
        At most n - 1 pairs, in no promised order; memory stays bounded whatever the number of pairs.

    Raises:
        ConfigurationError: as ``hash_pairs``, but for no number of pairs.
    """
    first, inverse = unique_hashes(hashes)
    copies = np.flatnonzero(first[inverse] != np.arange(len(hashes)))
    equal = Pairs(first[inverse[copies]], copies, np.zeros(len(copies), np.int64))
    found = spanning_forest(pair_blocks(hashes[first], max_bits), len(first))
    return _joined([equal, Pairs(first[found.i], first[found.j], found.distance)])


def spanning_forest(blocks: Iterator[Pairs], count: int) -> Pairs:
    """The minimum spanning forest of the graph of ``count`` nodes whose edges come in blocks."""
    kept: list[Pairs] = []
    pending = 0
    for block in blocks:
        kept.append(block)
        pending += len(block.i)
        if pending > _PENDING_PAIRS:
            kept, pending = [_forest(_joined(kept), count)], 0
    return _forest(_joined(kept), count)


def unique_hashes(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different hashes among many.

    Args:
        hashes: bool, (n, bits).

    Returns:
        The place where each different hash first stands, ascending, int64 (u,), and for each hash which of them it
        is, int64 (n,).
    """
    packed = np.packbits(hashes, axis=1)
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.ravel()]


def _words(hashes: np.ndarray, max_bits: int) -> np.ndarray:
    """uint64, (words, n): each hash padded with zeros to whole words."""
    if hashes.ndim != 2 or hashes.dtype != bool or max_bits < 0:
        raise ConfigurationError(
            "Expected hashes as a boolean matrix, one row a hash, and max_bits of at least 0. Received: "
            f"dtype={hashes.dtype}, shape={hashes.shape}, max_bits={max_bits}. Use integrity.perceptual_hashes."
        )
    padded = np.pad(hashes, ((0, 0), (0, -hashes.shape[1] % 64)))
    return np.ascontiguousarray(np.packbits(padded, axis=1).view(np.uint64).T)


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """uint16, (rows, columns): the differing bits of uint64 hashes (words, rows) and (words, columns)."""
    total = np.zeros((one.shape[1], other.shape[1]), np.uint16)
    for left, right in zip(one, other, strict=True):
        total += np.bitwise_count(left[:, None] ^ right[None, :])
    return total


def _joined(blocks: list[Pairs]) -> Pairs:
    empty = np.empty(0, np.int64)
    return Pairs(*(np.concatenate(values) for values in zip((empty, empty, empty), *blocks, strict=True)))


def _forest(pairs: Pairs, count: int) -> Pairs:
    # One bit more, since a weight of 0 would be no edge.
    graph = csr_array((pairs.distance + 1, (pairs.i, pairs.j)), shape=(count, count))
    tree = minimum_spanning_tree(graph).tocoo()
    i, j = (places.astype(np.int64) for places in (tree.row, tree.col))
    return Pairs(np.minimum(i, j), np.maximum(i, j), tree.data.astype(np.int64) - 1)
