"""The audit of the sample table: planted problems are found, and tests count patients, not images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.audit.metadata import audit_metadata
from mmdc_tf.audit.report import run_audit
from mmdc_tf.datasets.schema import COLUMNS, Dataset, DatasetInfo
from mmdc_tf.errors import UnreadableImageError

INFO = DatasetInfo("made-up", "Made up", "mammography", ("benign", "cancer"), {}, "patient", "", "", "")


def dataset_of(ages: list[float], labels: list[str], images: int = 4) -> Dataset:
    """One patient an age, with ``images`` images."""
    patients = [f"p{row}" for row in range(len(ages)) for _ in range(images)]
    rows = len(patients)
    values = {
        "sample_id": [f"s{row}" for row in range(rows)],
        "image_path": [f"s{row}.png" for row in range(rows)],
        "label": np.repeat(labels, images),
        "patient_id": patients,
        "group_id": patients,
        "age": np.repeat(ages, images),
        "density": 2.0,
        "view": np.tile(["CC", "MLO", "CC", "MLO"], rows)[:rows],
        "side": np.tile(["LEFT", "LEFT", "RIGHT", "RIGHT"], rows)[:rows],
        "lesion_masks": [()] * rows,
    }
    return Dataset(INFO, pd.DataFrame(values, columns=list(COLUMNS)), Path(), has_images=False)


def changed(dataset: Dataset, row: int, **values: object) -> Dataset:
    table = dataset.table.copy()
    for column, value in values.items():
        table.loc[row, column] = value
    return replace(dataset, table=table)


def test_a_clean_table_has_no_finding():
    dataset = dataset_of([45, 55, 65], ["benign", "cancer", "benign"])
    report = audit_metadata(dataset)
    assert not report["finding"]
    assert (report["images"], report["patients"]) == (12, 3)
    unnamed = replace(dataset, table=dataset.table.assign(patient_id=""))
    assert audit_metadata(unnamed)["patients"] == 3  # where no patient is known the group stands for her
    assert report["missing"] == {"patient_id": 0, "age": 0, "density": 0, "view": 0, "side": 0, "lesion_masks": 12}
    assert report["ranges"]["age"] == {"known": 12, "least": 45.0, "median": 55.0, "greatest": 65.0}
    assert "Values out of range (age 18 to 100, density 1 to 4): 0." in report["sentences"]


@pytest.mark.parametrize(("column", "value"), [("age", 4.0), ("age", 101.0), ("density", 2.5), ("density", 0.0)])
def test_a_value_out_of_range_is_listed(column, value):
    report = audit_metadata(changed(dataset_of([45, 55], ["benign", "cancer"]), 3, **{column: value}))
    assert {"sample_id": "s3", "column": column, "value": value} in report["out_of_range"]
    assert len(report["out_of_range"]) == 1
    assert report["finding"]


def test_a_patient_who_disagrees_with_herself_is_listed_and_an_unknown_value_does_not_disagree():
    dataset = dataset_of([45, 55, 65], ["benign", "cancer", "benign"])
    assert not audit_metadata(changed(dataset, 5, age=np.nan))["disagreements"]
    report = audit_metadata(changed(changed(dataset, 5, age=54.0), 8, density=3.0))
    assert report["disagreements"] == [
        {"patient": "p1", "column": "age", "values": [54.0, 55.0]},
        {"patient": "p2", "column": "density", "values": [2.0, 3.0]},
    ]
    assert report["finding"]
    assert "Patients whose images disagree: 1 on age, 1 on density." in report["sentences"]


def test_a_view_that_a_patient_has_twice_is_told_and_is_no_finding():
    report = audit_metadata(changed(dataset_of([45, 55], ["benign", "cancer"]), 1, view="CC"))
    assert report["repeated_views"] == [{"patient": "p0", "view": "CC", "side": "LEFT", "sample_ids": ["s0", "s1"]}]
    assert not report["finding"]


def test_files_that_are_the_same_to_the_byte_are_listed_with_their_labels(tmp_path):
    dataset = dataset_of([45, 55], ["benign", "cancer"], images=3)
    content = [b"one", b"two", b"other size", b"two", b"six", b"one"]
    paths = [tmp_path / f"s{row}.png" for row in range(6)]
    for path, data in zip(paths, content, strict=True):
        path.write_bytes(data)
    dataset = replace(dataset, table=dataset.table.assign(image_path=list(map(str, paths))), has_images=True)
    report = audit_metadata(dataset)
    expected = [["s0", "s5"], ["s1", "s3"]]
    assert sorted(files["sample_ids"] for files in report["identical_files"]) == expected
    assert all(files["labels"] == ["benign", "cancer"] for files in report["identical_files"])
    assert report["finding"]
    paths[2].unlink()
    with pytest.raises(UnreadableImageError, match=r"s2\.png"):
        audit_metadata(dataset)


def test_the_chi_square_test_counts_patients():
    """10 and 20 of 30 young, 20 and 10 of 30 old: 60 (10·10 − 20·20)² / 30⁴ = 6.667, Cramér's V √(6.667 / 60) = 1/3."""
    ages = [45.0] * 30 + [65.0] * 30
    labels = ["benign"] * 10 + ["cancer"] * 20 + ["benign"] * 20 + ["cancer"] * 10
    for images in (1, 4):
        age, density = audit_metadata(dataset_of(ages, labels, images))["associations"]
        assert age["counts"] == {"40 to 49": {"benign": 10, "cancer": 20}, "60 to 69": {"benign": 20, "cancer": 10}}
        assert (age["patients"], age["degrees"], age["smallest_expected"]) == (60, 1, 15.0)
        assert age["chi_square"] == pytest.approx(20 / 3)
        assert age["p_value"] == pytest.approx(0.009823, abs=1e-6)
        assert age["cramers_v"] == pytest.approx(1 / 3)
        assert density["chi_square"] is None  # one density for all


