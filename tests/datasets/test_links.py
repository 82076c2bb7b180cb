"""Links in a dataset's folder: one that leaves it may lead to anybody's files, and is named and not followed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from served_model import scan, write_image

from mmdc_tf.datasets.busi import list_busi
from mmdc_tf.datasets.catalogue import load_dataset
from mmdc_tf.datasets.folder import load_folder
from mmdc_tf.datasets.mini_ddsm import TABLE_COLUMNS, load_mini_ddsm
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import DatasetError

NOTE = "links that leave the dataset's folder, not followed: "


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """An image that is none of the dataset's."""
    return write_image(tmp_path / "outside" / "private.png", scan(9))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's folder: two patients, and a third whose image is to be put there."""
    root = tmp_path / "own"
    for number in range(2):
        write_image(root / f"{number}.png", scan(number))
    names = [f"{number}.png" for number in range(3)]
    table = pd.DataFrame({"sample_id": names, "image_path": names, "label": ["a", "b", "a"], "patient_id": names})
    table.to_csv(root / "samples.csv", index=False)
    return root


def noted(dataset: Dataset) -> str:
    return "\n".join(dataset.notes)


def test_busi_follows_links_inside_and_none_outside(busi: Path, outside: Path):
    benign = busi / "benign"
    (benign / "benign (7).png").symlink_to(outside)
    (benign / "benign (1)_mask.png").symlink_to("/etc/passwd")
    shutil.move(benign / "benign (2).png", busi / "kept.png")
    (benign / "benign (2).png").symlink_to("../kept.png")
    (benign / "loop.png").symlink_to("loop.png")
    dataset = list_busi(busi)
    assert len(dataset.table) == 18
    assert not any(dataset.table["lesion_masks"])
    assert f"{NOTE}2, for example benign/benign (1)_mask.png, benign/benign (7).png" in noted(dataset)


def test_a_class_folder_that_lies_outside_is_not_read(busi: Path, tmp_path: Path):
    shutil.move(busi / "normal", tmp_path / "normal")
    (busi / "normal").symlink_to(tmp_path / "normal")
    dataset = list_busi(busi)
    assert set(dataset.table["label"]) == {"benign", "malignant"}
    assert noted(dataset) == f"{NOTE}1, for example normal"
    with pytest.raises(DatasetError, match=f"none of normal; {NOTE}1, for example normal"):
        load_dataset("busi", busi)


def test_where_all_classes_or_all_files_are_links_the_error_says_so(busi: Path, tmp_path: Path):
    for name in ("classes", "files"):
        (tmp_path / name).mkdir()
    for folder in busi.iterdir():
        (tmp_path / "classes" / folder.name).symlink_to(folder)
        (tmp_path / "files" / folder.name).mkdir()
        for file in folder.iterdir():
            (tmp_path / "files" / folder.name / file.name).symlink_to(file)
    for name, count in (("classes", 3), ("files", 18)):
        with pytest.raises(DatasetError, match=f"at least one image.*{NOTE}{count}, for example benign"):
            list_busi(tmp_path / name)


def test_links_to_nothing_are_named(busi: Path):
    (busi / "benign" / "benign (8).png").symlink_to("gone.png")
    assert "or to nothing, not followed: 1, for example benign/benign (8).png" in noted(list_busi(busi))


def test_an_inner_folder_that_lies_outside_is_not_read(busi: Path, tmp_path: Path):
    (tmp_path / "around").mkdir()
    (tmp_path / "around" / "Dataset_BUSI_with_GT").symlink_to(busi)
    with pytest.raises(DatasetError, match="Expected the folders benign, malignant, normal"):
        list_busi(tmp_path / "around")


def test_the_root_itself_may_be_a_link(busi: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(busi)
    assert len(list_busi(tmp_path / "link").table) == 18


@pytest.mark.parametrize("kind", ["file", "folder", "passwd"])
def test_a_users_folder_is_not_left(own: Path, outside: Path, kind: str):
    target = {"file": outside, "folder": outside, "passwd": Path("/etc/passwd")}[kind]
    if kind == "folder":
        (own / "linked").symlink_to(outside.parent)
        table = pd.read_csv(own / "samples.csv").replace({"image_path": {"2.png": "linked/private.png"}})
        table.to_csv(own / "samples.csv", index=False)
    else:
        (own / "2.png").symlink_to(target)
    dataset = load_folder(own)
    assert dataset.table["sample_id"].tolist() == ["0.png", "1.png"]
    assert f"{NOTE}1, for example {'linked' if kind == 'folder' else '2.png'}" in noted(dataset)


def test_links_inside_are_followed_and_circles_end(own: Path):
    (own / "2.png").symlink_to("1.png")
    (own / "circle").symlink_to(own)
    (own / "one.png").symlink_to("two.png")
    (own / "two.png").symlink_to("one.png")
    dataset = load_folder(own)
    assert len(dataset.table) == 3
    assert NOTE not in noted(dataset)


@pytest.mark.parametrize("path", ["../outside/private.png", "/etc/passwd", "a/../../x.png", "C:\\x.png", "..\\x.png"])
def test_a_table_cannot_name_what_lies_outside(own: Path, outside: Path, path: str):
    table = pd.read_csv(own / "samples.csv").replace({"image_path": {"2.png": path}})
    table.to_csv(own / "samples.csv", index=False)
    with pytest.raises(DatasetError, match=r"Expected a path below the dataset's root\. Received: "):
        load_folder(own)


def test_where_all_images_are_links_out_the_error_says_so(tmp_path: Path, outside: Path):
    root = tmp_path / "mini"
    (root / "Benign" / "0001").mkdir(parents=True)
    (root / "Benign" / "0001" / "x.png").symlink_to(outside)
    row = dict.fromkeys(TABLE_COLUMNS, "") | {"fullPath": "Benign/0001/x.png", "Status": "Benign", "Age": "60"}
    pd.DataFrame([row]).to_csv(root / "DataWMask.csv", index=False)
    with pytest.raises(DatasetError, match=f"with none of 1, .*{NOTE}1, for example Benign/0001/x.png"):
        load_mini_ddsm(root)
