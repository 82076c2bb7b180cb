"""A user's own folder with samples.csv."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.folder import load_folder
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError


def full_rows():
    return {
        "sample_id": ["s1", "s2", "s3"],
        "image_path": ["img/1.png", "img\\2.png", "img/3.png"],
        "label": ["sick", "well", "sick"],
        "patient_id": ["007", "008", "007"],
        "group_id": ["g1", "g2", "g1"],
        "age": ["44", "", "n/a"],
        "density": ["1", "4", ""],
        "view": ["cc", "MLO", ""],
        "side": ["left", "RIGHT", ""],
        "lesion_masks": ["img/m1.png; img/m2.png", "", "-"],
    }


def make(folder, **changes):
    """Writes samples.csv; a column changed to None is left out."""
    columns = {name: values for name, values in {**full_rows(), **changes}.items() if values is not None}
    pd.DataFrame(columns).to_csv(folder / "samples.csv", index=False)
    (folder / "img").mkdir()
    for name in ("1", "2", "3", "m1", "m2"):
        assert cv2.imwrite(str(folder / "img" / f"{name}.png"), np.zeros((8, 8), np.uint8))
    return folder


def test_every_column_is_read(tmp_path):
    table = load_folder(make(tmp_path)).table
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


def test_optional_columns_may_be_missing(tmp_path):
    names = ("group_id", "age", "density", "view", "side", "lesion_masks")
    dataset = load_folder(make(tmp_path, **dict.fromkeys(names)))
    assert list(dataset.table["group_id"]) == ["007", "008", "007"]
    assert dataset.info.group_unit == "patient"
    assert dataset.table["age"].isna().all()
    assert dataset.notes[:2] == tuple(f"{name} is not known for any row of samples.csv" for name in ("age", "density"))
    assert set(dataset.table["view"]) == {""}


def test_group_alone_is_enough(tmp_path):
    dataset = load_folder(make(tmp_path, patient_id=None))
    assert dataset.info.group_unit == "group"
    assert set(dataset.table["patient_id"]) == {""}


def test_neither_group_nor_patient_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"neither for 3 of 3 rows.*leak-free"):
        load_folder(make(tmp_path, group_id=None, patient_id=None))


def test_a_single_row_without_either_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="neither for 1 of 3 rows, for example sample_id='s3'"):
        load_folder(make(tmp_path, group_id=None, patient_id=["007", "008", ""]))


@pytest.mark.parametrize("groups", [["g1", "g2", "g3"], ["g1", "g2", ""]])
def test_a_patient_in_two_groups_is_refused(tmp_path, groups):
    with pytest.raises(DatasetError, match="patient_id='007' in 2 groups"):
        load_folder(make(tmp_path, group_id=groups))


def test_class_order_is_alphabetical_or_as_given(tmp_path):
    folder = make(tmp_path)
    assert load_folder(folder).info.class_names == ("sick", "well")
    assert load_folder(folder, class_names=["well", "sick"]).info.class_names == ("well", "sick")
    with pytest.raises(DatasetError, match="label='well'"):
        load_folder(folder, class_names=["ill", "sick"])


def test_modality_goes_into_the_facts(tmp_path):
    folder = make(tmp_path)
    assert load_folder(folder).info.modality == "mammography"
    assert load_folder(folder, modality="ultrasound").info.modality == "ultrasound"
    with pytest.raises(ConfigurationError, match="modality='x-ray'"):
        load_folder(folder, modality="x-ray")


@pytest.mark.parametrize("column", ["sample_id", "image_path", "label"])
def test_a_needed_column_is_named(tmp_path, column):
    with pytest.raises(DatasetError, match=rf"samples\.csv without {column};"):
        load_folder(make(tmp_path, **{column: None}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_id": ["s1", "s1", "s3"]}, "sample_id='s1' more than once"),
        ({"image_path": ["img/1.png", "img/1.png", "img/3.png"]}, "image_path='img/1.png' more than once"),
        ({"image_path": ["img/1.png", "./img/1.png", "img/3.png"]}, "more than once"),
        ({"image_path": ["img/1.png", "../2.png", "img/3.png"]}, "below the dataset's root"),
        ({"image_path": ["img/1.png", "/img/2.png", "img/3.png"]}, "below the dataset's root"),
        ({"image_path": ["img/1.png", "", "img/3.png"]}, "column 'image_path'"),
        ({"lesion_masks": ["img/m1.png;../m2.png", "", ""]}, "below the dataset's root"),
        ({"label": ["sick", "", "sick"]}, "label=''"),
        ({"label": ["sick", "sick", "sick"]}, "at least two classes"),
        ({"age": ["44", "x", ""]}, "'x'"),
        ({"age": ["44", "130", ""]}, "age='130' in row 3"),
        ({"density": ["0", "1", "2"]}, "density='0' in row 2"),
        ({"side": ["up", "LEFT", ""]}, "side='UP'"),
    ],
)
def test_a_bad_value_is_named(tmp_path, changes, message):
    with pytest.raises(DatasetError, match=r"samples\.csv") as caught:
        load_folder(make(tmp_path, **changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_programs_save_them(tmp_path, separator, encoding):
    """Another separator, encoding, case of the columns and decimal sign; blank lines; a column that nobody reads."""
    expected = load_folder(make(tmp_path)).table
    rows = pd.DataFrame(full_rows()).rename(columns=lambda name: f" {name.replace('_', ' ').title()} ")
    rows = rows.assign(BMI="22", **{" Age ": ["44,0", "", "n/a"], " Density ": ["A", "BI-RADS 4", ""]})
    text = "\n" + rows.to_csv(index=False, sep=separator) + separator * 10 + "\n"
    (tmp_path / "samples.csv").write_bytes(text.encode(encoding))
    dataset = load_folder(tmp_path)
    pd.testing.assert_frame_equal(dataset.table, expected)
    assert dataset.notes == ("columns of the table that are not used: 'BMI'",)


def test_a_workbook_in_place_of_the_csv_is_read_by_whatever_name(tmp_path):
    expected = load_folder(make(tmp_path)).table
    pd.DataFrame(full_rows()).to_excel(tmp_path / "Samples.xlsx", index=False)
    (tmp_path / "samples.csv").unlink()
    pd.testing.assert_frame_equal(load_folder(tmp_path).table, expected)
    (tmp_path / "Samples.xlsx").rename(tmp_path / "samples.csv")
    pd.testing.assert_frame_equal(load_folder(tmp_path).table, expected)


def test_an_unused_table_and_other_files_are_named(tmp_path):
    make(tmp_path)
    for name in ("samples.xlsx", "img/4.webp"):
        (tmp_path / name).write_text("x")
    kinds = ".webp: 1, for example img/4.webp; .xlsx: 1, for example samples.xlsx"
    assert load_folder(tmp_path).notes == (f"files passed over: 2 ({kinds})",)


def test_labels_of_several_spellings_are_one_class(tmp_path):
    dataset = load_folder(make(tmp_path, label=["Malignant", "benign", "MALIGNANT"]))
    assert dataset.found_counts == {"benign": 1, "malignant": 2}
    assert dataset.notes == (
        "labels that differ in case or spaces only are one class: 'MALIGNANT', 'Malignant' as 'malignant'",
    )


def test_paths_in_another_case_and_composition_are_found(tmp_path):
    make(tmp_path, image_path=["IMG\\1.PNG", "img/2.png", "Img/\u00e9.png"])
    image = (tmp_path / "img" / "3.png").rename(tmp_path / "img" / "e\u0301.png")
    assert list(load_folder(tmp_path).table["image_path"]) == [
        str(tmp_path / "img" / n) for n in ("1.png", "2.png", image.name)
    ]


def test_an_empty_cell_is_named_by_its_row_in_the_file(tmp_path):
    with pytest.raises(DatasetError, match="empty cell in row 3"):
        load_folder(make(tmp_path, image_path=["img/1.png", "", "img/3.png"]))


def test_a_label_that_says_unknown_is_no_class(tmp_path):
    with pytest.raises(DatasetError, match="Received: label='' for 's2'"):
        load_folder(make(tmp_path, label=["benign", "n/a", "malignant"]))


def test_absent_images_are_counted_and_named(tmp_path):
    folder = make(tmp_path)
    (folder / "img/3.png").unlink()
    dataset = load_folder(folder)
    assert list(dataset.table["sample_id"]) == ["s1", "s2"]
    assert dataset.notes == (
        f"the table lists 3 images, 1 was not found under {folder}, for example img/3.png; going on with 2",
    )


def test_no_image_at_all_is_refused(tmp_path):
    folder = make(tmp_path)
    for path in (folder / "img").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="none of 3"):
        load_folder(folder)


def test_missing_empty_and_tableless_roots_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="an empty folder"):
        load_folder(tmp_path)
    (tmp_path / "img").mkdir()
    with pytest.raises(DatasetError, match=r"Expected samples\.csv or samples\.xlsx\..*it holds img/"):
        load_folder(tmp_path)


def test_an_empty_csv_is_refused(tmp_path):
    (tmp_path / "samples.csv").touch()
    with pytest.raises(DatasetError, match=r"samples\.csv \(an empty file\)"):
        load_folder(tmp_path)
