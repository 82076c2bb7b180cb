"""Near-twins of a dataset: planted ones, limits that are stated, the sweep by brute force, and BUSI's known figures."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse.csgraph import connected_components

from mmdc_tf.audit.near_twins import PAIR_COLUMNS, find_near_twins, threshold_sweep
from mmdc_tf.datasets.folder import load_folder
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom import phantom_ultrasound
from mmdc_tf.errors import ConfigurationError, UnreadableImageError


def texture(seed, size=96):
    smooth = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(size, size)), (0, 0), 3)
    return np.clip(128 + smooth / smooth.std() * 40, 0, 255).astype(np.uint8)


@pytest.fixture
def planted(tmp_path):
    """Six patients of one image each: 0 and 3 one picture under two labels, 1 and 4 one moved and brightened."""
    images = [texture(seed) for seed in range(3)]
    moved = cv2.warpAffine(images[1], np.float32([[1, 0, 1], [0, 1, -1]]), (96, 96), borderMode=cv2.BORDER_REFLECT)
    images += [images[0], cv2.convertScaleAbs(moved, alpha=0.9, beta=10), texture(9)]
    for number, image in enumerate(images):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    table = pd.DataFrame({"sample_id": list("012345"), "label": list("aaabab"), "patient_id": list("uvwxyz")})
    table.assign(image_path=table["sample_id"] + ".png").to_csv(tmp_path / "samples.csv", index=False)
    return load_folder(tmp_path)


def brute_force(hashes, labels, limit):
    apart = (hashes[:, None] != hashes[None]).sum(axis=-1)
    near = [(i, j) for i, j in combinations(range(len(hashes)), 2) if apart[i, j] <= limit]
    sizes = np.bincount(connected_components(apart <= limit)[1])
    return {
        "bits": limit,
        "pairs": len(near),
        "images_in_groups": len({place for pair in near for place in pair}),
        "groups": int((sizes > 1).sum()),
        "clusters": len(sizes),
        "largest": sizes.max(),
        "conflicting_pairs": sum(labels[i] != labels[j] for i, j in near),
    }


def test_planted_twins_are_found_and_confirmed(planted):
    found = find_near_twins(planted)
    assert list(found.pairs.columns) == list(PAIR_COLUMNS)
    assert list(zip(found.pairs["sample_a"], found.pairs["sample_b"], strict=True)) == [("0", "3"), ("1", "4")]
    assert list(found.pairs["confirmed"]) == [True, True]
    assert list(found.pairs["conflicting"]) == [True, False]
    assert list(found.pairs["identical_bytes"]) == [True, False]
    assert list(found.pairs["across_groups"]) == [True, True]
    assert list(found.pairs["group_b"]) == ["x", "y"]
    assert found.pairs.loc[0, ["label_a", "label_b", "distance"]].tolist() == ["a", "b", 0]
    assert found.clusters.to_dict() == {"0": "0", "1": "1", "2": "2", "3": "0", "4": "1", "5": "5"}
    assert (found.candidates, found.images_in_groups, found.notes) == (2, 4, ())


def test_alike_by_hash_and_not_at_full_size_is_not_confirmed(planted):
    # Within 255 bits everything is a candidate: the second measure alone tells the twins.
    pairs = find_near_twins(planted, max_bits=255).pairs
    assert len(pairs) == 15
    assert pairs.loc[pairs["confirmed"], "sample_a"].tolist() == ["0", "1"]


def test_pairs_that_are_not_compared_are_counted_and_the_conflicting_come_first(planted):
    found = find_near_twins(planted, most_compared=1)
    assert found.pairs[["sample_a", "sample_b"]].values.tolist() == [["0", "3"]]
    assert found.candidates == 2
    assert found.notes[0].startswith("of 2 candidate pairs, 1 were compared")
    assert found.images_in_groups == 4  # by hash, whatever was compared
    wide = find_near_twins(planted, max_bits=255, most_compared=9)
    # Labels a, a, a, b, a, b: 4 · 2 conflicting pairs before the first of one label.
    assert list(wide.pairs["conflicting"]) == [True] * 8 + [False]


def test_flat_images_are_twins_only_where_equal(planted):
    for name, value in (("2", 0), ("4", 0), ("5", 200)):
        assert cv2.imwrite(str(planted.root / f"{name}.png"), np.full((50, 50), value, np.uint8))
    found = find_near_twins(planted)
    assert found.pairs[["sample_a", "sample_b"]].values.tolist() == [["0", "3"], ["2", "4"]]
    assert found.clusters["4"] == "2"
    assert found.clusters["5"] == "5"
    assert found.notes[-1].endswith("not in the sweep: 3")
    assert found.sweep["clusters"].tolist() == [5] * len(found.sweep)


def test_a_clean_phantom_has_no_conflict_and_its_repeats_are_confirmed(tmp_path):
    dataset = phantom_ultrasound(tmp_path / "phantom", images=40, size=96, seed=3)
    found = find_near_twins(dataset)
    assert len(found.pairs) > 2
    assert not found.pairs["conflicting"].any()
    assert not found.pairs["across_groups"].any()
    assert found.pairs["confirmed"].all()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_sweep_is_what_brute_force_counts(seed):
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2, (80, 256)).astype(bool)
    hashes[40:70] = hashes[:30] ^ (rng.random((30, 256)) < rng.uniform(0, 0.2, (30, 1)))
    hashes[70:75] = hashes[3]
    labels = rng.choice(["a", "b", "c"], 80)
    bits = (0, 5, 20, 40, 60)
    sweep = threshold_sweep(hashes, labels, bits)
    assert sweep.to_dict("records") == [brute_force(hashes, labels, limit) for limit in bits]


def test_a_dataset_without_images_and_bad_limits_are_refused(planted):
    with pytest.raises(ConfigurationError, match="from its table alone"):
        find_near_twins(dataclasses.replace(planted, has_images=False))
    with pytest.raises(ConfigurationError, match="max_bits=256"):
        find_near_twins(planted, max_bits=256)


def test_an_unreadable_image_is_named(planted):
    (planted.root / "3.png").write_text("text")
    with pytest.raises(UnreadableImageError, match=r"3\.png"):
        find_near_twins(planted)
