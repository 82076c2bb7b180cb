"""BUSI's reader, on tiny folders in its layout and on the real one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mmdc_tf.datasets.busi import BUSI, list_busi, load_busi
from mmdc_tf.errors import DatasetError, UnreadableImageError
from mmdc_tf.opencv import cv2


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


def test_a_root_of_another_layout_is_refused(root):
    (root / "normal").rename(root / "elsewhere")
    with pytest.raises(DatasetError, match="without normal"):
        load_busi(root)


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
