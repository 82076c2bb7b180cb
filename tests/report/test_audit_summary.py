"""What is counted of a run's data, on samples and splits made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up_run import RUN, write_run_file

from mmdc_tf.datasets.splits import Split
from mmdc_tf.errors import SplitError
from mmdc_tf.report.audit_summary import SplitLeak, audit_summary

# sample, group, label
SAMPLES = [("a", "1", "cancer"), ("b", "1", "cancer"), ("c", "2", "normal"), ("d", "2", "cancer"), ("e", "3", "normal")]
COLUMNS = "sample_id,patient_id,group_id,label,age,density,view,side,digitizer"


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "out" / "table2"
    write_run_file(folder)
    lines = [f"{name},,{group},{label},,,,," for name, group, label in SAMPLES]
    (folder / "samples.csv").write_text("\n".join([COLUMNS, *lines]))
    for row in ("alpha", "beta"):  # the same splits for each row count once
        write_split(folder / row, "paper", 0, train="ace", test="bd")
        write_split(folder / row, "leak-free", 0, train="ab", test="e", validation="cd")
        write_split(folder / row, "leak-free", 1, train="e", test="abcd", validation="")
    return folder


def write_split(row: Path, protocol: str, fold: int, train: str, test: str, validation: str | None = None) -> None:
    parts = [tuple(part) for part in (train, test if validation is None else validation, test)]
    place = row / protocol / f"fold{fold}-seed0"
    place.mkdir(parents=True)
    (place / "split.json").write_text(Split(protocol, fold, 2, 0, "any", *parts).to_json())


def test_labels_groups_and_relatives_are_counted(folder):
    found = audit_summary(folder, RUN)
    assert found.labels == {"cancer": 3, "normal": 2}
    assert (found.unit, found.groups, found.of_several, found.largest, found.several_labels) == ("patient", 3, 2, 2, 1)
    # paper: b's a and d's c stand in training; leak-free: none in either fold
    assert found.leaks == (SplitLeak("paper", 2, 2), SplitLeak("leak-free", 5, 0))
    assert found.found is None


@pytest.mark.parametrize("place", ["audit.json", "audit/audit.json"])
def test_an_audit_of_the_same_data_is_found_and_of_others_not(folder, place):
    path = folder.parent / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"fingerprint": RUN["dataset_fingerprint"], "verdict": "Unfit."}))
    assert audit_summary(folder, RUN).found["verdict"] == "Unfit."
    assert audit_summary(folder, {**RUN, "dataset_fingerprint": "another"}).found is None


def test_a_run_without_samples_has_no_summary(folder):
    (folder / "samples.csv").unlink()
    assert audit_summary(folder, RUN) is None


def test_a_changed_split_is_refused(folder):
    path = folder / "alpha" / "paper" / "fold0-seed0" / "split.json"
    path.write_text(path.read_text().replace('"b"', '"e"'))
    with pytest.raises(SplitError, match="hash"):
        audit_summary(folder, RUN)
