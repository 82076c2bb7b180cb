"""Mini-DDSM's reader, on tiny folders in its layout and on the real one."""

from __future__ import annotations

import dataclasses
import unicodedata

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.catalogue import load_table_alone
from mmdc_tf.datasets.mini_ddsm import MINI_DDSM, list_mini_ddsm, load_mini_ddsm, read_mini_ddsm_table
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError

ZERO = "density 0, taken as unknown: 1, for example in row 3"


def a_row(status, number, side="LEFT", view="CC", **changes):
    name = f"C_{number}_1.{side}_{view}.jpg"
    row = {
        "fullPath": f"{status}\\{number}\\{name}",
        "fileName": name,
        "View": view,
        "Side": side,
        "Status": status,
        "Tumour_Contour": "-",
        "Tumour_Contour2": "-",
        "Age": 60.0,
        "Density": 2,
    }
    return {**row, **changes}


def rows():
    return [
        a_row(
            "Cancer",
            "0029",
            Tumour_Contour="Cancer\\0029\\C_0029_1.LEFT_CC_Mask.jpg",
            Tumour_Contour2="Cancer\\0029\\C_0029_1.LEFT_CC_MASK2.jpg",
        ),
        a_row("Cancer", "0029", side="RIGHT", view="MLO", Density=0),
        a_row("Benign", "0029", Age=None, Density=4),
        a_row("Normal", "0007"),
    ]


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((8, 8), np.uint8))


def write_images(root, table):
    for path in table["fullPath"]:
        write(root / path.replace("\\", "/"))


@pytest.fixture
def root(tmp_path):
    table = pd.DataFrame(rows())
    table.to_excel(tmp_path / "DataWMask.xlsx", index=False)
    write_images(tmp_path, table)
    write(tmp_path / "Cancer/0029/C_0029_1.LEFT_CC_Mask.jpg")
    write(tmp_path / "Cancer/0029/C_0029_1.LEFT_CC_MASK2.jpg")
    return tmp_path


def csv_root(folder, table):
    table = pd.DataFrame(table)
    table.to_csv(folder / "DataWMask.csv", index=False)
    if "fullPath" in table:
        write_images(folder, table)
    return folder


def test_facts_of_each_row(root):
    table = load_mini_ddsm(root).table.set_index("sample_id")
    assert list(table.index) == [
        "Benign/0029/C_0029_1.LEFT_CC",
        "Cancer/0029/C_0029_1.LEFT_CC",
        "Cancer/0029/C_0029_1.RIGHT_MLO",
        "Normal/0007/C_0007_1.LEFT_CC",
    ]
    assert list(table["label"]) == ["benign", "cancer", "cancer", "normal"]
    assert list(table["patient_id"]) == ["Benign/0029", "Cancer/0029", "Cancer/0029", "Normal/0007"]
    assert list(table["group_id"]) == list(table["patient_id"])
    np.testing.assert_array_equal(table["age"], [np.nan, 60, 60, 60])
    np.testing.assert_array_equal(table["density"], [4, 2, np.nan, 2])
    assert list(table["view"]) == ["CC", "CC", "MLO", "CC"]
    assert list(table["side"]) == ["LEFT", "LEFT", "RIGHT", "LEFT"]
    assert table["image_path"].iloc[0] == str(root / "Benign/0029/C_0029_1.LEFT_CC.jpg")


def test_both_masks_are_found(root):
    masks = load_mini_ddsm(root).table.set_index("sample_id")["lesion_masks"]
    folder = root / "Cancer/0029"
    assert masks["Cancer/0029/C_0029_1.LEFT_CC"] == (
        str(folder / "C_0029_1.LEFT_CC_Mask.jpg"),
        str(folder / "C_0029_1.LEFT_CC_MASK2.jpg"),
    )
    assert masks["Normal/0007/C_0007_1.LEFT_CC"] == ()


def test_an_absent_mask_is_dropped_and_noted(root):
    (root / "Cancer/0029/C_0029_1.LEFT_CC_MASK2.jpg").unlink()
    dataset = load_mini_ddsm(root)
    assert len(dataset.table.set_index("sample_id").loc["Cancer/0029/C_0029_1.LEFT_CC", "lesion_masks"]) == 1
    assert any("not found: 1, for example Cancer/0029/C_0029_1.LEFT_CC_MASK2.jpg" in note for note in dataset.notes)


def test_names_in_another_case_are_found(root):
    folder = root / "Cancer/0029"
    (folder / "C_0029_1.LEFT_CC_MASK2.jpg").rename(folder / "C_0029_1.LEFT_CC_Mask2.JPG")
    (folder / "C_0029_1.LEFT_CC.jpg").rename(folder / "C_0029_1.LEFT_CC.JPG")
    row = load_mini_ddsm(root).table.set_index("sample_id").loc["Cancer/0029/C_0029_1.LEFT_CC"]
    assert row["image_path"].endswith("LEFT_CC.JPG")
    assert row["lesion_masks"][1].endswith("Mask2.JPG")


