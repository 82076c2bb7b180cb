"""Copies whose hashes are far apart: a moved one made by hand, and BUSI's, named by an independent review."""

from __future__ import annotations

import numpy as np
import pytest
from test_integrity import texture, write_all

from mmdc_tf.datasets import copies
from mmdc_tf.datasets.busi import load_busi
from mmdc_tf.datasets.copies import near_twin_clusters, shifted_pairs
from mmdc_tf.datasets.hash_pairs import Pairs
from mmdc_tf.datasets.integrity import looks_of
from mmdc_tf.errors import UnreadableImageError


@pytest.fixture
def paths(tmp_path):
    """0 and 2 are one scan, of which another part was saved; 1 and 3 are other scans, 4 is flat."""
    scan = texture(1, 160)
    return write_all(
        tmp_path,
        [scan[:128, :128], texture(2, 128), scan[3:131, 6:134], texture(3, 128), np.zeros((128, 128), np.uint8)],
    )


def test_a_moved_copy_joins_though_its_hash_is_far(paths):
    looks = looks_of(paths)
    assert (looks.hashes[0] != looks.hashes[2]).sum() > 80
    clusters, notes = near_twin_clusters(paths)
    assert list(clusters) == [0, 1, 0, 2, 3]
    assert notes == ()


def test_pairs_are_the_best_first_and_not_those_of_one_cluster(paths):
    looks = looks_of(paths)
    pairs, _ = shifted_pairs(looks, np.arange(5))
    assert (pairs.i[0], pairs.j[0]) == (0, 2)
    assert pairs.distance[0] == (looks.hashes[0] != looks.hashes[2]).sum()
    assert 4 not in {*pairs.i, *pairs.j}
    together, _ = shifted_pairs(looks, np.array([0, 1, 0, 2, 3]))
    assert (0, 2) not in set(zip(together.i, together.j, strict=True))


def test_what_is_not_searched_or_compared_is_said(paths, monkeypatch):
    looks = looks_of([*paths, paths[0]])
    pairs, (note,) = shifted_pairs(looks, np.arange(6), most=1)
    assert (pairs.i.tolist(), pairs.j.tolist()) == ([0], [5])
    assert note.endswith("pairs that correlate, 1 were compared at full size")
    monkeypatch.setattr(copies, "MOST_IMAGES", 4)
    clusters, notes = near_twin_clusters(paths)
    assert len(set(clusters)) == 5
    assert notes == ("5 images: copies beyond 40 bits are searched for among at most 4",)


def test_no_image_gives_no_cluster():
    clusters, notes = near_twin_clusters([])
    assert (clusters.shape, notes) == ((0,), ())
    assert isinstance(shifted_pairs(looks_of([]), clusters).pairs, Pairs)


def test_an_unreadable_image_is_named(tmp_path):
    (tmp_path / "bad.png").write_text("text")
    with pytest.raises(UnreadableImageError, match=r"bad\.png"):
        near_twin_clusters([tmp_path / "bad.png"])


def test_copies_of_busi_that_a_review_named(real_data):
    """Nine of its eleven; two pairs are other frames of one lesion and not confirmed (0.51, 0.39)."""
    groups = load_busi(real_data / "busi").table.set_index("sample_id")["group_id"]
    named = "m4 m9, m39 m42, m85 m86, m106 m107, m128 m129, b114 b116, b62 b140, b64 b141, b213 b253, b333 m78"
    named += ", b403 m93"
    classes = {"m": "malignant", "b": "benign"}
    pairs = [[f"{classes[x[0]]}/{classes[x[0]]} ({x[1:]})" for x in pair.split()] for pair in named.split(", ")]
    apart = [pair for pair, (one, other) in zip(named.split(", "), pairs, strict=True) if groups[one] != groups[other]]
    assert apart == ["m85 m86", "b403 m93"]


def test_mammograms_are_compared_by_their_hash_alone(paths):
    """Breasts before black film are all alike to the correlation."""
    clusters, notes = near_twin_clusters(paths, "mammography")
    assert (clusters.tolist(), notes) == ([0, 1, 2, 3, 4], ())
