"""Copies whose hashes are far apart, the similarity that confirms them, and datasets without near-twins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up_images import noise, texture, write, write_all
from skimage.metrics import structural_similarity

from mmdc_tf.datasets import copies
from mmdc_tf.datasets.busi import load_busi
from mmdc_tf.datasets.copies import MOST_SIDE, aligned_similarity, near_twin_clusters, shifted_pairs, treat_near_twins
from mmdc_tf.datasets.folder import load_folder
from mmdc_tf.datasets.integrity import looks_of
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError

BLOBS = (2, 6, 15)


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
    assert (clusters.tolist(), notes) == ([0, 1, 0, 2, 3], ())
    # Breasts before black film are all alike to the correlation.
    clusters, notes = near_twin_clusters(paths, "mammography")
    assert (clusters.tolist(), notes) == ([0, 1, 2, 3, 4], ())


def test_pairs_are_the_best_first_and_not_those_of_one_cluster(paths):
    looks = looks_of(paths)
    pairs, _ = shifted_pairs(looks, np.arange(5))
    assert (pairs.i[0], pairs.j[0]) == (0, 2)
    assert pairs.distance[0] == (looks.hashes[0] != looks.hashes[2]).sum()
    assert 4 not in {*pairs.i, *pairs.j}
    together, _ = shifted_pairs(looks, np.array([0, 1, 0, 2, 3]))
    assert (0, 2) not in set(zip(together.i, together.j, strict=True))


def test_what_is_not_searched_or_compared_is_said(paths, monkeypatch):
    pairs, (note,) = shifted_pairs(looks_of([*paths, paths[0]]), np.arange(6), most=1)
    assert (pairs.i.tolist(), pairs.j.tolist()) == ([0], [5])
    assert note.endswith("pairs that correlate, 1 were compared at full size")
    monkeypatch.setattr(copies, "MOST_IMAGES", 4)
    clusters, notes = near_twin_clusters(paths)
    assert len(set(clusters)) == 5
    assert notes == ("5 images: copies beyond 40 bits are searched for among at most 4",)
    assert near_twin_clusters([])[0].shape == (0,)


def test_copies_of_busi_that_a_review_named(real_busi):
    """Nine of its eleven; two pairs are other frames of one lesion and not confirmed (0.51, 0.39)."""
    groups = real_busi.table.set_index("sample_id")["group_id"]
    named = "m4 m9, m39 m42, m85 m86, m106 m107, m128 m129, b114 b116, b62 b140, b64 b141, b213 b253, b333 m78"
    named += ", b403 m93"
    classes = {"m": "malignant", "b": "benign"}
    pairs = [[f"{classes[x[0]]}/{classes[x[0]]} ({x[1:]})" for x in pair.split()] for pair in named.split(", ")]
    apart = [pair for pair, (one, other) in zip(named.split(", "), pairs, strict=True) if groups[one] != groups[other]]
    assert apart == ["m85 m86", "b403 m93"]


@pytest.fixture(scope="module")
def image():
    return texture(1, 192, BLOBS)


def test_equal_images_have_one_and_other_images_little(image):
    assert aligned_similarity(image, image.copy()) == pytest.approx(1.0)
    assert max(aligned_similarity(image, texture(seed, 192, BLOBS)) for seed in range(2, 8)) < 0.5


@pytest.mark.parametrize(
    ("scale", "shift"),
    [(1.0, (5, -7)), (1.04, (0, 0)), (0.95, (6, 3))],
    ids=["shifted", "larger", "smaller and shifted"],
)
def test_a_moved_copy_is_found_where_the_plain_similarity_fails(image, scale, shift):
    move = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
    moved = cv2.warpAffine(image, move, image.shape[::-1], borderMode=cv2.BORDER_REFLECT)
    assert structural_similarity(image, moved) < 0.6
    assert min(aligned_similarity(image, moved), aligned_similarity(moved, image)) > 0.9


def test_a_cropped_and_resized_copy_and_a_large_one_are_found(image):
    assert aligned_similarity(image, cv2.resize(image[6:-4, 8:-6], (300, 220))) > 0.85
    large = cv2.resize(texture(3, 256, BLOBS), (1500, 2048), interpolation=cv2.INTER_CUBIC)
    moved = np.roll(large, (24, -32), axis=(0, 1))[40:-40, 40:-40]
    assert max(moved.shape) > MOST_SIDE
    assert aligned_similarity(large[40:-40, 40:-40], moved) > 0.9


def test_a_shift_scores_as_the_overlap_itself(image):
    grain = np.random.default_rng(0).normal(0, 12, image.shape)
    noisy = np.clip(image + grain, 0, 255).astype(np.uint8)
    expected = structural_similarity(image[8:, 6:], noisy[8:, 6:])  # the oracle: cut by hand, compared as it lies
    assert aligned_similarity(image[8:, 6:], noisy[8:, 6:]) == pytest.approx(expected, abs=0.02)
    assert aligned_similarity(image[8:, 6:], noisy[:-8, :-6]) == pytest.approx(expected, abs=0.08)


def test_where_aligning_cannot_help_the_images_are_compared_as_they_lie():
    flat = np.full((64, 64), 90, np.uint8)
    spot = flat.copy()
    spot[30:34, 30:34] = 200
    assert aligned_similarity(flat, flat) == pytest.approx(1.0)
    assert aligned_similarity(flat, spot) == pytest.approx(structural_similarity(flat, spot))
    for shape in ((1, 1), (3, 40), (7, 7)):
        tiny = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        assert aligned_similarity(tiny, tiny) == pytest.approx(1.0)


def copy(root, source, target):
    (root / target).write_bytes((root / source).read_bytes())


@pytest.fixture
def planted(busi):
    """18 images, six a class, and six more: repeats in their class, and two clusters of two labels."""
    copy(busi, "benign/benign (1).png", "benign/benign (7).png")
    copy(busi, "benign/benign (1).png", "benign/benign (8).png")
    copy(busi, "benign/benign (2).png", "malignant/malignant (7).png")
    copy(busi, "normal/normal (3).png", "malignant/malignant (8).png")
    copy(busi, "normal/normal (3).png", "malignant/malignant (9).png")
    copy(busi, "normal/normal (4).png", "normal/normal (7).png")
    return load_busi(busi)


CONFLICTS = {f"malignant/malignant ({n})" for n in (7, 8, 9)} | {"benign/benign (2)", "normal/normal (3)"}
REPEATS = {"benign/benign (7)", "benign/benign (8)", "normal/normal (7)"}


def ids(dataset):
    return set(dataset.table["sample_id"])


@pytest.mark.parametrize(
    ("treatment", "gone", "note"),
    [
        ("drop-conflicts", CONFLICTS, "near-twins with conflicting labels left out: 5 images, of 24"),
        (
            "one-per-cluster",
            CONFLICTS | REPEATS,
            "one image of each near-twin cluster kept: 3 images left out as repeats, 5 images for conflicting labels, "
            "of 24",
        ),
    ],
)
def test_what_a_treatment_leaves_out(planted, treatment, gone, note):
    kept = treat_near_twins(planted, treatment)
    assert ids(planted) - ids(kept) == gone
    assert kept.notes == (*planted.notes, note)
    assert kept.fingerprint != planted.fingerprint
    assert treat_near_twins(planted, "keep") is planted


def test_with_patients_the_near_twins_are_looked_for_and_the_patients_stay(tmp_path):
    for number in range(6):
        write(tmp_path / f"{number}.png", noise(number % 4, 40))
    # 0 and 4 are one picture of two patients and two labels, 1 and 5 one of two patients and one label.
    rows = [("0", "a", "p"), ("1", "a", "p"), ("2", "b", "q"), ("3", "b", "r"), ("4", "b", "q"), ("5", "a", "s")]
    table = pd.DataFrame(rows, columns=["sample_id", "label", "patient_id"])
    table.assign(image_path=table["sample_id"] + ".png").to_csv(tmp_path / "samples.csv", index=False)
    dataset = load_folder(tmp_path)
    assert ids(treat_near_twins(dataset, "drop-conflicts")) == {"1", "2", "3", "5"}
    single = treat_near_twins(dataset, "one-per-cluster")
    assert ids(single) == {"1", "2", "3"}
    assert list(single.table["group_id"]) == ["p", "q", "r"]


def test_what_cannot_be_treated_is_refused(busi):
    dataset = load_busi(busi)
    pd.testing.assert_frame_equal(treat_near_twins(dataset, "one-per-cluster").table, dataset.table)
    with pytest.raises(ConfigurationError, match=r"near_twins='drop-conflict'.*Did you mean 'drop-conflicts'"):
        treat_near_twins(dataset, "drop-conflict")
    with pytest.raises(ConfigurationError, match="busi from its table alone"):
        treat_near_twins(replace(dataset, has_images=False), "one-per-cluster")
    for number in range(1, 7):
        copy(busi, f"benign/benign ({number}).png", f"normal/normal ({number}).png")
    with pytest.raises(DatasetError, match=r"no benign left.*12 images"):
        treat_near_twins(load_busi(busi), "drop-conflicts")


def test_the_real_busi(real_busi):
    dataset = real_busi
    labels = dataset.table.groupby("group_id")["label"]
    mixed = labels.nunique() > 1
    kept, single = (treat_near_twins(dataset, name) for name in ("drop-conflicts", "one-per-cluster"))
    assert mixed.any()
    assert len(kept.table) == 780 - labels.size()[mixed].sum()
    assert not {"benign/benign (433)", "malignant/malignant (145)"} & ids(kept)
    assert len(single.table) == 591 - mixed.sum()
    assert single.table["group_id"].is_unique
