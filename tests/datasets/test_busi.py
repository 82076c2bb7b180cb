"""BUSI's reader, on tiny folders in its layout and on the real one."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.busi import BUSI, list_busi, load_busi
from mmdc_tf.datasets.catalogue import load_dataset
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import DatasetError, UnreadableImageError


def write_text(path):
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "Dataset_BUSI_with_GT"
    for seed, name in enumerate(("benign", "malignant", "normal")):
        write(folder / name / f"{name} (1).png", seed)
        write(folder / name / f"{name} (2).png", 10 + seed)
        write(folder / name / f"{name} (1)_mask.png", 20 + seed)
    write(folder / "benign" / "benign (1)_mask_1.png", 30)
    write(folder / "benign" / "benign (10).png", 0)  # the same pixels as benign (1)
    return folder


def test_rows_are_the_images_and_never_the_masks(root):
    table = load_busi(root).table
    assert list(table["sample_id"]) == [
        "benign/benign (1)",
        "benign/benign (10)",
        "benign/benign (2)",
        "malignant/malignant (1)",
        "malignant/malignant (2)",
        "normal/normal (1)",
        "normal/normal (2)",
    ]
    assert list(table["label"]) == ["benign"] * 3 + ["malignant"] * 2 + ["normal"] * 2
    assert table.loc[0, "image_path"] == str(root / "benign" / "benign (1).png")


def test_masks_go_to_their_image(root):
    masks = load_busi(root).table.set_index("sample_id")["lesion_masks"]
    folder = root / "benign"
    assert masks["benign/benign (1)"] == (
        str(folder / "benign (1)_mask.png"),
        str(folder / "benign (1)_mask_1.png"),
    )
    assert masks["benign/benign (10)"] == ()
    assert masks["normal/normal (1)"] == (str(root / "normal" / "normal (1)_mask.png"),)


def test_what_busi_does_not_know_is_unknown(root):
    table = load_busi(root).table
    assert table["age"].isna().all()
    assert table["density"].isna().all()
    assert set(table["patient_id"]) == set(table["view"]) == set(table["side"]) == {""}


def test_equal_images_share_a_group_named_after_the_first(root):
    groups = load_busi(root).table.set_index("sample_id")["group_id"]
    assert groups["benign/benign (10)"] == groups["benign/benign (1)"] == "benign/benign (1)"
    assert groups.nunique() == 6


def test_twins_under_two_labels_are_noted(root):
    write(root / "malignant" / "malignant (3).png", 0)
    note = load_busi(root).notes[-1]
    assert "more than one label: 1, for example benign/benign (1), benign/benign (10), malignant/malignant (3)" in note


def test_the_folder_around_is_accepted(root):
    around = load_busi(root.parent)
    assert around.root == root
    assert around.table.equals(load_busi(root).table)


def test_info_is_honoured(root):
    info = dataclasses.replace(BUSI, name="phantom", class_names=("malignant", "normal"), synthetic=True)
    dataset = load_busi(root, info)
    assert dataset.info is info
    assert dataset.found_counts == {"malignant": 2, "normal": 2}


def test_a_mask_without_an_image_is_noted(root):
    write(root / "normal" / "normal (9)_mask.png", 40)
    assert any("without an image: 1, for example of normal/normal (9)" in note for note in load_busi(root).notes)


def test_other_files_and_hidden_files_are_left_alone(root):
    (root / "benign" / "notes.txt").write_text("x")
    (root / "benign" / "._benign (2).png").write_text("x")
    assert len(load_busi(root).table) == 7


def test_a_root_of_another_layout_is_refused_with_what_it_holds(root):
    for name in ("malignant", "normal"):
        (root / name).rename(root / f"{name} of 2020")
    (root / "list.csv").write_text("x")
    with pytest.raises(DatasetError, match="without malignant, normal") as caught:
        load_busi(root)
    held = "it holds benign/, malignant of 2020/, normal of 2020/, files: 1 (.csv: 1, for example list.csv)"
    assert held in str(caught.value) and "--dataset folder" in str(caught.value)


def test_a_folder_that_is_no_busi_is_shown_itself_and_not_what_is_below(tmp_path):
    write(tmp_path / "images" / "1.png", 1)
    (tmp_path / "samples.csv").write_text("x")
    with pytest.raises(DatasetError) as caught:
        list_busi(tmp_path)
    held = (
        f"root='{tmp_path}' without benign, malignant, normal; it holds images/, files: 1 (.csv: 1, for example samples"
    )
    assert held in str(caught.value)


def test_two_classes_are_enough_and_noted(root):
    shutil.rmtree(root / "normal")
    dataset = load_dataset("busi", root)
    assert dataset.found_counts == {"benign": 3, "malignant": 2}
    assert "no folder of normal: the classes are benign, malignant alone" in dataset.notes


@pytest.mark.parametrize("layout", ["{name}/images", "{name}/Image", "images/{name}"])
def test_images_and_masks_may_have_folders_of_their_own(root, layout):
    expected = list_busi(root).table
    for name in BUSI.class_names:
        (root / name).rename(root / "old")
        images = root / layout.format(name=name.title())
        masks = root / layout.replace("image", "mask").replace("Image", "Mask").format(name=name.title())
        for folder in (images, masks):
            folder.mkdir(parents=True)
        for path in (root / "old").iterdir():
            path.rename((masks if "mask" in path.name else images) / path.name)
        (root / "old").rmdir()
    dataset = list_busi(root)
    columns = ["sample_id", "label", "group_id"]
    pd.testing.assert_frame_equal(dataset.table[columns], expected[columns])
    assert list(dataset.table["lesion_masks"].map(len)) == list(expected["lesion_masks"].map(len))
    assert dataset.notes == ()


def test_a_mask_in_a_folder_of_masks_may_be_called_as_its_image(root):
    folder = root / "benign"
    write(folder / "masks" / "benign (2).png", 60)
    masks = list_busi(root).table.set_index("sample_id")["lesion_masks"]
    assert masks["benign/benign (2)"] == (str(folder / "masks" / "benign (2).png"),)


@pytest.mark.parametrize("around", ["Dataset_BUSI_with_GT", "dataset_busi_with_gt", "archive", "archive/data"])
def test_folders_around_folders_are_entered(root, tmp_path, around):
    (tmp_path / "outer" / around).mkdir(parents=True)
    (tmp_path / "outer" / "__MACOSX").mkdir()
    inner = root.rename(tmp_path / "outer" / around / "Dataset_BUSI_with_GT")
    assert list_busi(tmp_path / "outer").root == inner


def test_files_beside_the_folder_that_is_entered_are_counted(root):
    write(root.parent / "malignant" / "c.png", 5)
    assert list_busi(root.parent).notes == ("files passed over: 1 (.png: 1, for example malignant/c.png)",)


@pytest.mark.parametrize(
    "name", ["benign (2) mask", "benign (2)-mask", "mask_benign (2)", "benign (2)mask", "benign (2)_MASK (2)"]
)
def test_masks_are_known_by_their_other_names_too(root, name):
    path = root / "benign" / f"{name}.png"
    write(path, 40)
    masks = list_busi(root).table.set_index("sample_id")["lesion_masks"]
    assert len(masks) == 7
    assert masks["benign/benign (2)"] == (str(path),)


def test_an_image_whose_name_only_holds_the_word_is_no_mask(root):
    write(root / "benign" / "benign (2)_masked_lesion_view.png", 41)
    assert "benign/benign (2)_masked_lesion_view" in set(list_busi(root).table["sample_id"])


def test_what_is_passed_over_is_counted_by_kind_with_an_example(root):
    for name in ("a.webp", "b.WEBP", "c.jfif", "d.gif", "more/benign (90).png"):
        write_text(root / "benign" / name)
    write_text(root / "cyst" / "cyst (1).png")
    expected = (
        "files passed over: 6 (.png: 2, for example benign/more/benign (90).png; .webp: 2, for example benign/a.webp; "
        ".gif: 1, for example benign/d.gif; .jfif: 1, for example benign/c.jfif)"
    )
    assert list_busi(root).notes == (expected,)


def test_a_class_whose_files_are_all_passed_over_is_refused_with_their_kind(root):
    for path in (root / "normal").iterdir():
        path.rename(path.with_suffix(".webp"))
    with pytest.raises(DatasetError, match=r"none of normal; files passed over: 3 \(\.webp: 3, for example normal/"):
        load_dataset("busi", root)


def test_missing_root_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere.*no such folder"):
        load_busi(tmp_path / "nowhere")


def test_empty_root_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="an empty folder"):
        load_busi(tmp_path)


def test_class_folders_without_images_are_refused(tmp_path):
    for name in BUSI.class_names:
        (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match="at least one image"):
        load_busi(tmp_path)


def test_an_unreadable_image_is_named_when_grouping_but_still_listed(root):
    (root / "normal" / "normal (2).png").write_text("text")
    with pytest.raises(UnreadableImageError, match=r"normal \(2\)\.png"):
        load_busi(root)
    assert len(list_busi(root).table) == 7


def test_one_image_under_two_suffixes_is_listed_twice(root):
    write(root / "normal" / "normal (2).jpg", 50)
    with pytest.raises(DatasetError, match=r"sample_id='normal/normal \(2\)' more than once"):
        load_busi(root)


def test_the_real_folder(real_data):
    dataset = load_busi(real_data / "busi" / "Dataset_BUSI_with_GT")
    assert dataset.found_counts == {"benign": 437, "malignant": 210, "normal": 133}
    groups = dataset.table.set_index("sample_id")["group_id"]
    assert groups["benign/benign (433)"] == groups["malignant/malignant (145)"]
    assert groups["benign/benign (131)"] == groups["malignant/malignant (51)"]
    # 339 images have a near-twin, so 441 stand alone; single linkage must not chain the rest together.
    sizes = groups.value_counts()
    assert (sizes == 1).sum() == 780 - 339
    assert sizes.max() <= 10
