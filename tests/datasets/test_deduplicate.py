"""Datasets without near-twins: by hand on small folders, and by the figures known of BUSI."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.busi import load_busi
from mmdc_tf.datasets.deduplicate import one_per_cluster, treat_near_twins, without_conflicts
from mmdc_tf.datasets.folder import load_folder
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError


def copy(root, source, target):
    (root / target).write_bytes((root / source).read_bytes())


@pytest.fixture
def planted(busi):
    """18 images, six a class, and six more: a repeat in its class, two in another's, of three clusters."""
    copy(busi, "benign/benign (1).png", "benign/benign (7).png")
    copy(busi, "benign/benign (1).png", "benign/benign (8).png")
    copy(busi, "benign/benign (2).png", "malignant/malignant (7).png")
    copy(busi, "normal/normal (3).png", "malignant/malignant (8).png")
    copy(busi, "normal/normal (3).png", "malignant/malignant (9).png")
    copy(busi, "normal/normal (4).png", "normal/normal (7).png")
    return load_busi(busi)


def ids(dataset):
    return set(dataset.table["sample_id"])


def test_clusters_with_two_labels_go_whole(planted):
    kept = without_conflicts(planted)
    assert ids(planted) - ids(kept) == {
        "benign/benign (2)",
        "malignant/malignant (7)",
        "normal/normal (3)",
        "malignant/malignant (8)",
        "malignant/malignant (9)",
    }
    assert kept.notes[:-1] == planted.notes
    assert kept.notes[-1] == "near-twins with conflicting labels left out: 5 images, of 24"


def test_one_image_of_each_cluster_stays_and_none_of_two_labels(planted):
    kept = one_per_cluster(planted)
    repeats = {"benign/benign (7)", "benign/benign (8)", "normal/normal (7)"}
    assert ids(without_conflicts(planted)) - ids(kept) == repeats
    assert ids(kept) < ids(without_conflicts(planted))
    assert "3 images left out as repeats, 5 images for conflicting labels, of 24" in kept.notes[-1]


def test_the_fingerprint_tells_them_apart(planted):
    fingerprints = {data.fingerprint for data in (planted, without_conflicts(planted), one_per_cluster(planted))}
    assert len(fingerprints) == 3


def test_nothing_is_lost_where_there_is_no_twin(busi):
    dataset = load_busi(busi)
    for kept in (without_conflicts(dataset), one_per_cluster(dataset)):
        pd.testing.assert_frame_equal(kept.table, dataset.table)
        assert "0 images" in kept.notes[-1]


def test_with_patients_the_near_twins_are_looked_for_and_the_patients_stay(tmp_path):
    for number in range(6):
        pixels = np.random.default_rng(number % 4).integers(0, 256, (40, 40), np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
    # 0 and 4 are one picture of two patients and two labels, 1 and 5 one of two patients and one label.
    rows = [("0", "a", "p"), ("1", "a", "p"), ("2", "b", "q"), ("3", "b", "r"), ("4", "b", "q"), ("5", "a", "s")]
    table = pd.DataFrame(rows, columns=["sample_id", "label", "patient_id"])
    table.assign(image_path=table["sample_id"] + ".png").to_csv(tmp_path / "samples.csv", index=False)
    dataset = load_folder(tmp_path)
    assert ids(without_conflicts(dataset)) == {"1", "2", "3", "5"}
    assert ids(one_per_cluster(dataset)) == {"1", "2", "3"}
    assert list(one_per_cluster(dataset).table["group_id"]) == ["p", "q", "r"]


def test_a_class_that_would_vanish_is_named(busi):
    for number in range(1, 7):
        copy(busi, f"benign/benign ({number}).png", f"normal/normal ({number}).png")
    with pytest.raises(DatasetError, match=r"no benign left.*12 images"):
        without_conflicts(load_busi(busi))


def test_without_images_there_is_nothing_to_look_at(busi):
    dataset = replace(load_busi(busi), has_images=False)
    with pytest.raises(ConfigurationError, match="busi from its table alone"):
        one_per_cluster(dataset)
    assert treat_near_twins(dataset, "keep") is dataset


def test_treatments_go_by_name(planted):
    assert ids(treat_near_twins(planted, "drop-conflicts")) == ids(without_conflicts(planted))
    assert ids(treat_near_twins(planted, "one-per-cluster")) == ids(one_per_cluster(planted))
    with pytest.raises(ConfigurationError, match=r"near_twins='drop-conflict'.*Did you mean 'drop-conflicts'"):
        treat_near_twins(planted, "drop-conflict")


def test_the_real_busi(real_data):
    dataset = load_busi(real_data / "busi")
    labels = dataset.table.groupby("group_id")["label"]
    mixed = labels.nunique() > 1
    kept = without_conflicts(dataset)
    assert mixed.any()
    assert len(kept.table) == 780 - labels.size()[mixed].sum()
    assert not {"benign/benign (433)", "malignant/malignant (145)"} & ids(kept)
    single = one_per_cluster(dataset)
    assert len(single.table) == 591 - mixed.sum()
    assert single.table["group_id"].is_unique
