"""A user's own folder with samples.csv; what all readers do is in test_readers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_datasets import FOLDER_ROWS, make_folder

from mmdc_tf.datasets.folder import load_folder
from mmdc_tf.errors import ConfigurationError, DatasetError


def test_every_column_is_read(tmp_path):
    dataset = load_folder(make_folder(tmp_path))
    table = dataset.table
    assert list(table["sample_id"]) == ["s1", "s2", "s3"]
    assert list(table["image_path"]) == [str(tmp_path / "img" / f"{n}.png") for n in (1, 2, 3)]
    assert list(table["patient_id"]) == ["007", "008", "007"]
    assert list(table["group_id"]) == ["g1", "g2", "g1"]
    np.testing.assert_array_equal(table["age"], [44, np.nan, np.nan])
    np.testing.assert_array_equal(table["density"], [1, 4, np.nan])
    assert list(table["view"]) == ["CC", "MLO", ""]
    assert list(table["side"]) == ["LEFT", "RIGHT", ""]
    assert table.loc[0, "lesion_masks"] == (str(tmp_path / "img/m1.png"), str(tmp_path / "img/m2.png"))
    assert table.loc[2, "lesion_masks"] == ()
    assert dataset.notes == ()


def test_optional_columns_may_be_missing(tmp_path):
    names = ("group_id", "age", "density", "view", "side", "lesion_masks")
    dataset = load_folder(make_folder(tmp_path, **dict.fromkeys(names)))
    assert list(dataset.table["group_id"]) == ["007", "008", "007"]
    assert dataset.info.group_unit == "patient"
    assert dataset.notes[:2] == tuple(f"{name} is not known for any row of samples.csv" for name in ("age", "density"))
    assert set(dataset.table["view"]) == {""}
    dataset = load_folder(make_folder(tmp_path, patient_id=None))
    assert (dataset.info.group_unit, set(dataset.table["patient_id"])) == ("group", {""})


def test_class_order_and_modality(tmp_path):
    folder = make_folder(tmp_path)
    info = load_folder(folder).info
    assert (info.class_names, info.modality) == (("sick", "well"), "mammography")
    info = load_folder(folder, class_names=["well", "sick"], modality="ultrasound").info
    assert (info.class_names, info.modality) == (("well", "sick"), "ultrasound")
    with pytest.raises(DatasetError, match="label='well'"):
        load_folder(folder, class_names=["ill", "sick"])
    with pytest.raises(ConfigurationError, match="modality='x-ray'"):
        load_folder(folder, modality="x-ray")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(({column: None}, f"samples.csv without {column};") for column in ("sample_id", "image_path", "label")),
        ({"group_id": None, "patient_id": None}, "neither for 3 of 3 rows"),
        ({"group_id": None, "patient_id": ["007", "008", ""]}, "neither for 1 of 3 rows, for example sample_id='s3'"),
        ({"group_id": ["g1", "g2", "g3"]}, "patient_id='007' in 2 groups"),
        ({"group_id": ["g1", "g2", ""]}, "patient_id='007' in 2 groups"),
        ({"sample_id": ["s1", "s1", "s3"]}, "sample_id='s1' more than once"),
        ({"image_path": ["img/1.png", "./img/1.png", "img/3.png"]}, "image_path='img/1.png' more than once"),
        ({"image_path": ["img/1.png", "", "img/3.png"]}, "an empty cell in row 3"),
        ({"label": ["sick", "", "sick"]}, "label=''"),
        ({"label": ["benign", "n/a", "malignant"]}, "Received: label='' for 's2'"),
        ({"label": ["sick", "sick", "sick"]}, "at least two classes"),
        ({"age": ["44", "x", ""]}, "'x'"),
        ({"age": ["44", "130", ""]}, "age='130' in row 3"),
        ({"density": ["0", "1", "2"]}, "density='0' in row 2"),
        ({"side": ["up", "LEFT", ""]}, "side='UP'"),
    ],
)
def test_a_bad_value_is_named(tmp_path, changes, message):
    with pytest.raises(DatasetError, match=r"samples\.csv") as caught:
        load_folder(make_folder(tmp_path, **changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_programs_save_them(tmp_path, separator, encoding):
    """Another separator, encoding, case of the columns and decimal sign; blank lines; a column that nobody reads."""
    expected = load_folder(make_folder(tmp_path)).table
    rows = pd.DataFrame(FOLDER_ROWS).rename(columns=lambda name: f" {name.replace('_', ' ').title()} ")
    rows = rows.assign(BMI="22", **{" Age ": ["44,0", "", "n/a"], " Density ": ["A", "BI-RADS 4", ""]})
    text = "\n" + rows.to_csv(index=False, sep=separator) + separator * 10 + "\n"
    (tmp_path / "samples.csv").write_bytes(text.encode(encoding))
    dataset = load_folder(tmp_path)
    pd.testing.assert_frame_equal(dataset.table, expected)
    assert dataset.notes == ("columns of the table that are not used: 'BMI'",)


def test_a_workbook_in_place_of_the_csv_is_read_by_whatever_name(tmp_path):
    expected = load_folder(make_folder(tmp_path)).table
    pd.DataFrame(FOLDER_ROWS).to_excel(tmp_path / "Samples.xlsx", index=False)
    kinds = ".xlsx: 1, for example Samples.xlsx"
    assert load_folder(tmp_path).notes == (f"files passed over: 1 ({kinds})",)
    (tmp_path / "samples.csv").unlink()
    pd.testing.assert_frame_equal(load_folder(tmp_path).table, expected)
    (tmp_path / "Samples.xlsx").rename(tmp_path / "samples.csv")
    pd.testing.assert_frame_equal(load_folder(tmp_path).table, expected)
    (tmp_path / "samples.csv").write_text("")
    with pytest.raises(DatasetError, match=r"samples\.csv \(an empty file\)"):
        load_folder(tmp_path)


def test_labels_of_several_spellings_are_one_class(tmp_path):
    dataset = load_folder(make_folder(tmp_path, label=["Malignant", "benign", "MALIGNANT"]))
    assert dataset.found_counts == {"benign": 1, "malignant": 2}
    assert dataset.notes == (
        "labels that differ in case or spaces only are one class: 'MALIGNANT', 'Malignant' as 'malignant'",
    )


def test_paths_in_another_case_and_composition_are_found_and_absent_images_named(tmp_path):
    make_folder(tmp_path, image_path=["IMG\\1.PNG", "img/2.png", "Img/\u00e9.png"])
    image = (tmp_path / "img" / "3.png").rename(tmp_path / "img" / "e\u0301.png")
    assert list(load_folder(tmp_path).table["image_path"]) == [
        str(tmp_path / "img" / n) for n in ("1.png", "2.png", image.name)
    ]
    image.unlink()
    dataset = load_folder(tmp_path)
    assert list(dataset.table["sample_id"]) == ["s1", "s2"]
    assert dataset.notes == (
        f"the table lists 3 images, 1 was not found under {tmp_path}, for example Img/\u00e9.png; going on with 2",
    )
