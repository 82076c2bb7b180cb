"""Near-twins by their hashes, against the definition by brute force, and the figures known of BUSI."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_images import texture, write_all
from scipy.sparse.csgraph import connected_components

from mmdc_tf.datasets import integrity
from mmdc_tf.datasets.busi import list_busi
from mmdc_tf.datasets.integrity import join_near_twins, looks_of, pair_blocks
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, UnreadableImageError


def clusters_of(paths, max_bits=40):
    return join_near_twins(paths, looks_of(paths).hashes, max_bits)


def distances(hashes):
    return (hashes[:, None, :] != hashes[None, :, :]).sum(axis=-1)


def hashes_with_twins(count, bits=256, seed=0):
    """Random hashes, of which a third are copies of others with some bits flipped, and a few exact copies."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2, (count, bits)).astype(bool)
    third = count // 3
    hashes[third : 2 * third] = hashes[:third] ^ (rng.random((third, bits)) < rng.uniform(0, 0.3, (third, 1)))
    hashes[-3:] = hashes[0]
    return hashes


def assert_pairs_by_definition(hashes, max_bits):
    i, j, distance = (np.concatenate(parts) for parts in zip(*pair_blocks(hashes, max_bits), strict=True))
    apart = distances(hashes)
    expected = np.nonzero(np.triu(apart <= max_bits, 1))
    order = np.lexsort((j, i))
    np.testing.assert_array_equal((i[order], j[order]), expected)
    np.testing.assert_array_equal(distance[order], apart[expected])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 40), st.integers(1, 130), st.integers(0, 140), st.integers(0, 2**16))
def test_pairs_are_those_of_the_definition_at_any_number_and_width(count, bits, max_bits, seed):
    assert_pairs_by_definition(np.random.default_rng(seed).random((count, bits)) < 0.2, max_bits)


@pytest.mark.parametrize("max_bits", [0, 1, 40, 100, 256])
def test_pairs_across_tiles_and_blocks_are_found_once(monkeypatch, max_bits):
    for name, value in {"_TILE_ROWS": 7, "_TILE_COLUMNS": 16, "_BLOCK_PAIRS": 10}.items():
        monkeypatch.setattr(integrity, name, value)
    assert_pairs_by_definition(hashes_with_twins(101), max_bits)


def test_opposite_hashes_are_256_bits_apart_and_not_0():
    hashes = np.stack([np.zeros(256, bool), np.ones(256, bool)])
    assert [len(pairs.i) for pairs in pair_blocks(hashes, 255)] == [0]
    assert [list(pairs.distance) for pairs in pair_blocks(hashes, 256)] == [[256]]


@pytest.mark.parametrize("block", [10, 1_000_000])
def test_clusters_are_the_components_of_all_pairs_at_every_limit(monkeypatch, block):
    monkeypatch.setattr(integrity, "_BLOCK_PAIRS", block)
    monkeypatch.setattr(integrity, "_TILE_ROWS", 8)
    hashes = hashes_with_twins(120)
    for limit in (0, 3, 10, 40, 90, 128):
        clusters = join_near_twins([""] * 120, hashes, limit)
        expected = connected_components(distances(hashes) <= limit)[1]
        np.testing.assert_array_equal(clusters[:, None] == clusters, expected[:, None] == expected)


def test_copies_are_joined_without_comparing_them(monkeypatch):
    hashes = np.repeat(hashes_with_twins(12), 2500, axis=0)  # 30,000 hashes, 7.5 million pairs of equal ones
    searched = []
    monkeypatch.setattr(integrity, "pair_blocks", lambda few, bits: searched.append(len(few)) or pair_blocks(few, bits))
    assert len(set(join_near_twins([""] * 30_000, hashes, 0))) == 9  # of 12, 4 are equal
    assert searched == [9]


def test_copies_are_near_and_other_images_far(tmp_path):
    image = texture(1)
    copies = [
        image,
        cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA),
        cv2.cvtColor(image, cv2.COLOR_GRAY2BGR),
        (image // 2 + 20).astype(np.uint8),
    ]
    hashes = looks_of(write_all(tmp_path, [*copies, texture(2)])).hashes
    assert (hashes.shape, hashes.dtype) == ((5, 256), bool)
    assert hashes.sum(axis=1)[[0, 4]].tolist() == [128, 128]
    apart = distances(hashes)
    assert apart[0, 2] == 0
    assert apart[0, :4].max() <= 40
    assert apart[:4, 4].min() > 80


def test_the_limit_itself_still_joins(tmp_path):
    paths = write_all(tmp_path, [texture(1), cv2.addWeighted(texture(1), 0.8, texture(2), 0.2, 0)])
    bits = int(distances(looks_of(paths).hashes)[0, 1])
    assert bits > 0
    assert list(clusters_of(paths, max_bits=bits)) == [0, 0]
    assert list(clusters_of(paths, max_bits=bits - 1)) == [0, 1]


def test_twins_of_twins_join_and_clusters_are_numbered_by_first_appearance(tmp_path):
    steps = [cv2.addWeighted(texture(1), 1 - w, texture(2), w, 0) for w in np.linspace(0, 1, 21)]
    paths = write_all(tmp_path, [texture(3), *steps, texture(4), texture(3)])
    assert distances(looks_of(paths).hashes)[1, 21] > 80
    assert list(clusters_of(paths)) == [0, *[1] * 21, 2, 0]


def test_flat_images_are_twins_only_when_equal(tmp_path):
    flat = [np.full((32, 32), value, np.uint8) for value in (0, 128, 255, 128)]
    paths = write_all(tmp_path, [*flat, texture(1), texture(2)])
    assert list(clusters_of(paths)) == [0, 1, 2, 1, 3, 4]


def test_no_image_unreadable_images_and_impossible_limits(tmp_path):
    assert clusters_of([]).shape == (0,)
    (tmp_path / "bad.png").write_text("text")
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        clusters_of([tmp_path / "bad.png"])
    for bits in (-1, 256):
        with pytest.raises(ConfigurationError, match=f"max_bits={bits}"):
            clusters_of([], max_bits=bits)


def test_busi_has_the_known_number_of_near_twins(real_data):
    hashes = looks_of(list_busi(real_data / "busi").table["image_path"]).hashes
    nearest = (distances(hashes) + 256 * np.eye(len(hashes), dtype=int)).min(axis=1)
    assert len(hashes) == 780
    assert (nearest <= 20).sum() == 216
    assert (nearest <= 40).sum() == 316
