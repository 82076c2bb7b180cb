"""Shortcut probes: planted shortcuts are found by the probe that sees them, and clean data have none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.audit.probe_images import image_features, read_probe_images
from mmdc_tf.audit.probe_scores import ProbeResult
from mmdc_tf.audit.shortcut_probes import file_name_prefix, names_carry_labels, shortcut_probes
from mmdc_tf.datasets.catalogue import load_dataset, load_table_alone
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom import phantom_mammograms, phantom_ultrasound
from mmdc_tf.datasets.schema import Dataset

GROUPS = 40
CLASSES = ("malignant", "benign")


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


def noise(shape: tuple[int, int] = (40, 40)) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2 * GROUPS)]


def labels() -> np.ndarray:
    return np.arange(2 * GROUPS) // 2 % 2


def probed(dataset: Dataset, *features: str) -> dict[str, ProbeResult]:
    """Results by name; with ``features`` only the probes of these pixels are scored, to save time."""
    images = read_probe_images(dataset) if dataset.has_images else None
    if images and features:
        images = replace(images, features={name: images.features[name] for name in features})
    results = shortcut_probes(dataset, images)
    json.dumps([result.to_dict() for result in results], allow_nan=False)
    return {result.name: result for result in results}


def findings(dataset: Dataset, *features: str) -> set[str]:
    return {name for name, result in probed(dataset, *features).items() if result.finding}


def test_a_clean_random_dataset_has_no_shortcut(tmp_path):
    results = probed(dataset_of(tmp_path, noise(), "ultrasound"))
    assert not [name for name, result in results.items() if result.finding]
    scored = {"file-name-prefix", "view-and-side", "image-size", "corner-pixels", "border-pixels"}
    assert {name for name, result in results.items() if not result.skipped} == scored
    assert results["background"].skipped == "only mammograms show film beside the breast"


@pytest.mark.parametrize("modality", ["ultrasound", "mammography"])
def test_a_label_written_into_a_corner_pixel_is_found(tmp_path, modality):
    images = noise()
    for image, label in zip(images, labels(), strict=True):
        image[0, 0] = label
    result = probed(dataset_of(tmp_path, images, modality), "corners")["corner-pixels"]
    assert result.finding
    assert result.group_level > 0.9
    assert "it tells the label without the breast" in result.sentence


def test_a_label_in_the_name_the_size_or_the_border_is_found_where_it_is(tmp_path):
    images = noise()
    for row, label in enumerate(labels()):
        images[row] = images[row][:, : 40 - 2 * label]
        images[row][19:22, -1] = 255 * label
    names = [f"{'xy'[label]}_{row}" for row, label in enumerate(labels())]
    found = findings(dataset_of(tmp_path, images, "ultrasound", names), "size", "border")
    assert found == {"file-name-prefix", "image-size", "border-pixels"}


def test_a_mark_on_the_film_is_found_and_a_lesion_in_the_breast_is_not(tmp_path):
    rng = np.random.default_rng(0)
    images = [mammogram(rng, side) for side in ("LEFT", "RIGHT") * GROUPS]
    lesions = [
        cv2.circle(image.copy(), (40, 60), 2, 190, -1) if label else image
        for image, label in zip(images, labels(), strict=True)
    ]
    marked = [image.copy() for image in images]
    for row, label in enumerate(labels()):
        columns = slice(-16, -8) if row % 2 == 0 else slice(8, 16)
        marked[row][8:14, columns] = 220 if label else 12
    (tmp_path / "lesions").mkdir()
    (tmp_path / "marked").mkdir()
    film = ("border", "background", "markers")
    assert not findings(dataset_of(tmp_path / "lesions", lesions, "mammography"), *film)
    assert findings(dataset_of(tmp_path / "marked", marked, "mammography"), *film) == {"markers", "background"}


def test_scans_turned_over_in_one_class_are_found(tmp_path):
    """Either side alone tells nothing: only the picture against the name does."""
    rng, other = np.random.default_rng(0), {"LEFT": "RIGHT", "RIGHT": "LEFT"}
    sides = ("LEFT", "RIGHT") * GROUPS
    images = [mammogram(rng, other[side] if label else side) for side, label in zip(sides, labels(), strict=True)]
    results = probed(dataset_of(tmp_path, images, "mammography"), "picture_side")
    assert results["picture-side"].group_level == 1.0
    assert not results["view-and-side"].finding


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
    ("path", "prefix"),
    [("Benign/0029/A_0029_1.LEFT_CC.jpg", "a"), ("b/Site12_3.png", "site"), ("0012.png", ""), ("_x.png", "")],
)
def test_the_prefix_is_the_letters_that_a_name_starts_with(path, prefix):
    assert file_name_prefix(path) == prefix


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


def test_the_real_table_of_mini_ddsm(real_data):
    """The first letter of the file name alone: 50 % by patient; always the commonest class: 35 %."""
    results = probed(load_table_alone("mini-ddsm", real_data / "mini-ddsm"))
    prefix = results["file-name-prefix"]
    assert prefix.group_level == pytest.approx(0.50, abs=0.015)
    assert prefix.majority == pytest.approx(0.35, abs=0.005)
    assert prefix.finding
    assert not results["view-and-side"].finding
    assert results["border-pixels"].skipped == "the table was read without images"


def test_a_clean_phantom_passes(tmp_path):
    mammograms = probed(phantom_mammograms(tmp_path / "m", patients=12, height=96))
    ultrasound = probed(phantom_ultrasound(tmp_path / "u", images=60, size=64))
    assert not [name for part in (mammograms, ultrasound) for name, result in part.items() if result.finding]
    assert ultrasound["file-name-prefix"].skipped == "the file names hold the label itself"
    assert not any(result.skipped for result in mammograms.values())
