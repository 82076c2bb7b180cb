"""The phantoms: layout, determinism, truth, and that a label needs both the image and the metadata."""

from __future__ import annotations

import filecmp
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage
from skimage.measure import regionprops
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GroupKFold, cross_val_predict

from mmdc_tf.datasets import phantom
from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.phantom import (
    PHANTOM_MAMMOGRAM,
    PHANTOM_ULTRASOUND,
    mammogram_patients,
    phantom_mammograms,
    phantom_ultrasound,
    write_phantom_mammograms,
    write_phantom_ultrasound,
)
from mmdc_tf.datasets.phantom_images import draw_mammogram
from mmdc_tf.datasets.phantom_ultrasound import draw_ultrasound, ultrasound_scans
from mmdc_tf.datasets.schema import SIDES, VIEWS, Dataset
from mmdc_tf.errors import ConfigurationError, DatasetError

VIEWS_OF_A_PATIENT = list(product(VIEWS, SIDES))


@pytest.fixture(scope="module")
def mammograms(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return phantom_mammograms(tmp_path_factory.mktemp("mammograms") / "phantom", patients=90, height=96, seed=1)


@pytest.fixture(scope="module")
def ultrasound(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return phantom_ultrasound(tmp_path_factory.mktemp("ultrasound") / "phantom", images=120, size=96)


def all_files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("write", [write_phantom_mammograms, write_phantom_ultrasound])
def test_same_seed_same_bytes_and_another_seed_other_images(tmp_path: Path, write) -> None:
    one, two, other = (write(tmp_path / name, 12, 64, seed) for name, seed in (("1", 5), ("2", 5), ("3", 6)))
    files = all_files(one)
    assert files == all_files(two)
    assert filecmp.cmpfiles(one, two, files, shallow=False) == (files, [], [])
    images = [
        name for name in set(files) & set(all_files(other)) if "ask" not in name and name.endswith(("jpg", "png"))
    ]
    assert images
    assert filecmp.cmpfiles(one, other, images, shallow=False)[0] == []


def test_mammograms_are_in_the_layout_of_mini_ddsm(mammograms: Dataset) -> None:
    assert (mammograms.info, mammograms.is_phantom) == (PHANTOM_MAMMOGRAM, True)
    names = r"(Benign|Cancer|Normal)/\d{4}/[A-D]_\d{4}_1\.(LEFT|RIGHT)_(CC|MLO)(\.jpg|_Mask\.png)"
    extra = {"DataWMask.csv", "PHANTOM.txt", "phantom.json"}
    assert all(re.fullmatch(names, name) for name in set(all_files(mammograms.root)) - extra)
    table = pd.read_csv(mammograms.root / "DataWMask.csv")
    assert ",".join(table) == "fullPath,fileName,View,Side,Status,Tumour_Contour,Tumour_Contour2,Age,Density"
    assert table["fullPath"].str.contains("\\", regex=False).all()
    assert ((table["Tumour_Contour"] == "-") == (table["Status"] == "Normal")).all()
    assert "phantom: not a reproduction" in (mammograms.root / "PHANTOM.txt").read_text()


def test_each_patient_has_four_views_and_one_label(mammograms: Dataset) -> None:
    patients = mammograms.table.groupby("patient_id")
    assert patients.ngroups == 90
    for _, rows in patients:
        assert sorted(zip(rows["view"], rows["side"], strict=True)) == VIEWS_OF_A_PATIENT
        assert rows["label"].nunique() == 1
    assert set(mammograms.found_counts.values()) == {120}
    assert mammograms.notes[0] == "phantom: not a reproduction"


def test_each_lesion_has_a_mask_on_disk(mammograms: Dataset) -> None:
    table = mammograms.table
    assert (table["lesion_masks"].map(len) == (table["label"] != "normal")).all()
    row = table[table["label"] == "cancer"].iloc[0]
    mask = read_image(row["lesion_masks"][0])
    assert mask.shape == read_image(row["image_path"]).shape
    assert set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize("patients", [3, 36, 90])
def test_unknown_age_and_density_occur_in_every_phantom(mammograms: Dataset, patients: int) -> None:
    cohort = mammogram_patients(patients, seed=1)
    unknown_ages = sum(not patient.age_known for patient in cohort)
    unknown_densities = sum(not patient.density_known for patient in cohort)
    assert 1 <= unknown_ages <= max(1, 0.08 * patients)
    assert 1 <= unknown_densities <= max(1, 0.06 * patients)
    if patients == 90:
        missing = mammograms.table.drop_duplicates("patient_id")[["age", "density"]].isna().sum()
        assert missing.tolist() == [unknown_ages, unknown_densities]


def test_the_site_goes_with_the_label_somewhat(mammograms: Dataset) -> None:
    sites = mammograms.table["sample_id"].str.extract(r"/([A-D])_")[0]
    by_label = sites.groupby(mammograms.table["label"]).agg(set)
    assert by_label["normal"] == {"A", "D"}  # as in Mini-DDSM's table
    assert by_label["benign"] == by_label["cancer"] == {"A", "B", "C", "D"}


def test_white_strips_are_a_minority_and_can_outdo_the_breast() -> None:
    cohort = mammogram_patients(90, seed=2)
    striped = [(patient, *scan) for patient in cohort for scan in patient.white_strips]
    assert 0.10 <= len(striped) / (4 * len(cohort)) <= 0.15
    scans = [draw_mammogram(*scan, height=64) for scan in striped]
    assert all(np.median(s.image[s.strip_mask > 0]) > np.percentile(s.image[s.breast_mask > 0], 95) for s in scans)
    assert any(scan.strip_mask.sum() > scan.breast_mask.sum() for scan in scans)


def test_masks_are_true_and_lesions_large_enough() -> None:
    for patient in mammogram_patients(12, seed=3):
        for view, side in VIEWS_OF_A_PATIENT:
            scan = draw_mammogram(patient, view, side, height=128)
            breast, lesion = scan.breast_mask > 0, scan.lesion_mask > 0
            assert not (lesion & ~breast).any()
            assert scan.image[breast].mean() > 2 * np.median(scan.image[~breast])
            chest, far = (slice(0, 4), slice(-4, None)) if side == "LEFT" else (slice(-4, None), slice(0, 4))
            assert breast[:, chest].sum() > breast[:, far].sum()
            assert lesion.any() == (patient.status != "Normal")
            if lesion.any():
                assert 2 * np.sqrt(lesion.sum() / np.pi) >= 0.10 * 128
                assert scan.image[lesion].mean() > np.percentile(scan.image[breast & ~lesion], 85)


def test_denser_breasts_are_brighter_and_mlo_views_show_the_muscle() -> None:
    patient = next(one for one in mammogram_patients(12) if one.lesion == "none" and not one.white_strips)
    brightness = []
    for density in (1, 2, 3, 4):
        scan = draw_mammogram(replace(patient, density=density), "CC", "LEFT")
        brightness.append(scan.image[scan.breast_mask > 0].mean())
    assert brightness == sorted(brightness)
    cc, mlo = (draw_mammogram(patient, view, "LEFT").breast_mask[20:30, :10].mean() for view in VIEWS)
    assert (cc, mlo) == (0, 255)


def lesion_features(path: str, masks: tuple[str, ...]) -> list[float]:
    """Shape and brightness of the outlined lesion, and of the rays around it; zeros where there is none."""
    if not masks:
        return [0.0] * 5
    image, mask = read_image(path), read_image(masks[0]) > 127
    (blob,) = regionprops(mask.astype("uint8"), image)  # one label: the lesion, whole
    near = ndimage.binary_dilation(mask, iterations=4) & ~ndimage.binary_dilation(mask, iterations=1)
    return [blob.area, blob.solidity, blob.extent, blob.intensity_mean, float(image[near].mean())]


def accuracy_across_patients(features: np.ndarray, table: pd.DataFrame) -> float:
    model = RandomForestClassifier(100, min_samples_leaf=4, random_state=0)
    predicted = cross_val_predict(model, features, table["label"], groups=table["patient_id"], cv=GroupKFold(5))
    return float((predicted == table["label"]).mean())


def test_a_label_needs_both_the_image_and_the_metadata(mammograms: Dataset) -> None:
    table = mammograms.table
    images = np.array([lesion_features(*row) for row in zip(table["image_path"], table["lesion_masks"], strict=True)])
    metadata = table[["age", "density"]].fillna(table[["age", "density"]].median()).to_numpy()
    both = accuracy_across_patients(np.hstack([images, metadata]), table)
    assert both > accuracy_across_patients(images, table) + 0.04
    assert both > accuracy_across_patients(metadata, table) + 0.20
    assert 0.80 < both < 0.95  # at most about 93 % for who knows no patient
    assert accuracy_across_patients(images, table) < 0.82  # at most 80 %


def test_ambiguous_lesions_look_the_same_whatever_the_class() -> None:
    cohort = mammogram_patients(60)
    for status in ("Benign", "Cancer"):
        lesions = [patient.lesion for patient in cohort if patient.status == status]
        assert lesions.count("ambiguous") == 12  # 60 % of 20
    benign = next(one for one in cohort if (one.status, one.lesion) == ("Benign", "ambiguous"))
    scans = [
        draw_mammogram(replace(benign, status=status, age=70), "CC", "RIGHT", 64) for status in ("Benign", "Cancer")
    ]
    assert np.array_equal(scans[0].image, scans[1].image)


def test_ultrasound_is_in_the_layout_of_busi(ultrasound: Dataset) -> None:
    assert (ultrasound.info, ultrasound.is_phantom) == (PHANTOM_ULTRASOUND, True)
    groups = ultrasound.table.groupby("group_id")  # near-twins share a group and a label
    assert groups.ngroups == len({scan.subject.seed for scan in ultrasound_scans(120)})
    assert (groups["label"].nunique() == 1).all()
    names = r"(benign|malignant|normal)/\1 \(\d+\)(_mask)?\.png"
    files = set(all_files(ultrasound.root)) - {"PHANTOM.txt", "phantom.json"}
    assert len(files) == 240
    assert all(re.fullmatch(names, name) for name in files)
    assert ultrasound.found_counts == {"benign": 54, "malignant": 36, "normal": 30}
    assert ultrasound.notes[0] == "phantom: not a reproduction"
    images = [np.asarray(Image.open(path)) for path in ultrasound.table["image_path"]]
    assert {image.shape for image in images} == {(96, 96, 3)}
    coloured = sum(bool((image[..., 0] != image[..., 2]).any()) for image in images)
    assert 1 <= coloured <= 12


def test_near_twins_are_near_and_different_subjects_are_not() -> None:
    scans = ultrasound_scans(120, seed=4)
    drawn = [draw_ultrasound(scan.subject, 96, scan.exposure, scan.coloured).image for scan in scans]
    bits = np.array([imagehash.phash(Image.fromarray(image), hash_size=16).hash.ravel() for image in drawn])
    distance = (bits[:, None] != bits[None]).sum(axis=2)
    subject = np.array([scan.subject.seed for scan in scans])
    same = subject[:, None] == subject[None]
    pairs = same & ~np.eye(len(scans), dtype=bool)
    assert 0.25 <= pairs.any(axis=1).mean() <= 0.35
    assert distance[pairs].max() <= 40
    assert distance[~same].min() > 60
    assert all(not np.array_equal(drawn[one], drawn[two]) for one, two in np.argwhere(pairs))


def test_ultrasound_lesions_have_the_textbook_signs() -> None:
    shapes: dict[str, list[float]] = {"smooth": [], "irregular": []}
    for scan in ultrasound_scans(60, seed=5):
        drawn = draw_ultrasound(scan.subject, 96)
        lesion, grey = drawn.lesion_mask > 0, drawn.image[..., 0]
        assert lesion.any() == (scan.label != "normal")
        if lesion.any():
            assert grey[lesion].mean() < 0.7 * grey.mean()
            rows, columns = np.nonzero(lesion)
            if scan.subject.lesion in shapes:
                shapes[scan.subject.lesion].append(float(np.ptp(columns) / np.ptp(rows)))
    assert min(shapes["smooth"]) > 1.15  # wider than tall
    assert max(shapes["irregular"]) < 1.0  # taller than wide


def test_a_phantom_there_already_is_read_and_another_one_replaced(tmp_path: Path, monkeypatch) -> None:
    first = phantom_mammograms(tmp_path / "phantom", patients=3, height=64)
    with monkeypatch.context() as patch:
        patch.setattr(phantom, "draw_mammogram", lambda *_: pytest.fail("drawn again"))
        again = phantom_mammograms(tmp_path / "phantom", patients=3, height=64)
    assert again.fingerprint == first.fingerprint
    assert len(phantom_mammograms(tmp_path / "phantom", patients=6, height=64).table) == 24
    assert sorted(path.name for path in tmp_path.iterdir()) == ["phantom"]


def test_other_folders_and_unwritable_places_are_one_clear_error(tmp_path: Path) -> None:
    kept = tmp_path / "mine" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("years of work")
    for make in (phantom_mammograms, phantom_ultrasound):
        with pytest.raises(DatasetError, match="holds something else"):
            make(kept.parent)
    assert kept.read_text() == "years of work"
    with pytest.raises(DatasetError, match="can be written"):
        write_phantom_mammograms(kept / "phantom", patients=3, height=64)


def test_an_interrupted_write_leaves_nothing_and_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupted(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return draw_mammogram(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(phantom, "draw_mammogram", interrupted)
        with pytest.raises(KeyboardInterrupt):
            phantom_mammograms(tmp_path / "phantom", patients=3, height=64)
    assert list(tmp_path.iterdir()) == []
    assert len(phantom_mammograms(tmp_path / "phantom", patients=3, height=64).table) == 12


@pytest.mark.parametrize(
    ("write", "arguments"),
    [
        (write_phantom_mammograms, {"patients": 2}),
        (write_phantom_mammograms, {"height": 32}),
        (write_phantom_mammograms, {"seed": -1}),
        (write_phantom_ultrasound, {"images": 5}),
        (write_phantom_ultrasound, {"size": 32}),
    ],
)
def test_bad_parameters_are_named(tmp_path: Path, write, arguments: dict[str, int]) -> None:
    name, value = next(iter(arguments.items()))
    with pytest.raises(ConfigurationError, match=f"{name}={value}"):
        write(tmp_path / "phantom", **arguments)
    assert list(tmp_path.iterdir()) == []
