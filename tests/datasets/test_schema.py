"""The sample table's rules."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.busi import BUSI
from mmdc_tf.datasets.schema import COLUMNS, Dataset, check_sample_table
from mmdc_tf.errors import DatasetError

CLASSES = ("benign", "cancer")


def a_table(**changes):
    columns = {
        "sample_id": ["b", "a"],
        "image_path": ["b.png", "a.png"],
        "label": ["benign", "cancer"],
        "patient_id": ["2", None],
        "group_id": ["g2", "g1"],
        "age": ["61", None],
        "density": [4, np.nan],
        "view": ["CC", ""],
        "side": ["LEFT", ""],
        "lesion_masks": [("m.png",), ()],
    }
    return pd.DataFrame({**columns, **changes})


def test_a_good_table_is_ordered_and_typed():
    table = check_sample_table(a_table(extra=[1, 2]), CLASSES, "here")
    assert tuple(table.columns) == COLUMNS
    assert list(table["sample_id"]) == ["a", "b"]
    assert table["age"].dtype == np.float64
    assert table["density"].dtype == np.float64
    assert table.loc[1, "age"] == 61
    assert np.isnan(table.loc[0, "age"])
    assert table.loc[0, "patient_id"] == ""
    assert table.loc[1, "lesion_masks"] == ("m.png",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample_id": ["a", "a"]}, "sample_id='a' more than once"),
        ({"image_path": ["a.png", "a.png"]}, "image_path='a.png' more than once"),
        ({"label": ["benign", "Cancer"]}, "label='Cancer' for 'a'"),
        ({"view": ["CC", "XX"]}, "view='XX'"),
        ({"side": ["LEFT", "left"]}, "side='left'"),
        ({"group_id": ["g", " "]}, "column 'group_id'"),
        ({"image_path": ["b.png", ""]}, "column 'image_path'"),
        ({"age": ["61", "old"]}, "'old'"),
        ({"age": [61, 121]}, "age=121 for 'a'"),
        ({"age": [61, -1]}, "age=-1"),
        ({"age": [61, float("inf")]}, "age=inf"),
        ({"density": [4, 0]}, "density=0 for 'a'"),
        ({"density": [4, 5]}, "density=5"),
    ],
)
def test_a_wrong_value_is_named_with_the_source(changes, message):
    with pytest.raises(DatasetError, match="here") as caught:
        check_sample_table(a_table(**changes), CLASSES, "here")
    assert message in str(caught.value)
    assert "Received: " in str(caught.value)


def test_missing_columns_and_an_empty_table_are_refused():
    with pytest.raises(DatasetError, match="here without group_id, density"):
        check_sample_table(a_table().drop(columns=["density", "group_id"]), CLASSES, "here")
    with pytest.raises(DatasetError, match="at least one image"):
        check_sample_table(a_table().iloc[:0], CLASSES, "here")


@pytest.fixture
def dataset(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"12")
    table = a_table(image_path=[str(tmp_path / "b.png"), str(tmp_path / "a.png")])
    info = dataclasses.replace(BUSI, class_names=(*CLASSES, "normal"))
    return Dataset(info, check_sample_table(table, CLASSES, "here"), tmp_path)


def test_found_counts_follow_the_class_order_and_name_empty_classes(dataset):
    assert list(dataset.found_counts.items()) == [("benign", 1), ("cancer", 1), ("normal", 0)]


def test_fingerprint_sees_facts_and_content(dataset):
    first = dataset.fingerprint
    assert first == dataset.fingerprint
    older = dataclasses.replace(dataset, table=dataset.table.assign(age=50.0))
    assert older.fingerprint != first
    image = dataset.root / "a.png"
    image.write_bytes(bytes(255 - value for value in image.read_bytes()))  # another content of the same size
    assert dataclasses.replace(dataset).fingerprint != first
