"""The figures of docs/integrity.md on the real files."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from mmdc_tf.audit.metadata import audit_metadata
from mmdc_tf.audit.near_twins import find_near_twins
from mmdc_tf.audit.probe_features import leak_probes, read_probe_images, shortcut_probes
from mmdc_tf.audit.split_file import SplitCheck, check_split
from mmdc_tf.datasets.busi import load_busi
from mmdc_tf.datasets.catalogue import load_table_alone
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import Split, check_groups_disjoint, make_splits


@pytest.fixture(scope="module")
def real_busi(real_data):
    return load_busi(real_data / "busi")


def test_near_twins_of_busi(real_busi):
    found = find_near_twins(real_busi, most_compared=14)
    assert found.candidates > 14
    conflicting = found.pairs[found.pairs["conflicting"]]
    assert len(conflicting) == 11  # ten within 40 bits; benign (333) and malignant (78) are 84 apart
    assert found.pairs["confirmed"].all()
    pairs = conflicting.set_index(["sample_a", "sample_b"])
    assert ("benign/benign (131)", "malignant/malignant (51)") in pairs.index
    assert pairs.index[pairs["identical_bytes"]].tolist() == [("benign/benign (433)", "malignant/malignant (145)")]
    sweep = found.sweep.set_index("bits")
    assert sweep["images_in_groups"][[20, 40, 50]].tolist() == [216, 316, 319]
    assert sweep["conflicting_pairs"][40] == 10
    assert sweep["clusters"][40] == 606
    assert found.clusters.nunique() == 591  # 23 confirmed pairs beyond 40 bits join 15 more
    assert found.images_in_groups == 339
    groups = real_busi.table.set_index("sample_id")["group_id"]
    pd.testing.assert_series_equal(found.clusters, groups, check_names=False)


def test_the_leak_of_busi(real_busi):
    """Nearest neighbour: 67 % with an image-level split, 48 % when near-twins stay together."""
    neighbour = leak_probes(real_busi, read_probe_images(real_busi))[0]
    assert neighbour.image_level == pytest.approx(0.67, abs=0.03)
    assert neighbour.group_level == pytest.approx(0.48, abs=0.03)
    assert neighbour.leak_interval[0] > 0.10
    assert neighbour.finding


def checked_split(folder: Path, split: Split, dataset: Dataset) -> SplitCheck:
    (folder / "split.json").write_text(split.to_json())
    return check_split(folder / "split.json", dataset)


def test_the_two_protocols_on_busi(real_busi, tmp_path):
    groups = real_busi.table.set_index("sample_id")["group_id"]
    (paper,) = make_splits(real_busi, "paper", folds=5, seed=0)
    checked = checked_split(tmp_path, paper, real_busi)
    assert not checked.disjoint
    both = set(groups.loc[list(paper.train)]) & set(groups.loc[list(paper.test)])
    assert set(checked.shared["group_id"]) == both != set()
    for split in make_splits(real_busi, "leak-free", folds=5, seed=0):
        check_groups_disjoint(split, groups)
        assert checked_split(tmp_path, split, real_busi).disjoint


def test_the_real_busi_holds_one_image_under_two_labels(real_busi):
    report = audit_metadata(real_busi)
    pair = {"sample_ids": ["benign/benign (433)", "malignant/malignant (145)"], "labels": ["benign", "malignant"]}
    assert report["identical_files"] == [pair]
    assert report["finding"]


def test_the_table_of_mini_ddsm(real_data):
    """12 rows have no age, 4 rows no density (shared data's own description)."""
    report = audit_metadata(load_table_alone("mini-ddsm", real_data / "mini-ddsm"))
    json.dumps(report, allow_nan=False)
    assert (report["images"], report["patients"]) == (7808, 1952)
    assert (report["missing"]["age"], report["missing"]["density"]) == (12, 4)
    assert (report["disagreements"], report["out_of_range"], report["repeated_views"]) == ([], [], [])
    age, density = report["associations"]
    assert (age["patients"], density["patients"]) == (1952 - 3, 1952 - 1)
    assert age["p_value"] < 1e-10
    assert not report["finding"]


def test_what_the_table_of_mini_ddsm_tells(real_data):
    """Age and density: 50 % with an image-level split, 40 % when patients stay together. The first letter of the file
    name alone: 50 % by patient; always the commonest class: 35 %."""
    dataset = load_table_alone("mini-ddsm", real_data / "mini-ddsm")
    metadata = leak_probes(dataset, None)[1]
    assert (metadata.images, metadata.groups) == (7808, 1952)
    assert metadata.image_level == pytest.approx(0.50, abs=0.015)
    assert metadata.group_level == pytest.approx(0.40, abs=0.015)
    assert metadata.majority == pytest.approx(2716 / 7808)
    results = {result.name: result for result in shortcut_probes(dataset, None)}
    assert results["file-name-prefix"].group_level == pytest.approx(0.50, abs=0.015)
    assert metadata.finding and [name for name, result in results.items() if result.finding] == ["file-name-prefix"]
    assert results["border-pixels"].skipped == "the table was read without images"