def test_unknown_ages_and_patients_with_two_labels_stand_outside_the_test():
    ages = [40.0, 49.5, 60.0, 69.5, np.nan, 45.0]
    dataset = dataset_of(ages, ["benign", "cancer", "benign", "cancer", "cancer", "benign"])
    age = audit_metadata(changed(dataset, 21, label="cancer"))["associations"][0]
    assert (age["patients"], age["left_out"]) == (4, 1)
    assert age["counts"]["unknown"] == {"benign": 0, "cancer": 1}
    assert age["chi_square"] == pytest.approx(0.0)
    assert age["smallest_expected"] == 1.0


def test_metadata_that_is_missing_at_one_site_is_a_finding(tmp_path):
    """As in RSNA 2022, whose second site knows no density: the learned unknown would tell the site."""
    count = 60
    table = pd.DataFrame(
        {
            "sample_id": [f"s{i}" for i in range(count)],
            "image_path": [f"{i}.png" for i in range(count)],
            "label": ["cancer", "benign", "normal"] * (count // 3),
            "patient_id": [f"p{i}" for i in range(count)],
            "group_id": [f"p{i}" for i in range(count)],
            "age": 50.0,
            "density": [np.nan if i % 2 and i > 1 else 2.0 for i in range(count)],
            "view": "CC",
            "side": "LEFT",
            "lesion_masks": [()] * count,
        }
    )
    site = pd.Series(["1" if i % 2 == 0 else "2" for i in range(count)], index=table["sample_id"])
    dataset = Dataset(
        replace(INFO, class_names=("benign", "cancer", "normal")), table, tmp_path, has_images=False, site=site
    )
    sentence = run_audit(dataset)["sections"][-1]["findings"][-1]
    assert "unknown for 97% of the images of site 2 and for 0% of site 1" in sentence
    expected = {"column": "density", "site": "2", "share": 29 / 30, "other": "1", "other_share": 0.0}
    assert audit_metadata(dataset)["missing_by_site"] == [{**expected, "sentence": sentence}]
    for unknown in (None, site.replace("2", "")):  # an unknown site is no site
        assert audit_metadata(replace(dataset, site=unknown))["missing_by_site"] == []