def test_files_that_are_not_read_are_named_by_kind(root):
    assert load_mini_ddsm(root).notes == (ZERO,)
    write(root / "Cancer/0029/Mask_C_0029_1.LEFT_CC.jpg")
    (root / "Cancer/0029/C-0029-1.ics").write_text("x")
    kinds = ".ics: 1, for example Cancer/0029/C-0029-1.ics; .jpg: 1, for example Cancer/0029/Mask_C_0029_1.LEFT_CC.jpg"
    assert load_mini_ddsm(root).notes == (ZERO, f"files passed over: 2 ({kinds})")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_names_are_one(tmp_path, form):
    row = a_row("Normal", "0007", fullPath="Normal\\0007\\s\u00e9no.JPG")
    csv = pd.DataFrame([a_row("Cancer", "0001"), a_row("Benign", "0002"), row]).to_csv(index=False)
    (tmp_path / "DataWMask.csv").write_text(csv)
    write_images(tmp_path, pd.DataFrame([a_row("Cancer", "0001"), a_row("Benign", "0002")]))
    image = tmp_path / "Normal" / "0007" / unicodedata.normalize(form, "S\u00e9no.jpg")
    write(image)
    assert load_mini_ddsm(tmp_path).table["image_path"].iloc[2] == str(image)


def test_an_image_that_no_row_names_is_noted(root):
    write(root / "Cancer/0031/C_0031_1.LEFT_CC.jpg")
    dataset = load_mini_ddsm(root)
    assert len(dataset.table) == 4
    assert any("no row of the table names: 1, for example Cancer/0031/C_0031_1.LEFT_CC.jpg" in n for n in dataset.notes)


def test_absent_images_are_counted_and_named(root):
    (root / "Benign/0029/C_0029_1.LEFT_CC.jpg").unlink()
    dataset = load_mini_ddsm(root)
    assert len(dataset.table) == 3
    assert dataset.notes == (
        ZERO,
        f"the table lists 4 images, 1 was not found under {root}, "
        "for example Benign/0029/C_0029_1.LEFT_CC.jpg; going on with 3",
    )


def test_no_image_at_all_is_refused(tmp_path):
    pd.DataFrame(rows()).to_excel(tmp_path / "DataWMask.xlsx", index=False)
    with pytest.raises(DatasetError, match="none of 4, for example"):
        load_mini_ddsm(tmp_path)


@pytest.mark.parametrize("name", ["DataWMask.csv", "my table.csv"])
def test_a_csv_reads_like_the_workbook(root, name):
    expected = load_mini_ddsm(root).table
    (root / "DataWMask.xlsx").unlink()
    pd.DataFrame(rows()).to_csv(root / name, index=False)
    pd.testing.assert_frame_equal(load_mini_ddsm(root).table, expected)


def test_the_folder_around_is_accepted(root):
    around = root.parent / "around"
    around.mkdir()
    inner = root.rename(around / "MINI-DDSM-Complete-JPEG-8")
    assert load_mini_ddsm(around).root == inner


def test_no_table_and_two_tables_are_refused(root):
    (root / "DataWMask.xlsx").unlink()
    with pytest.raises(DatasetError, match="with no CSV file"):
        load_mini_ddsm(root)
    for name in ("a.csv", "b.csv"):
        (root / name).write_text("x")
    with pytest.raises(DatasetError, match=r"with a\.csv, b\.csv"):
        load_mini_ddsm(root)


def test_a_text_file_named_xlsx_is_refused(root):
    (root / "DataWMask.xlsx").write_text("fullPath")
    with pytest.raises(DatasetError, match=r"DataWMask\.xlsx without View"):
        load_mini_ddsm(root)


def test_a_missing_column_is_named(tmp_path):
    table = pd.DataFrame(rows())
    csv_root(tmp_path, table)
    table.drop(columns="Age").to_csv(tmp_path / "DataWMask.csv", index=False)
    with pytest.raises(DatasetError, match=r"DataWMask\.csv without Age"):
        load_mini_ddsm(tmp_path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (a_row("Normal", "0007"), "more than once"),
        (a_row("Normal", "0008", Density=5), "density='5' in row 6"),
        (a_row("Normal", "0008", Age="old"), "'old'"),
        (a_row("Unknown", "0008"), "label='unknown'"),
        (a_row("Normal", "0008", Status="Benign"), "Status='Benign'"),
        (a_row("Normal", "0008", View="AP"), "view='AP'"),
        (a_row("Normal", "0008", fullPath="x.jpg"), "fullPath='x.jpg'"),
        (a_row("Normal", "0008", fullPath="..\\Normal\\0008\\x.jpg"), "below the dataset's root"),
        (a_row("Normal", "0008", fullPath="\\Normal\\0008\\x.jpg"), "below the dataset's root"),
        (a_row("Normal", "0008", fullPath="C:\\Normal\\0008\\x.jpg"), "below the dataset's root"),
        (a_row("Normal", "0008", Tumour_Contour="..\\..\\mask.jpg"), "below the dataset's root"),
    ],
)
def test_a_bad_row_is_named(tmp_path, bad, message):
    pd.DataFrame([*rows(), bad]).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DatasetError, match=r"table\.csv") as caught:
        read_mini_ddsm_table(tmp_path / "table.csv")
    assert message in str(caught.value)


