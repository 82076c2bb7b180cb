"""What every reader does, and the catalogue: folders, links, files that are not used, the check."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from made_up_datasets import make_busi, make_folder, make_mini_ddsm
from made_up_images import write
from served_model import scan, write_image

from mmdc_tf.datasets import catalogue
from mmdc_tf.datasets.busi import BUSI, list_busi, load_busi
from mmdc_tf.datasets.catalogue import check_dataset, format_report, list_dataset, load_dataset, load_table_alone
from mmdc_tf.datasets.mini_ddsm import MINI_DDSM, load_mini_ddsm
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import ConfigurationError, DatasetError

MAKERS = {"busi": make_busi, "mini-ddsm": make_mini_ddsm, "folder": make_folder}
AN_IMAGE = {
    "busi": "normal/normal (2).png",
    "mini-ddsm": "Cancer/0029/C_0029_1.RIGHT_MLO.jpg",
    "folder": "img/3.png",
}
OUTSIDE, IDLE = "links that leave the dataset's folder, not followed: ", "or to nothing, not followed: "
readers = pytest.mark.parametrize("name", MAKERS)


def noted(dataset: Dataset) -> str:
    return "\n".join(dataset.notes)


@readers
def test_a_root_that_is_no_folder_of_the_dataset_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for root, state in (("nowhere", "no such folder"), ("file", "a file"), ("empty", "an empty folder")):
        with pytest.raises(DatasetError, match=rf"Received: root='.*{root}' \({state}\)"):
            load_dataset(name, tmp_path / root)
    write(tmp_path / "other" / "pictures" / "1.png", 1)
    (tmp_path / "other" / "list.txt").write_text("x")
    with pytest.raises(DatasetError) as caught:
        load_dataset(name, tmp_path / "other")
    assert "it holds pictures/, files: 1 (.txt: 1, for example list.txt)" in str(caught.value)


@readers
def test_an_unknown_name_suggests_the_nearest(tmp_path, name):
    for call in (load_dataset, check_dataset, load_table_alone):
        with pytest.raises(ConfigurationError, match=f"dataset='{name}s'. Did you mean '{name}'"):
            call(f"{name}s", tmp_path)


@pytest.mark.parametrize(
    ("name", "own"), [("busi", "Dataset_BUSI_with_GT"), ("mini-ddsm", "MINI-DDSM-Complete-JPEG-8")]
)
@pytest.mark.parametrize("around", ["{own}", "archive", "archive/data/{own}"])
def test_folders_around_are_entered_and_files_beside_are_counted(tmp_path, name, own, around):
    inner = MAKERS[name](tmp_path / "outer" / around.format(own=own.lower()) / own)
    (tmp_path / "outer" / "__MACOSX").mkdir()
    assert list_dataset(name, tmp_path / "outer").root == inner
    write(tmp_path / "outer" / "archive" / "malignant" / "c.png", 5)
    if around == "{own}":  # the only folder of this name; else it cannot be told which one is meant
        note = "files passed over: 1 (.png: 1, for example archive/malignant/c.png)"
        assert note in noted(list_dataset(name, tmp_path / "outer"))


@readers
def test_links_inside_are_followed_and_others_named(tmp_path, name):
    outside = write_image(tmp_path / "outside" / "private.png", scan(9))
    root = MAKERS[name](tmp_path / "data")
    whole, image = list_dataset(name, root), root / AN_IMAGE[name]
    image.rename(root / "kept.png")
    image.symlink_to(root / "kept.png")
    (root / "circle").symlink_to(root)
    for one, other in (("one", "two"), ("two", "one")):
        (root / f"{one}.png").symlink_to(f"{other}.png")
    dataset = list_dataset(name, root)
    assert dataset.table["sample_id"].tolist() == whole.table["sample_id"].tolist()
    assert OUTSIDE not in noted(dataset)
    (tmp_path / "link").symlink_to(root)
    assert len(list_dataset(name, tmp_path / "link").table) == len(dataset.table)
    for target in (outside, Path("/etc/passwd"), outside.parent):
        image.unlink()
        image.symlink_to(target)
        dataset = list_dataset(name, root)
        assert len(dataset.table) == len(whole.table) - 1
        assert f"{OUTSIDE}1, for example {AN_IMAGE[name]}" in noted(dataset)
    image.unlink()
    image.symlink_to("gone.png")
    assert f"{IDLE}4, for example " in noted(list_dataset(name, root))


@pytest.mark.parametrize("make", [make_mini_ddsm, make_folder])
def test_where_all_images_are_links_out_the_error_says_so(tmp_path, make):
    name = "folder" if make is make_folder else "mini-ddsm"
    root, outside = make(tmp_path / "data"), make(tmp_path / "outside")
    for path in [path for path in root.rglob("*") if path.suffix in (".jpg", ".png")]:
        path.unlink()
        path.symlink_to(outside / path.relative_to(root))
    with pytest.raises(DatasetError, match=f"with none of [34], .*{OUTSIDE}"):
        load_dataset(name, root)


def test_a_class_folder_that_is_a_link_is_not_read(tmp_path):
    root = make_busi(tmp_path / "data")
    (root / "normal").rename(tmp_path / "normal")
    (root / "normal").symlink_to(tmp_path / "normal")
    dataset = list_busi(root)
    assert set(dataset.table["label"]) == {"benign", "malignant"}
    assert noted(dataset) == f"{OUTSIDE}1, for example normal"
    with pytest.raises(DatasetError, match=f"none of normal; {OUTSIDE}1, for example normal"):
        load_dataset("busi", root)
    (tmp_path / "around").mkdir()
    (tmp_path / "around" / "Dataset_BUSI_with_GT").symlink_to(root)
    with pytest.raises(DatasetError, match="Expected the folders benign, malignant, normal"):
        list_busi(tmp_path / "around")


@pytest.mark.parametrize("path", ["../outside/private.png", "/etc/passwd", "a/../../x.png", "C:\\x.png", "..\\x.png"])
@pytest.mark.parametrize("column", ["image_path", "lesion_masks"])
def test_a_table_cannot_name_what_lies_outside(tmp_path, path, column):
    root = make_folder(tmp_path / "data", **{column: ["img/1.png", path, "img/3.png"]})
    with pytest.raises(DatasetError, match=r"Expected a path below the dataset's root\. Received: .*samples\.csv"):
        load_dataset("folder", root)


def test_a_name_that_may_be_that_of_two_files_is_refused(tmp_path):
    root = make_folder(tmp_path, image_path=["IMG/SCAN.PNG", "img/2.png", "img/3.png"])
    for name in ("Scan.png", "scan.PNG"):
        write(root / "img" / name, 7)
    with pytest.raises(DatasetError, match=r"'IMG/SCAN\.PNG', which may be 'Scan\.png' or 'scan\.PNG' in .*img"):
        load_dataset("folder", root)
    (root / "img" / "Scan.png").unlink()
    assert load_dataset("folder", root).table["image_path"][0] == str(root / "img" / "scan.PNG")


@pytest.mark.parametrize(
    ("load", "info", "make"), [(load_busi, BUSI, make_busi), (load_mini_ddsm, MINI_DDSM, make_mini_ddsm)]
)
def test_info_is_honoured(tmp_path, load, info, make):
    classes = (info.class_names[2], *info.class_names[:2])
    info = dataclasses.replace(info, name="phantom", class_names=classes, synthetic=True)
    dataset = load(make(tmp_path), info)
    assert dataset.info is info
    assert tuple(dataset.found_counts) == classes and min(dataset.found_counts.values()) > 0


def test_counts_other_than_declared_are_noted(tmp_path, monkeypatch):
    root = make_busi(tmp_path)
    note = (
        "not the complete dataset as declared: expected 437 benign, 210 malignant, 133 normal; "
        "found 3 benign, 2 malignant, 2 normal"
    )
    assert load_dataset("busi", root).notes[-1] == note
    phantom = catalogue.Reader(lambda path: load_busi(path, dataclasses.replace(BUSI, synthetic=True)))
    monkeypatch.setitem(catalogue.DATASETS, "busi", phantom)
    assert note not in load_dataset("busi", root).notes


def test_only_a_dataset_with_such_a_table_can_be_used_without_images(tmp_path):
    root = make_mini_ddsm(tmp_path)
    whole = load_dataset("mini-ddsm", root)
    with_images = whole.fingerprint
    for image in root.rglob("*.jpg"):
        image.unlink()
    alone = load_table_alone("mini-ddsm", root)
    columns = ["sample_id", "label", "age", "density", "group_id"]
    pd.testing.assert_frame_equal(alone.table[columns], whole.table[columns])
    assert not alone.has_images and alone.fingerprint != with_images
    assert any("no image is read" in note for note in alone.notes)
    with pytest.raises(ConfigurationError, match=r"used alone: mini-ddsm\. Received: dataset='busi'"):
        load_table_alone("busi", root)


@readers
def test_the_check_lists_every_unreadable_file_with_its_reason(tmp_path, name):
    root = MAKERS[name](tmp_path)
    good = check_dataset(name, root)
    assert (good["usable"], good["problems"], good["unreadable"]) == (True, [], [])
    (root / AN_IMAGE[name]).write_bytes(b"")
    report = check_dataset(name, root)
    assert report["unreadable"] == [{"path": str(root / AN_IMAGE[name]), "kind": "image", "reason": "empty file"}]
    assert report["problems"] == [f"1 of {good['images']} images cannot be read"]
    assert (report["usable"], report["classes"]) == (False, good["classes"])
    assert (report["groups"] is None) == (name == "busi")  # whose groups need each image
    assert json.loads(json.dumps(report)) == report


def test_the_check_counts_what_is_there(tmp_path):
    root = make_busi(tmp_path)
    report = check_dataset("busi", root)
    assert report["classes"]["malignant"] == {"expected": 210, "found": 2}
    assert (report["images"], report["patients"], report["groups"]) == (7, None, 6)
    assert report["missing_age"] == report["missing_density"] == 7
    assert (report["lesion_masks"], report["images_with_masks"]) == (4, 3)
    (root / "benign" / "benign (1)_mask.png").write_text("text")
    report = check_dataset("busi", root)
    assert ([entry["kind"] for entry in report["unreadable"]], report["usable"]) == (["lesion mask"], True)
    assert check_dataset("mini-ddsm", make_mini_ddsm(tmp_path / "mini"))["patients"] == 3


def test_the_text_of_the_check_shows_what_a_person_looks_for(tmp_path):
    root = make_busi(tmp_path / "busi")
    for number in range(2, 33):
        (root / "normal" / f"normal ({number}).png").write_text("text")
    text = format_report(check_dataset("busi", root))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert (rows["malignant"], rows["all"], rows["usable"]) == (["210", "2"], ["780", "37"], ["NO"])
    assert "normal (2).png (image: not a decodable image)" in text
    assert "31 of 37 images cannot be read" in text
    assert text.count("not a decodable image") == 20 and "and 11 more" in text
    columns = {len(line) for line in text.splitlines() if line.startswith(("class", "benign", "malignant", "all"))}
    assert len(columns) == 1
    report = check_dataset("mini-ddsm", tmp_path / "nowhere")
    assert json.loads(json.dumps(report)) == report
    assert "no such folder" in format_report(report) and format_report(report).endswith("NO")


@pytest.mark.parametrize(
    ("name", "root", "found"),
    [
        ("busi", "busi", {"benign": 437, "malignant": 210, "normal": 133}),
        ("mini-ddsm", "mini-ddsm", {"benign": 32, "cancer": 20, "normal": 20}),
    ],
)
def test_the_real_folders_are_usable(real_data, name, root, found):
    report = check_dataset(name, real_data / root)
    assert (report["usable"], report["unreadable"]) == (True, [])
    assert {one: counts["found"] for one, counts in report["classes"].items()} == found
