"""The catalogue and the check of a folder."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from mmdc_tf.datasets import catalogue
from mmdc_tf.datasets.busi import load_busi
from mmdc_tf.datasets.catalogue import check_dataset, format_report, load_dataset
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8))


@pytest.fixture
def busi(tmp_path):
    for seed, name in enumerate(("benign", "malignant", "normal")):
        write(tmp_path / name / f"{name} (1).png", seed)
        write(tmp_path / name / f"{name} (2).png", 10 + seed)
    write(tmp_path / "benign" / "benign (1)_mask.png", 20)
    return tmp_path


@pytest.mark.parametrize(("name", "near"), [("bussi", "busi"), ("miniddsm", "mini-ddsm"), ("Folder", "folder")])
def test_an_unknown_name_suggests_the_nearest(busi, name, near):
    for call in (load_dataset, check_dataset):
        with pytest.raises(ConfigurationError, match=f"dataset='{name}'. Did you mean '{near}'"):
            call(name, busi)


@pytest.mark.parametrize("name", ["busi", "mini-ddsm", "folder"])
def test_roots_that_are_no_dataset_folder_are_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for root, state in (("nowhere", "no such folder"), ("file", "a file"), ("empty", "an empty folder")):
        with pytest.raises(DatasetError, match=rf"Received: root='.*{root}' \({state}\)"):
            load_dataset(name, tmp_path / root)


def test_counts_other_than_declared_are_noted(busi):
    assert load_dataset("busi", busi).notes[-1] == (
        "not the complete dataset as declared: expected 437 benign, 210 malignant, 133 normal; "
        "found 2 benign, 2 malignant, 2 normal"
    )


def test_a_phantom_is_not_measured_by_the_declared_counts(busi, monkeypatch):
    def load_phantom(root):
        dataset = load_busi(root)
        return dataclasses.replace(dataset, info=dataclasses.replace(dataset.info, synthetic=True))

    monkeypatch.setitem(catalogue.DATASETS, "busi", load_phantom)
    assert not any("expected" in note for note in load_dataset("busi", busi).notes)


def test_a_class_without_images_is_refused(busi):
    for path in (busi / "normal").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="none of normal"):
        load_dataset("busi", busi)


def test_a_good_folder_is_usable(busi):
    report = check_dataset("busi", busi)
    assert report["usable"] is True
    assert report["problems"] == report["unreadable"] == []
    assert report["images"] == 6
    assert report["classes"]["malignant"] == {"expected": 210, "found": 2}
    assert report["patients"] is None
    assert report["groups"] == 6
    assert report["missing_age"] == report["missing_density"] == 6
    assert (report["lesion_masks"], report["images_with_masks"]) == (1, 1)
    assert json.loads(json.dumps(report)) == report


def test_every_unreadable_image_is_listed_with_its_reason(busi):
    (busi / "benign" / "benign (2).png").write_bytes(b"")
    (busi / "normal" / "normal (1).png").write_text("text")
    report = check_dataset("busi", busi)
    assert report["unreadable"] == [
        {"path": str(busi / "benign" / "benign (2).png"), "kind": "image", "reason": "empty file"},
        {"path": str(busi / "normal" / "normal (1).png"), "kind": "image", "reason": "not a decodable image"},
    ]
    assert report["problems"] == ["2 of 6 images cannot be read"]
    assert report["usable"] is False
    assert report["groups"] is None
    assert report["classes"]["benign"]["found"] == 2
    assert json.loads(json.dumps(report)) == report


def test_an_unreadable_mask_is_listed_but_does_not_bar_use(busi):
    (busi / "benign" / "benign (1)_mask.png").write_text("text")
    report = check_dataset("busi", busi)
    assert [entry["kind"] for entry in report["unreadable"]] == ["lesion mask"]
    assert report["usable"] is True


def test_a_sixteen_bit_image_is_readable(busi):
    assert cv2.imwrite(str(busi / "normal" / "normal (3).png"), np.full((8, 8), 4000, np.uint16))
    assert check_dataset("busi", busi)["usable"] is True


def test_a_folder_that_is_no_dataset_is_reported_not_raised(tmp_path):
    report = check_dataset("mini-ddsm", tmp_path)
    assert report["usable"] is False
    assert "an empty folder" in report["problems"][0]
    assert json.loads(json.dumps(report)) == report
    text = format_report(report)
    assert "an empty folder" in text
    assert text.endswith("NO")


def test_the_text_shows_what_a_person_looks_for(busi):
    (busi / "normal" / "normal (1).png").write_text("text")
    text = format_report(check_dataset("busi", busi))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert rows["malignant"] == ["210", "2"]
    assert rows["all"] == ["780", "6"]
    assert "normal (1).png (image: not a decodable image)" in text
    assert "1 of 6 images cannot be read" in text
    assert rows["usable"] == ["NO"]
    columns = {len(line) for line in text.splitlines() if line.startswith(("class", "benign", "malignant", "all"))}
    assert len(columns) == 1


def test_a_long_list_of_unreadable_files_is_cut(busi):
    for number in range(3, 33):
        (busi / "normal" / f"normal ({number}).png").write_text("text")
    text = format_report(check_dataset("busi", busi))
    assert text.count("not a decodable image") == 20
    assert "and 10 more" in text


def test_the_real_folders_are_usable(real_data):
    busi = check_dataset("busi", real_data / "busi" / "Dataset_BUSI_with_GT")
    assert busi["usable"] is True
    assert {name: counts["found"] for name, counts in busi["classes"].items()} == {
        "benign": 437,
        "malignant": 210,
        "normal": 133,
    }
    mini = check_dataset("mini-ddsm", real_data / "mini-ddsm" / "MINI-DDSM-Complete-JPEG-8")
    assert mini["usable"] is True
    assert (mini["images"], mini["patients"], mini["unreadable"]) == (72, 18, [])