def test_rows_that_differ_in_case_only_are_one_image_listed_twice(tmp_path):
    table = [*rows(), a_row("Normal", "0007", fullPath="Normal\\0007\\c_0007_1.left_cc.jpg")]
    pd.DataFrame(table).to_csv(tmp_path / "DataWMask.csv", index=False)
    write_images(tmp_path, pd.DataFrame(rows()))
    with pytest.raises(DatasetError, match="more than once"):
        load_mini_ddsm(tmp_path)


def test_missing_and_empty_roots_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        load_mini_ddsm(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="an empty folder"):
        load_mini_ddsm(tmp_path)


def test_the_table_alone_needs_no_image(tmp_path):
    pd.DataFrame(rows()).to_csv(tmp_path / "table.csv", index=False)
    table = read_mini_ddsm_table(tmp_path / "table.csv")
    assert table.loc[1, "image_path"] == "Cancer/0029/C_0029_1.LEFT_CC.jpg"
    assert table.loc[1, "lesion_masks"] == (
        "Cancer/0029/C_0029_1.LEFT_CC_Mask.jpg",
        "Cancer/0029/C_0029_1.LEFT_CC_MASK2.jpg",
    )


def test_info_is_honoured(root):
    info = dataclasses.replace(MINI_DDSM, name="phantom", class_names=("normal", "cancer", "benign"), synthetic=True)
    dataset = load_mini_ddsm(root, info)
    assert dataset.info is info
    assert list(dataset.found_counts.items()) == [("normal", 1), ("cancer", 2), ("benign", 1)]
    with pytest.raises(DatasetError, match="label='benign'"):
        load_mini_ddsm(root, dataclasses.replace(info, class_names=("normal", "cancer")))


def test_the_real_table(real_data):
    table = read_mini_ddsm_table(real_data / "mini-ddsm" / "MINI-DDSM-Complete-JPEG-8" / "DataWMask.xlsx")
    assert len(table) == 7808
    assert table["label"].value_counts().to_dict() == {"cancer": 2716, "benign": 2684, "normal": 2408}
    assert table["patient_id"].nunique() == 1952
    assert set(table.groupby("patient_id").size()) == {4}
    assert table["age"].isna().sum() == 12
    assert table["density"].isna().sum() == 4


def test_the_real_folder(real_data):
    dataset = load_mini_ddsm(real_data / "mini-ddsm" / "MINI-DDSM-Complete-JPEG-8")
    assert len(dataset.table) == 72
    assert dataset.table.groupby("label")["patient_id"].nunique().to_dict() == {"benign": 8, "cancer": 5, "normal": 5}
    # 31 files have "mask" in their name, one of which no table names.
    assert dataset.table["lesion_masks"].map(len).sum() == 30
    zeros, absent, passed = dataset.notes
    assert zeros.startswith("density 0, taken as unknown: 4, ")
    assert absent.startswith("the table lists 7,808 images, 7,736 were not found under ")
    assert absent.endswith("going on with 72")
    assert passed.startswith("files passed over: 32 (.overlay: 20, for example ") and "; .ics: 9, " in passed


def test_the_table_alone_keeps_every_line(root):
    """No image need exist, and the fingerprint is that of the table."""
    whole = load_mini_ddsm(root)
    with_images = whole.fingerprint
    for image in root.rglob("*.jpg"):
        image.unlink()
    alone = list_mini_ddsm(root)
    assert alone.table["sample_id"].tolist() == whole.table["sample_id"].tolist()
    assert alone.table[["label", "age", "density", "group_id"]].equals(
        whole.table[["label", "age", "density", "group_id"]]
    )
    assert not alone.has_images
    assert alone.fingerprint != with_images
    assert any("no image is read" in note for note in alone.notes)


def test_only_a_dataset_with_such_a_table_can_be_used_without_images(root):
    assert load_table_alone("mini-ddsm", root).found_counts == {"benign": 1, "cancer": 2, "normal": 1}
    with pytest.raises(ConfigurationError, match=r"used alone: mini-ddsm\. Received: dataset='busi'"):
        load_table_alone("busi", root)


def test_a_patient_is_one_group_however_her_rows_spell_the_folder(tmp_path):
    table = [a_row("Benign", "0030"), a_row("Benign", "0030", view="MLO")]
    table[1]["fullPath"] = table[1]["fullPath"].replace("Benign", "benign").replace("\\", "/")
    write_images(tmp_path, pd.DataFrame([table[0], {**table[1], "fullPath": f"Benign/0030/{table[1]['fileName']}"}]))
    pd.DataFrame(table).to_csv(tmp_path / "DataWMask.csv", index=False)
    assert load_mini_ddsm(tmp_path).table["group_id"].tolist() == ["Benign/0030"] * 2
