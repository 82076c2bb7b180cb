"""Probes: planted leaks and shortcuts are found by the probe that sees them, and clean data have none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict

from mmdc_tf.audit.probe_features import (
    ProbeImages,
    file_name_prefix,
    image_features,
    leak_probes,
    names_carry_labels,
    read_probe_images,
    shortcut_probes,
)
from mmdc_tf.audit.probes import Probe, nearest_neighbour, score_probe
from mmdc_tf.datasets.catalogue import load_dataset
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom import phantom_mammograms, phantom_ultrasound
from mmdc_tf.datasets.schema import Dataset, DatasetInfo

INFO = DatasetInfo("made-up", "Made up", "ultrasound", ("benign", "malignant"), {}, "patient", "", "", "")
GROUPS = 40
CLASSES = ("malignant", "benign")
LABELS = np.arange(2 * GROUPS) // 2 % 2


def noise() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (40, 40), dtype=np.uint8) for _ in range(2 * GROUPS)]


def table_of(groups: np.ndarray, labels: np.ndarray, **columns: object) -> pd.DataFrame:
    ids = [f"i{row:04d}" for row in range(len(groups))]
    facts = {"sample_id": ids, "image_path": ids, "label": labels, "patient_id": "", "group_id": groups.astype(str)}
    facts |= {"age": np.nan, "density": np.nan, "view": "", "side": "", "lesion_masks": [()] * len(ids)}
    return pd.DataFrame(facts).assign(**columns)


def without_images(table: pd.DataFrame) -> Dataset:
    return Dataset(INFO, table, Path(), has_images=False)


def four_images_a_patient(patients: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Groups, and labels that have nothing to do with anything else."""
    labels = np.random.default_rng(8).permutation(np.tile(["benign", "malignant"], patients // 2))
    return np.repeat(np.arange(patients), 4), np.repeat(labels, 4)


def thumbnails(table: pd.DataFrame, of: np.ndarray) -> ProbeImages:
    """Noise that is nearly the same for images with the same number in ``of``."""
    rng = np.random.default_rng(1)
    looks = rng.integers(0, 256, (int(of.max()) + 1, 64))
    nearly = np.clip(looks[of] + rng.integers(-3, 4, (len(of), 64)), 0, 255)
    return ProbeImages(table, {"thumbnail": nearly.astype(np.uint8)})


def test_near_identical_images_of_a_group_are_a_leak():
    groups, labels = four_images_a_patient()
    table = table_of(groups, labels)
    neighbour = leak_probes(without_images(table), thumbnails(table, groups))[0]
    assert neighbour["image_level"] == 1.0
    assert neighbour["group_level"] < 0.75
    assert neighbour["leak_interval"][0] > 0.2
    assert neighbour["finding"]
    unlike = leak_probes(without_images(table), thumbnails(table, np.arange(len(table))))[0]
    assert not unlike["finding"]
    assert unlike["leak_interval"][0] <= 0.0
    assert "no leak beyond the margin" in unlike["sentence"]
    assert neighbour["leak"] == pytest.approx(neighbour["image_level"] - neighbour["group_level"])
    assert "100.0 % of labels right with image-level splits" in neighbour["sentence"]


def test_an_age_that_names_the_patient_is_a_leak_and_one_for_all_is_none():
    groups, labels = four_images_a_patient(60)
    patients = table_of(groups, labels, age=20.0 + groups)
    metadata = leak_probes(without_images(patients), None)[1]
    assert metadata["finding"]
    assert metadata["leak_interval"][0] > 0.05
    same = leak_probes(without_images(patients.assign(age=50.0)), None)[1]
    assert not same["finding"]
    assert same["leak"] < 0.1


def test_what_the_dataset_lacks_is_skipped_with_the_reason():
    groups, labels = four_images_a_patient()
    neighbour, metadata = leak_probes(without_images(table_of(groups, labels)), None)
    assert neighbour["skipped"] == "the table was read without images"
    assert metadata["skipped"] == "neither is known"
    for result in (neighbour, metadata):
        assert result["image_level"] is None and not result["finding"]
        assert result["skipped"] in result["sentence"]
        assert json.loads(json.dumps(result, allow_nan=False))["leak_interval"] is None


@pytest.mark.parametrize("groups_of_the_rare", [0, 1])
def test_too_few_groups_of_a_class_are_skipped(groups_of_the_rare: int):
    labels = np.array(["benign"] * 20 + ["malignant"] * 4 * groups_of_the_rare)
    table = table_of(np.arange(len(labels)) // 4, labels)
    probe = Probe("n", "leak", "It", nearest_neighbour, np.zeros((len(table), 1)))
    assert score_probe(probe, table)["skipped"] == "two classes with two groups each are needed"


def test_accuracies_and_intervals_agree_with_an_independent_computation():
    groups, labels = four_images_a_patient()
    rng = np.random.default_rng(4)
    noise_of_both = rng.normal(0, 0.8, (len(labels), 2)) + rng.normal(0, 0.5, 30)[groups, None]
    features = (labels == "benign")[:, None] + noise_of_both
    table = table_of(groups, labels)
    result = score_probe(Probe("n", "leak", "It", nearest_neighbour, features), table, seed=5)
    hits = []
    for splitter in (StratifiedKFold, StratifiedGroupKFold):
        folds = splitter(5, shuffle=True, random_state=5).split(features, labels, table["group_id"] if hits else None)
        guess = cross_val_predict(nearest_neighbour(5), features, labels, cv=list(folds))
        hits.append((guess == labels).reshape(30, 4).mean(axis=1))
    assert (result["image_level"], result["group_level"]) == pytest.approx((hits[0].mean(), hits[1].mean()))
    drawn = rng.integers(30, size=(4000, 30))
    expected = [np.quantile(part[drawn].mean(axis=1), [0.025, 0.975]) for part in (*hits, hits[0] - hits[1])]
    found = (result["image_interval"], result["group_interval"], result["leak_interval"])
    assert np.asarray(found) == pytest.approx(np.asarray(expected), abs=0.02)


def test_a_guess_of_the_commonest_class_scores_its_share_and_is_no_finding():
    labels = np.array(["benign"] * 60 + ["malignant"] * 40)
    table = table_of(np.arange(100), labels)
    probe = Probe("n", "shortcut", "It", lambda seed: DummyClassifier(), np.zeros((100, 1)))
    result = score_probe(probe, table)
    assert result["image_level"] == result["group_level"] == result["majority"] == 0.6
    assert result["leak_interval"] == (0.0, 0.0)
    assert result["group_interval"] == pytest.approx((0.5, 0.7), abs=0.02)  # 0.6 ± 1.96 √(0.24 / 100)
    assert not result["finding"]


@pytest.mark.parametrize(("rare", "margin"), [(50, 0.05), (20, 0.05), (10, 0.025), (4, 0.01)])
def test_the_margin_fits_what_the_commonest_class_leaves(rare: int, margin: float):
    """5 points, and at most a quarter of the rest: a perfect guess of a rare class can be a finding."""
    labels = np.array(["benign"] * (100 - rare) + ["malignant"] * rare)
    probe = Probe("n", "shortcut", "It", nearest_neighbour, (labels == "benign")[:, None].astype(float))
    result = score_probe(probe, table_of(np.arange(100), labels))
    assert result["margin"] == pytest.approx(margin)
    assert result["finding"]


def mammogram(rng: np.random.Generator, side: str = "LEFT") -> np.ndarray:
    """A half-ellipse of tissue on film: uint8 (120, 80)."""
    y, x = np.mgrid[:120, :80]
    size = rng.uniform(0.85, 1.0)
    tissue = (x / (45 * size)) ** 2 + ((y - 60) / (45 * size)) ** 2 < 1
    image = np.where(tissue, 130, 12) + rng.integers(-6, 7, (120, 80))
    return np.ascontiguousarray(image.astype(np.uint8)[:, :: -1 if side == "RIGHT" else 1])


def dataset_of(folder: Path, images: list[np.ndarray], modality: str, names: list[str] | None = None) -> Dataset:
    """Two images a group, named by number; a group's label is the parity of its number."""
    names = names or [f"{row:03d}" for row in range(len(images))]
    for name, image in zip(names, images, strict=True):
        assert cv2.imwrite(str(folder / f"{name}.png"), image)
    groups = np.arange(len(images)) // 2
    table = {
        "sample_id": names,
        "image_path": [f"{name}.png" for name in names],
        "label": np.array(CLASSES)[groups % 2],
        "group_id": groups,
        "side": ["LEFT", "RIGHT"] * GROUPS,
    }
    pd.DataFrame(table).to_csv(folder / "samples.csv", index=False)
    dataset = load_dataset("folder", folder)
    return replace(dataset, info=replace(dataset.info, modality=modality))


def probed(dataset: Dataset, *features: str) -> dict[str, dict]:
    """Results by name; with ``features`` only the probes of these pixels are scored, to save time."""
    images = read_probe_images(dataset) if dataset.has_images else None
    if images and features:
        images = replace(images, features={name: images.features[name] for name in features})
    results = shortcut_probes(dataset, images)
    json.dumps(results, allow_nan=False)
    return {result["name"]: result for result in results}


def findings(results: dict[str, dict]) -> set[str]:
    return {name for name, result in results.items() if result["finding"]}


def test_a_label_in_the_name_the_size_the_border_or_a_corner_is_found_where_it_is(tmp_path):
    images = noise()
    for row, label in enumerate(LABELS):
        images[row] = images[row][:, : 40 - 2 * label]
        images[row][19:22, -1] = 255 * label
        images[row][0, 0] = label
    names = [f"{'xy'[label]}_{row}" for row, label in enumerate(LABELS)]
    results = probed(dataset_of(tmp_path, images, "ultrasound", names), "size", "border", "corners")
    assert findings(results) == {"file-name-prefix", "image-size", "border-pixels", "corner-pixels"}
    assert results["corner-pixels"]["group_level"] > 0.9
    assert "it tells the label without the breast" in results["corner-pixels"]["sentence"]


def test_a_mark_on_the_film_is_found_and_a_lesion_in_the_breast_is_not(tmp_path):
    rng = np.random.default_rng(0)
    images = [mammogram(rng, side) for side in ("LEFT", "RIGHT") * GROUPS]
    lesions = [
        cv2.circle(image.copy(), (40, 60), 2, 190, -1) if label else image
        for image, label in zip(images, LABELS, strict=True)
    ]
    marked = [image.copy() for image in images]
    for row, label in enumerate(LABELS):
        columns = slice(-16, -8) if row % 2 == 0 else slice(8, 16)
        marked[row][8:14, columns] = 220 if label else 12
    (tmp_path / "lesions").mkdir()
    (tmp_path / "marked").mkdir()
    film = ("border", "background", "markers")
    assert not findings(probed(dataset_of(tmp_path / "lesions", lesions, "mammography"), *film))
    assert findings(probed(dataset_of(tmp_path / "marked", marked, "mammography"), *film)) == {"markers", "background"}


def test_scans_turned_over_in_one_class_are_found(tmp_path):
    """Either side alone tells nothing: only the picture against the name does."""
    rng, other = np.random.default_rng(0), {"LEFT": "RIGHT", "RIGHT": "LEFT"}
    sides = ("LEFT", "RIGHT") * GROUPS
    images = [mammogram(rng, other[side] if label else side) for side, label in zip(sides, LABELS, strict=True)]
    results = probed(dataset_of(tmp_path, images, "mammography"), "picture_side")
    assert results["picture-side"]["group_level"] == 1.0
    assert not results["view-and-side"]["finding"]


def test_what_the_breast_holds_is_not_shown_to_the_probes_of_the_film():
    plain = mammogram(np.random.default_rng(3))
    changed = plain.copy()
    changed[40:80, 5:25] += 60
    one, other = image_features(plain, "mammography"), image_features(changed, "mammography")
    assert one.keys() == other.keys()
    same = {name for name in one if np.array_equal(one[name], other[name])}
    assert {"border", "background", "markers", "corners", "picture_side"} <= same
    assert "thumbnail" not in same


def test_features_by_hand():
    """A white 6×6 mark at (60, 20) of a picture of 80×120; corners in the order of reading."""
    image = mammogram(np.random.default_rng(3), "RIGHT")
    image[20:26, 10:16] = 255
    image[0, 0], image[0, -1], image[-1, 0], image[-1, -1] = 1, 2, 3, 4
    features = image_features(image, "mammography")
    assert features["size"] == pytest.approx([80, 120, 2 / 3])
    assert str(features["picture_side"]) == "RIGHT"
    assert features["markers"] == pytest.approx([1, 36 / 9600, 12.5 / 80, 22.5 / 120, 6 / 80, 6 / 120])
    assert features["corners"].reshape(4, 8, 8)[[0, 1, 2, 3], [0, 0, 7, 7], [0, 7, 0, 7]].tolist() == [1, 2, 3, 4]
    assert features["background"][8] == 255


def test_the_shadow_behind_a_lesion_is_not_part_of_an_ultrasound_border():
    image = noise()[0]
    shadow = image.copy()
    shadow[-2:, 5:-5] = 0
    one, other = image_features(image, "ultrasound"), image_features(shadow, "ultrasound")
    assert np.array_equal(one["border"], other["border"])
    image[:2, 5:-5] = 0
    assert not np.array_equal(image_features(image, "ultrasound")["border"], one["border"])


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 200)])
def test_tiny_images_have_features_of_the_same_shape(shape):
    usual = image_features(noise()[0], "mammography")
    tiny = image_features(np.full(shape, 9, np.uint8), "mammography")
    assert {name: value.shape for name, value in tiny.items()} == {name: value.shape for name, value in usual.items()}


