"""The search for near hashes, against the definition by brute force and scipy's own components."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from mmdc_tf.datasets import hash_pairs as module
from mmdc_tf.datasets.hash_pairs import hash_pairs, pair_blocks, spanning_forest, spanning_pairs, unique_hashes
from mmdc_tf.errors import ConfigurationError


def hashes_with_twins(count, bits=256, seed=0):
    """Random hashes, of which a third are copies of others with some bits flipped, and a few exact copies."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2, (count, bits)).astype(bool)
    third = count // 3
    hashes[third : 2 * third] = hashes[:third] ^ (rng.random((third, bits)) < rng.uniform(0, 0.3, (third, 1)))
    hashes[-3:] = hashes[0]
    return hashes


def distances(hashes):
    return (hashes[:, None, :] != hashes[None, :, :]).sum(axis=-1)


def by_definition(hashes, max_bits):
    apart = distances(hashes)
    i, j = np.nonzero(np.triu(apart <= max_bits, 1))
    return i, j, apart[i, j]


def same_partition(one, other):
    return np.array_equal(one[:, None] == one, other[:, None] == other)


def components(pairs, count, limit):
    near = pairs.distance <= limit
    graph = np.zeros((count, count), bool)
    graph[pairs.i[near], pairs.j[near]] = True
    return connected_components(graph, directed=False)[1]


@pytest.mark.parametrize("max_bits", [0, 1, 40, 100, 256])
def test_pairs_are_those_of_the_definition_and_sorted(max_bits):
    hashes = hashes_with_twins(90)
    found = hash_pairs(hashes, max_bits)
    for values, expected in zip(found, by_definition(hashes, max_bits), strict=True):
        np.testing.assert_array_equal(values, expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(1, 130), st.integers(0, 140), st.integers(0, 2**16))
def test_pairs_are_those_of_the_definition_at_any_number_and_width(count, bits, max_bits, seed):
    hashes = np.random.default_rng(seed).random((count, bits)) < 0.2
    for values, expected in zip(hash_pairs(hashes, max_bits), by_definition(hashes, max_bits), strict=True):
        np.testing.assert_array_equal(values, expected)


def test_pairs_across_tiles_are_found_once(monkeypatch):
    monkeypatch.setattr(module, "_TILE_ROWS", 7)
    monkeypatch.setattr(module, "_TILE_COLUMNS", 16)
    hashes = hashes_with_twins(101)
    for values, expected in zip(hash_pairs(hashes, 60), by_definition(hashes, 60), strict=True):
        np.testing.assert_array_equal(values, expected)


def test_opposite_hashes_are_256_bits_apart_and_not_0():
    hashes = np.stack([np.zeros(256, bool), np.ones(256, bool)])
    assert len(hash_pairs(hashes, 255).i) == 0
    assert list(hash_pairs(hashes, 256).distance) == [256]


def test_more_pairs_than_allowed_are_refused_and_as_many_are_not():
    hashes = np.zeros((20, 64), bool)
    assert len(hash_pairs(hashes, 0, most=190).i) == 190  # 20 · 19 / 2
    with pytest.raises(ConfigurationError, match=r"at most 189 pairs.*max_bits=0 .*20 hashes"):
        hash_pairs(hashes, 0, most=189)


@pytest.mark.parametrize(
    ("hashes", "max_bits", "named"),
    [
        (np.zeros((3, 256), np.uint8), 40, "dtype=uint8"),
        (np.zeros(256, bool), 40, r"shape=\(256,\)"),
        (np.zeros((3, 256), bool), -1, "max_bits=-1"),
    ],
)
def test_what_cannot_be_searched_is_refused(hashes, max_bits, named):
    with pytest.raises(ConfigurationError, match=named):
        hash_pairs(hashes, max_bits)


@pytest.mark.parametrize("pending", [10, 2_000_000])
def test_spanning_pairs_join_what_all_pairs_join_at_every_limit(monkeypatch, pending):
    monkeypatch.setattr(module, "_PENDING_PAIRS", pending)
    monkeypatch.setattr(module, "_TILE_ROWS", 8)
    hashes = hashes_with_twins(120, bits=64)
    apart = distances(hashes)
    pairs = spanning_pairs(hashes, 24)
    assert len(pairs.i) < len(hashes)
    assert (pairs.i < pairs.j).all()
    np.testing.assert_array_equal(apart[pairs.i, pairs.j], pairs.distance)
    for limit in (0, 3, 10, 17, 24):
        assert same_partition(components(pairs, 120, limit), connected_components(apart <= limit)[1])


def test_spanning_pairs_know_each_nearest_neighbour():
    hashes = hashes_with_twins(60, bits=64)
    pairs = spanning_pairs(hashes, 64)
    nearest = np.full(60, 99)
    for ends in (pairs.i, pairs.j):
        np.minimum.at(nearest, ends, pairs.distance)
    np.testing.assert_array_equal(nearest, (distances(hashes) + 99 * np.eye(60, dtype=int)).min(axis=1))


def test_copies_are_joined_without_comparing_them(monkeypatch):
    hashes = np.repeat(hashes_with_twins(12), 2500, axis=0)  # 30,000 hashes, 7.5 million pairs of equal ones
    searched = []
    monkeypatch.setattr(module, "pair_blocks", lambda few, bits: searched.append(len(few)) or pair_blocks(few, bits))
    pairs = spanning_pairs(hashes, 0)
    assert searched == [9]  # of 12, 4 are equal
    assert len(pairs.i) == 30_000 - 9
    assert not pairs.distance.any()


def test_different_hashes_keep_their_order():
    hashes = np.array([[1, 1], [0, 1], [1, 1], [0, 0], [0, 1]], bool)
    first, inverse = unique_hashes(hashes)
    assert list(first) == [0, 1, 3]
    assert list(inverse) == [0, 1, 0, 2, 1]


def test_no_hash_has_no_pair():
    none = np.empty((0, 256), bool)
    assert [len(values) for values in (*hash_pairs(none, 40), *spanning_pairs(none, 40))] == [0] * 6
    assert len(spanning_forest(iter(()), 0).i) == 0
