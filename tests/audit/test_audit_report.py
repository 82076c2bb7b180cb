"""What makes an image-level split unfit, from results written by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_audit import audit_of, probe, small_dataset, twins

from mmdc_tf.audit.findings import leak_section, near_twin_section, shortcut_section
from mmdc_tf.audit.report import AuditReport, run_audit
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import ConfigurationError

CLEAN = probe("leak", -0.1, False), probe("shortcut", 0.4, False)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return small_dataset(tmp_path)


def audited(dataset: Dataset, *pairs: tuple[int, int, float, bool]) -> AuditReport:
    return audit_of(dataset, twins(dataset, list(pairs)), *CLEAN)


def test_nothing_found_is_fit(dataset):
    report = audited(dataset)
    assert not report.unfit
    assert report.verdict == "Nothing was found that would make an image-level split unfit."


def test_confirmed_twins_with_two_labels_and_groups_are_three_findings(dataset):
    """Images 0 and 1 belong to different patients of different classes."""
    report = audited(dataset, (0, 1, 0.99, True))
    first, conflict, across = report.sections[0].findings
    assert first.startswith("2 of 8 images have a near-twin")
    assert conflict.startswith("1 pair of near-twins has conflicting labels")
    assert "--near-twins drop-conflicts" in conflict
    assert "lies in different groups (patients)" in across
    assert report.verdict == "Unfit for an image-level split: 3 findings (near-twins)."


def test_twins_of_one_patient_are_one_finding(tmp_path):
    report = audited(small_dataset(tmp_path, per_patient=2), (0, 1, 0.99, True))
    assert len(report.findings) == 1


def test_a_pair_that_only_the_hash_holds_to_be_alike_is_no_finding(dataset):
    report = audited(dataset, (0, 1, 0.3, False))
    assert not report.unfit
    assert "1 pair within 40 bits was not alike at full size" in report.sections[0].remarks[0]


def test_a_leak_counts_where_groups_hold_several_images_and_its_interval_excludes_0(tmp_path):
    alone, together = small_dataset(tmp_path / "a"), small_dataset(tmp_path / "b", per_patient=2)
    for low, several, unfit in ((0.1, together, True), (0.01, together, True), (-0.01, together, False)):
        assert leak_section(several, [probe("leak", low, low > 0.05)]).unfit is unfit
    assert not leak_section(alone, [probe("leak", 0.1, True)]).unfit
    small = leak_section(together, [probe("leak", 0.01, False)]).findings[0]
    assert "its interval excludes 0" in small
    assert "Use --protocol leak-free, which keeps each patient on one side." in small


def test_a_shortcut_is_unfit_and_says_that_leak_free_does_not_help():
    section = shortcut_section([probe("shortcut", 0.8, True), CLEAN[1]])
    (finding,) = section.findings
    assert "A leak-free split does not remove it" in finding
    assert section.remarks == ("made-up was scored.",)


def test_the_table_alone_is_called_so(dataset):
    alone = replace(dataset, has_images=False)
    report = audit_of(alone, None, *CLEAN)
    assert "Only the table was read" in report.verdict
    assert "Only the table was read" in near_twin_section(alone, None).looked_at
    assert report.to_dict()["near_twins"] is None
    assert report.to_dict()["table_alone"] is True


def test_the_dictionary_is_strict_json(dataset):
    report = audited(dataset, (0, 1, float("nan"), True), (2, 3, 0.9, True))
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [pair["ssim"] for pair in content["near_twins"]["pairs"]] == [None, 0.9]
    assert content["near_twins"]["clusters"] == [["s000.png", "s001.png"], ["s002.png", "s003.png"]]
    assert [section["unfit"] for section in content["sections"]] == [True, False, False, False]
    assert (content["images"], content["fingerprint"]) == (8, dataset.fingerprint)


@pytest.mark.parametrize("options", [{"max_bits": 256}, {"seed": -1}])
def test_a_limit_out_of_range_is_refused(dataset, options):
    with pytest.raises(ConfigurationError, match=f"Received: {next(iter(options))}="):
        run_audit(dataset, **options)
