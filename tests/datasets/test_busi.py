"""BUSI's reader, on tiny folders in its layout and on the real one; what all readers do is in test_readers."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
from made_up_datasets import make_busi
from made_up_images import write

from mmdc_tf.datasets.busi import BUSI, list_busi, load_busi
from mmdc_tf.datasets.catalogue import load_dataset
from mmdc_tf.errors import DatasetError, UnreadableImageError


@pytest.fixture
def root(tmp_path):
    return make_busi(tmp_path / "Dataset_BUSI_with_GT")


def masks_of(root):
    return list_busi(root).table.set_index("sample_id")["lesion_masks"]


def test_rows_are_the_images_and_never_the_masks(root):
    (root / "benign" / "._benign (2).png").write_text("hidden")
    table = load_busi(root).table
    assert list(table["sample_id"]) == [
        *(f"benign/benign ({number})" for number in (1, 10, 2)),
        *(f"{name}/{name} ({number})" for name in ("malignant", "normal") for number in (1, 2)),
    ]
    assert list(table["label"]) == ["benign"] * 3 + ["malignant"] * 2 + ["normal"] * 2
    assert table.loc[0, "image_path"] == str(root / "benign" / "benign (1).png")


def test_masks_go_to_their_image(root):
    masks, folder = masks_of(root), root / "benign"
    assert masks["benign/benign (1)"] == (str(folder / "benign (1)_mask.png"), str(folder / "benign (1)_mask_1.png"))
    assert masks["benign/benign (10)"] == ()
    assert masks["normal/normal (1)"] == (str(root / "normal" / "normal (1)_mask.png"),)
    write(root / "normal" / "normal (9)_mask.png", 40)
    assert list_busi(root).notes == (
        "lesion masks without an image: 1, for example of normal/normal (9); they are left out",
    )


def test_what_busi_does_not_know_is_unknown(root):
    table = load_busi(root).table
    assert table["age"].isna().all()
    assert table["density"].isna().all()
    assert set(table["patient_id"]) == set(table["view"]) == set(table["side"]) == {""}


def test_equal_images_share_a_group_named_after_the_first(root):
    groups = load_busi(root).table.set_index("sample_id")["group_id"]
    assert groups["benign/benign (10)"] == groups["benign/benign (1)"] == "benign/benign (1)"
    assert groups.nunique() == 6
    write(root / "malignant" / "malignant (3).png", 0)
    note = load_busi(root).notes[-1]
    assert "more than one label: 1, for example benign/benign (1), benign/benign (10), malignant/malignant (3)" in note


def test_a_root_of_another_layout_is_refused_with_what_it_holds(root):
    for name in ("malignant", "normal"):
        (root / name).rename(root / f"{name} of 2020")
    (root / "list.csv").write_text("x")
    with pytest.raises(DatasetError, match="without malignant, normal") as caught:
        load_busi(root)
    held = "it holds benign/, malignant of 2020/, normal of 2020/, files: 1 (.csv: 1, for example list.csv)"
    assert held in str(caught.value) and "--dataset folder" in str(caught.value)


def test_two_classes_are_enough_and_noted_and_empty_ones_are_refused(root):
    for path in (root / "normal").iterdir():
        path.rename(path.with_suffix(".webp"))
    with pytest.raises(DatasetError, match=r"none of normal; files passed over: 3 \(\.webp: 3, for example normal/"):
        load_dataset("busi", root)
    shutil.rmtree(root / "normal")
    dataset = load_dataset("busi", root)
    assert dataset.found_counts == {"benign": 3, "malignant": 2}
    assert "no folder of normal: the classes are benign, malignant alone" in dataset.notes
    for name in ("benign", "malignant"):
        shutil.rmtree(root / name)
        (root / name).mkdir()
    with pytest.raises(DatasetError, match="at least one image"):
        load_busi(root)


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


NAMES = ("benign (2) mask", "benign (2)-mask", "mask_benign (2)", "benign (2)mask", "benign (2)_MASK (2)")


@pytest.mark.parametrize("name", [*NAMES, "masks/benign (2)"])
def test_masks_are_known_by_their_other_names_too(root, name):
    path = write(root / "benign" / f"{name}.png", 40)
    write(root / "benign" / "benign (2)_masked_lesion_view.png", 41)  # the word alone makes no mask
    masks = masks_of(root)
    assert "benign/benign (2)_masked_lesion_view" in masks and len(masks) == 8
    assert masks["benign/benign (2)"] == (str(path),)


def test_what_is_passed_over_is_counted_by_kind_with_an_example(root):
    for name in ("benign/a.webp", "benign/b.WEBP", "benign/c.jfif", "benign/d.gif"):
        (root / name).write_text("x")
    for name in ("benign/more/benign (90).png", "cyst/cyst (1).png"):
        write(root / name, 1)
    expected = (
        "files passed over: 6 (.png: 2, for example benign/more/benign (90).png; .webp: 2, for example benign/a.webp; "
        ".gif: 1, for example benign/d.gif; .jfif: 1, for example benign/c.jfif)"
    )
    assert list_busi(root).notes == (expected,)


def test_an_unreadable_image_is_named_when_grouping_and_one_under_two_suffixes_is_listed_twice(root):
    (root / "normal" / "normal (2).png").write_text("text")
    with pytest.raises(UnreadableImageError, match=r"normal \(2\)\.png"):
        load_busi(root)
    assert len(list_busi(root).table) == 7
    write(root / "normal" / "normal (2).jpg", 50)
    with pytest.raises(DatasetError, match=r"sample_id='normal/normal \(2\)' more than once"):
        load_busi(root)


def test_the_real_folder(real_busi):
    assert real_busi.found_counts == {"benign": 437, "malignant": 210, "normal": 133}
    assert real_busi.table["lesion_masks"].map(len).sum() == 798
    groups = real_busi.table.set_index("sample_id")["group_id"]
    assert groups["benign/benign (433)"] == groups["malignant/malignant (145)"]
    assert groups["benign/benign (131)"] == groups["malignant/malignant (51)"]
    # 339 images have a near-twin, so 441 stand alone; single linkage must not chain the rest together.
    sizes = groups.value_counts()
    assert ((sizes == 1).sum(), len(sizes)) == (780 - 339, 591)
    assert sizes.max() <= 10