def test_too_many_images_are_drawn_by_whole_groups(tmp_path):
    dataset = dataset_of(tmp_path, noise(), "ultrasound")
    drawn = read_probe_images(dataset, limit=31, seed=1)
    assert len(drawn.table) == len(drawn.features["corners"]) == 32
    assert (drawn.table.groupby("group_id").size() == 2).all()
    assert len(read_probe_images(dataset).table) == 2 * GROUPS


@pytest.mark.parametrize(
    ("names", "carried"),
    [
        (["benign (1).png", "malignant (1).png"], True),
        (["x_1.png", "x_malignant.png"], True),
        (["abnormal1.png", "abnormal2.png"], False),
        (["malignant1.png", "benign1.png"], False),
    ],
)
def test_names_that_hold_the_class_as_a_word_are_no_prefix_to_probe(names, carried):
    assert names_carry_labels(pd.DataFrame({"image_path": names, "label": ["benign", "malignant"]})) is carried


def test_a_clean_phantom_passes(tmp_path):
    mammograms = probed(phantom_mammograms(tmp_path / "m", patients=12, height=96))
    ultrasound = probed(phantom_ultrasound(tmp_path / "u", images=60, size=64))
    assert findings(mammograms) == findings(ultrasound) == set()
    assert ultrasound["background"]["skipped"] == "only mammograms show film beside the breast"
    assert ultrasound["file-name-prefix"]["skipped"] == "the file names hold the label itself"
    assert not any(result["skipped"] for result in mammograms.values())


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("Benign/0029/A_0029_1.LEFT_CC.jpg", "a"), ("b/Site12_3.png", "site"), ("0012.png", ""), ("_x.png", "")],
)
def test_the_prefix_is_the_letters_that_a_name_starts_with(path, prefix):
    assert file_name_prefix(path) == prefix
