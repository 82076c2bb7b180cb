"""Mini-DDSM's reader, on tiny folders in its layout and on the real one; what all readers do is in test_readers."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from made_up_datasets import make_mini_ddsm, mini_row, mini_rows
from made_up_images import write

from mmdc_tf.datasets.mini_ddsm import load_mini_ddsm, read_mini_ddsm_table
from mmdc_tf.errors import DatasetError

ZERO = "density 0, taken as unknown: 1, for example in row 3"
PATIENT = "Cancer/0029/C_0029_1"


@pytest.fixture
def root(tmp_path):
    return make_mini_ddsm(tmp_path / "data")


def test_facts_of_each_row(root):
    table = load_mini_ddsm(root).table.set_index("sample_id")
    assert list(table.index) == [
        "Benign/0029/C_0029_1.LEFT_CC",
        f"{PATIENT}.LEFT_CC",
        f"{PATIENT}.RIGHT_MLO",
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
    assert masks[f"{PATIENT}.LEFT_CC"] == tuple(str(root / f"{PATIENT}.LEFT_CC_{end}.jpg") for end in ("Mask", "MASK2"))
    assert masks["Normal/0007/C_0007_1.LEFT_CC"] == ()


def test_an_absent_mask_is_dropped_and_noted(root):
    (root / f"{PATIENT}.LEFT_CC_MASK2.jpg").unlink()
    dataset = load_mini_ddsm(root)
    assert len(dataset.table.set_index("sample_id").loc[f"{PATIENT}.LEFT_CC", "lesion_masks"]) == 1
    lost = f"lesion masks that the table names and that were not found: 1, for example {PATIENT}.LEFT_CC_MASK2.jpg"
    assert dataset.notes == (ZERO, lost)


def test_names_in_another_case_are_found(root):
    for old, new in {"_MASK2.jpg": "_Mask2.JPG", ".jpg": ".JPG"}.items():
        (root / f"{PATIENT}.LEFT_CC{old}").rename(root / f"{PATIENT}.LEFT_CC{new}")
    row = load_mini_ddsm(root).table.set_index("sample_id").loc[f"{PATIENT}.LEFT_CC"]
    assert row["image_path"].endswith("LEFT_CC.JPG")
    assert row["lesion_masks"][1].endswith("Mask2.JPG")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_and_decomposed_names_are_one(tmp_path, form):
    rows = [mini_row("Cancer", "0001"), mini_row("Benign", "0002")]
    root = make_mini_ddsm(tmp_path, rows)
    (root / "DataWMask.xlsx").unlink()
    row = mini_row("Normal", "0007", fullPath="Normal\\0007\\s\u00e9no.JPG")
    pd.DataFrame([*rows, row]).to_csv(root / "DataWMask.csv", index=False)
    image = write(root / "Normal" / "0007" / unicodedata.normalize(form, "S\u00e9no.jpg"), 1)
    assert load_mini_ddsm(root).table["image_path"].iloc[2] == str(image)


def test_absent_unlisted_and_other_files_are_counted_and_named(root):
    assert load_mini_ddsm(root).notes == (ZERO,)
    (root / "Benign/0029/C_0029_1.LEFT_CC.jpg").unlink()
    for name in ("Cancer/0031/C_0031_1.LEFT_CC.jpg", "Cancer/0029/Mask_C_0029_1.LEFT_CC.jpg"):
        write(root / name, 1)
    (root / "Cancer/0029/C-0029-1.ics").write_text("x")
    assert load_mini_ddsm(root).notes == (
        ZERO,
        f"the table lists 4 images, 1 was not found under {root}, for example Benign/0029/C_0029_1.LEFT_CC.jpg; "
        "going on with 3",
        "image files that no row of the table names: 1, for example Cancer/0031/C_0031_1.LEFT_CC.jpg",
        "files passed over: 2 (.ics: 1, for example Cancer/0029/C-0029-1.ics; .jpg: 1, for example "
        "Cancer/0029/Mask_C_0029_1.LEFT_CC.jpg)",
    )
    for path in root.rglob("*.jpg"):
        path.unlink()
    with pytest.raises(DatasetError, match="none of 4, for example"):
        load_mini_ddsm(root)


@pytest.mark.parametrize("name", ["DataWMask.csv", "my table.csv"])
def test_a_csv_reads_like_the_workbook(root, name):
    expected = load_mini_ddsm(root).table
    (root / "DataWMask.xlsx").unlink()
    pd.DataFrame(mini_rows()).to_csv(root / name, index=False)
    pd.testing.assert_frame_equal(load_mini_ddsm(root).table, expected)


def test_tables_that_cannot_be_used_are_refused(root):
    (root / "DataWMask.xlsx").write_text("fullPath")
    with pytest.raises(DatasetError, match=r"DataWMask\.xlsx without View"):
        load_mini_ddsm(root)
    (root / "DataWMask.xlsx").unlink()
    with pytest.raises(DatasetError, match="with no CSV file"):
        load_mini_ddsm(root)
    for name in ("a.csv", "b.csv"):
        pd.DataFrame(mini_rows()).drop(columns="Age").to_csv(root / name, index=False)
    with pytest.raises(DatasetError, match=r"with a\.csv, b\.csv"):
        load_mini_ddsm(root)
    (root / "b.csv").unlink()
    with pytest.raises(DatasetError, match=r"a\.csv without Age"):
        load_mini_ddsm(root)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (mini_row("Normal", "0007"), "more than once"),
        (mini_row("Normal", "0008", Density=5), "density='5' in row 6"),
        (mini_row("Normal", "0008", Age="old"), "'old'"),
        (mini_row("Unknown", "0008"), "label='unknown'"),
        (mini_row("Normal", "0008", Status="Benign"), "Status='Benign'"),
        (mini_row("Normal", "0008", View="AP"), "view='AP'"),
        (mini_row("Normal", "0008", fullPath="x.jpg"), "fullPath='x.jpg'"),
        (mini_row("Normal", "0008", fullPath="..\\Normal\\0008\\x.jpg"), "below the dataset's root"),
        (mini_row("Normal", "0008", Tumour_Contour="..\\..\\mask.jpg"), "below the dataset's root"),
    ],
)
def test_a_bad_row_is_named(tmp_path, bad, message):
    pd.DataFrame([*mini_rows(), bad]).to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DatasetError, match=r"table\.csv") as caught:
        read_mini_ddsm_table(tmp_path / "table.csv")
    assert message in str(caught.value)


def test_a_patient_is_one_group_and_an_image_one_however_rows_spell_them(tmp_path):
    second = mini_row("Benign", "0030", view="MLO")
    rows = [mini_row("Benign", "0030"), second]
    root = make_mini_ddsm(tmp_path, rows)
    (root / "DataWMask.xlsx").unlink()
    second["fullPath"] = second["fullPath"].replace("Benign", "benign").replace("\\", "/")
    pd.DataFrame(rows).to_csv(root / "DataWMask.csv", index=False)
    assert load_mini_ddsm(root).table["group_id"].tolist() == ["Benign/0030"] * 2
    rows.append({**rows[0], "fullPath": rows[0]["fullPath"].lower()})
    pd.DataFrame(rows).to_csv(root / "DataWMask.csv", index=False)
    with pytest.raises(DatasetError, match="more than once"):
        load_mini_ddsm(root)


def test_the_real_table(real_data):
    table, notes = read_mini_ddsm_table(real_data / "mini-ddsm" / "MINI-DDSM-Complete-JPEG-8" / "DataWMask.xlsx")
    assert len(table) == 7808
    assert table["label"].value_counts().to_dict() == {"cancer": 2716, "benign": 2684, "normal": 2408}
    assert table["patient_id"].nunique() == 1952
    assert set(table.groupby("patient_id").size()) == {4}
    assert (table["age"].isna().sum(), table["density"].isna().sum()) == (12, 4)
    assert [note[:34] for note in notes] == ["density 0, taken as unknown: 4, fo"]


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
