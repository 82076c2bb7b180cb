"""Leak probes: planted overlap of groups, clean data, the intervals, and the figures of the real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

from mmdc_tf.audit.leak_probes import leak_probes
from mmdc_tf.audit.probe_images import ProbeImages, read_probe_images
from mmdc_tf.audit.probe_scores import Probe, ProbeResult, nearest_neighbour, score_probe
from mmdc_tf.datasets.catalogue import load_dataset, load_table_alone
from mmdc_tf.datasets.schema import Dataset, DatasetInfo

INFO = DatasetInfo("made-up", "Made up", "ultrasound", ("benign", "malignant"), {}, "patient", "", "", "")


def table_of(groups: np.ndarray, labels: np.ndarray, **columns: object) -> pd.DataFrame:
    ids = [f"i{row:04d}" for row in range(len(groups))]
    facts = {"sample_id": ids, "image_path": ids, "label": labels, "patient_id": "", "group_id": groups.astype(str)}
    table = pd.DataFrame(
        {**facts, "age": np.nan, "density": np.nan, "view": "", "side": "", "lesion_masks": [()] * len(ids)}
    )
    return table.assign(**columns)


def dataset_of(table: pd.DataFrame) -> Dataset:
    return Dataset(INFO, table, Path(), has_images=False)


def four_images_a_patient(patients: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Groups, and labels that have nothing to do with anything else."""
    labels = np.random.default_rng(8).permutation(np.tile(["benign", "malignant"], patients // 2))
    return np.repeat(np.arange(patients), 4), np.repeat(labels, 4)


def thumbnails(table: pd.DataFrame, of: np.ndarray) -> ProbeImages:
    """Noise that is nearly the same for images with the same number in ``of``."""
    rng = np.random.default_rng(1)
    looks = rng.integers(0, 256, (int(of.max()) + 1, 64))
    return ProbeImages(
        table, {"thumbnail": np.clip(looks[of] + rng.integers(-3, 4, (len(of), 64)), 0, 255).astype(np.uint8)}
    )


def by_name(results: list[ProbeResult]) -> dict[str, ProbeResult]:
    return {result.name: result for result in results}


def test_near_identical_images_of_a_group_are_a_leak():
    groups, labels = four_images_a_patient()
    table = table_of(groups, labels)
    neighbour = by_name(leak_probes(dataset_of(table), thumbnails(table, groups)))["nearest-neighbour"]
    assert neighbour.image_level == 1.0
    assert neighbour.group_level < 0.75
    assert neighbour.leak_interval[0] > 0.2
    assert neighbour.finding
    assert neighbour.leak == pytest.approx(neighbour.image_level - neighbour.group_level)
    assert "100.0 % of labels right with image-level splits" in neighbour.sentence


def test_images_that_share_nothing_leak_nothing():
    groups, labels = four_images_a_patient()
    table = table_of(groups, labels)
    neighbour = by_name(leak_probes(dataset_of(table), thumbnails(table, np.arange(len(table)))))["nearest-neighbour"]
    assert not neighbour.finding
    assert neighbour.leak_interval[0] <= 0.0
    assert "no leak beyond the margin" in neighbour.sentence


def test_an_age_that_names_the_patient_is_a_leak_and_one_for_all_is_none():
    groups, labels = four_images_a_patient(60)
    patients = table_of(groups, labels, age=20.0 + groups)
    metadata = by_name(leak_probes(dataset_of(patients), None))["age-density"]
    assert metadata.finding
    assert metadata.leak_interval[0] > 0.05
    same = by_name(leak_probes(dataset_of(patients.assign(age=50.0)), None))["age-density"]
    assert not same.finding
    assert same.leak < 0.1


def test_what_the_dataset_lacks_is_skipped_with_the_reason():
    groups, labels = four_images_a_patient()
    neighbour, metadata = leak_probes(dataset_of(table_of(groups, labels)), None)
    assert neighbour.skipped == "the table was read without images"
    assert metadata.skipped == "neither is known"
    for result in (neighbour, metadata):
        assert result.image_level is None and not result.finding
        assert result.skipped in result.sentence
        assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["leak_interval"] is None


@pytest.mark.parametrize("groups_of_the_rare", [0, 1])
def test_too_few_groups_of_a_class_are_skipped(groups_of_the_rare: int):
    labels = np.array(["benign"] * 20 + ["malignant"] * 4 * groups_of_the_rare)
    table = table_of(np.arange(len(labels)) // 4, labels)
    probe = Probe("n", "leak", "It", nearest_neighbour, np.zeros((len(table), 1)))
    assert score_probe(probe, table).skipped == "two classes with two groups each are needed"


def test_accuracies_and_intervals_agree_with_an_independent_computation():
    groups, labels = four_images_a_patient()
    rng = np.random.default_rng(4)
    features = (
        (labels == "benign")[:, None] + rng.normal(0, 0.8, (len(labels), 2)) + rng.normal(0, 0.5, 30)[groups, None]
    )
    table = table_of(groups, labels)
    result = score_probe(Probe("n", "leak", "It", nearest_neighbour, features), table, seed=5)
    hits = []
    for splitter in (StratifiedKFold, StratifiedGroupKFold):
        folds = splitter(5, shuffle=True, random_state=5).split(features, labels, table["group_id"] if hits else None)
        guess = cross_val_predict(nearest_neighbour(5), features, labels, cv=list(folds))
        hits.append((guess == labels).reshape(30, 4).mean(axis=1))
    assert (result.image_level, result.group_level) == pytest.approx((hits[0].mean(), hits[1].mean()))
    drawn = rng.integers(30, size=(4000, 30))
    expected = [np.quantile(part[drawn].mean(axis=1), [0.025, 0.975]) for part in (*hits, hits[0] - hits[1])]
    found = (result.image_interval, result.group_interval, result.leak_interval)
    assert np.asarray(found) == pytest.approx(np.asarray(expected), abs=0.02)


def test_a_guess_of_the_commonest_class_scores_its_share_and_is_no_finding():
    labels = np.array(["benign"] * 60 + ["malignant"] * 40)
    table = table_of(np.arange(100), labels)
    probe = Probe("n", "shortcut", "It", lambda seed: DummyClassifier(), np.zeros((100, 1)))
    result = score_probe(probe, table)
    assert result.image_level == result.group_level == result.majority == 0.6
    assert result.leak_interval == (0.0, 0.0)
    assert result.group_interval == pytest.approx((0.5, 0.7), abs=0.02)  # 0.6 ± 1.96 √(0.24 / 100)
    assert not result.finding


@pytest.mark.parametrize(("rare", "margin"), [(50, 0.05), (20, 0.05), (10, 0.025), (4, 0.01)])
def test_the_margin_fits_what_the_commonest_class_leaves(rare: int, margin: float):
    """5 points, and at most a quarter of the rest: a perfect guess of a rare class can be a finding."""
    labels = np.array(["benign"] * (100 - rare) + ["malignant"] * rare)
    probe = Probe("n", "shortcut", "It", nearest_neighbour, (labels == "benign")[:, None].astype(float))
    result = score_probe(probe, table_of(np.arange(100), labels))
    assert result.margin == pytest.approx(margin)
    assert result.finding


def test_the_same_seed_gives_the_same_result():
    groups, labels = four_images_a_patient()
    dataset = dataset_of(table_of(groups, labels, age=20.0 + groups, density=1.0 + groups % 4))
    assert leak_probes(dataset, None, seed=3) == leak_probes(dataset, None, seed=3)


def test_the_real_table_of_mini_ddsm(real_data):
    """Age and density: 50 % with an image-level split, 40 % when patients stay together."""
    metadata = by_name(leak_probes(load_table_alone("mini-ddsm", real_data / "mini-ddsm"), None))["age-density"]
    assert (metadata.images, metadata.groups) == (7808, 1952)
    assert metadata.image_level == pytest.approx(0.50, abs=0.015)
    assert metadata.group_level == pytest.approx(0.40, abs=0.015)
    assert metadata.majority == pytest.approx(2716 / 7808)
    assert metadata.finding


def test_the_real_busi(real_data):
    """Nearest neighbour: 67 % with an image-level split, 48 % when near-twins stay together."""
    dataset = load_dataset("busi", real_data / "busi")
    neighbour = by_name(leak_probes(dataset, read_probe_images(dataset)))["nearest-neighbour"]
    assert neighbour.image_level == pytest.approx(0.67, abs=0.03)
    assert neighbour.group_level == pytest.approx(0.48, abs=0.03)
    assert neighbour.leak_interval[0] > 0.10
    assert neighbour.finding
