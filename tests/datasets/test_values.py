"""Ages, densities, labels and the positive class as people write them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mmdc_tf.datasets.busi import BUSI
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.values import number_column, one_spelling, positive_class, read_number, with_positive_class
from mmdc_tf.errors import ConfigurationError, DatasetError, InputError

ACCEPTED = {
    "age": {
        45: ["45", "45Y", "045Y", "045", "45 years", "45 Years", "45 yrs", "45y", "45.0", "45,0", "45 years old"],
        45.5: ["45.5", "45,5"],
        120: ["120", "120Y"],
    },
    "density": {
        1: ["1", "a", "A", "ACR a", "1.0"],
        2: ["2", "b", "B", "BI-RADS 2", "BIRADS 2", "bi-rads: b", "DENSITY B", "density_b", "2.0", "2,0"],
        3: ["3", "C", "ACR 3"],
        4: ["4", "d", "Density D", "Breast density D"],
    },
}
REFUSED = {
    "age": ["old", "-1", "121", "999Y", "40-49", ">89", "540M", "1e2", "inf", "4 5", "Y"],
    "density": ["0", "5", "2.5", "2,5", "e", "1-2", "AB", "BI-RADS", "dense", "22"],
}


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        (name, text, number)
        for name, by_number in ACCEPTED.items()
        for number, some in by_number.items()
        for text in some
    ],
)
def test_what_people_write_is_read(name: str, text: str, number: float):
    assert read_number(name, text) == number


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in REFUSED.items() for text in texts])
def test_anything_else_is_refused_with_its_row_and_the_accepted_forms(name: str, text: str):
    with pytest.raises(InputError, match="written as"):
        read_number(name, text)
    cells = pd.Series(["3", "", text, text], index=[2, 3, 5, 6])
    with pytest.raises(DatasetError) as caught:
        number_column(cells, name, "t.csv", zero_is_unknown=False)
    accepted = {"age": "45Y, 045Y or 45 years", "density": "B, BI-RADS 2 or DENSITY B"}[name]
    assert f"Received: {name}={text!r} in row 5 of t.csv, one of 2." in str(caught.value)
    assert accepted in str(caught.value)


@pytest.mark.parametrize("text", ["", "-", "n/a", "N/A", "NaN", "#N/A", "unknown", " Unknown "])
def test_unknown_is_nan(text: str):
    assert math.isnan(read_number("density", text))


@pytest.mark.parametrize("zero", ["0", "000Y", "0.0", "0 years"])
def test_an_age_of_zero_in_a_table_is_unknown_with_a_note(zero: str):
    numbers, notes = number_column(pd.Series(["61", zero, ""], index=[2, 3, 4]), "age", "t.csv", zero_is_unknown=True)
    assert numbers.isna().tolist() == [False, True, True]
    assert notes == ("age 0, taken as unknown: 1, for example in row 3",)


def test_labels_that_differ_in_case_and_space_are_one_class():
    labels = pd.Series(
        ["Malignant", "MALIGNANT ", "malignant", "Not  sure", "not sure", "B\u00e9nin", "Be\u0301nin", "x"]
    )
    read, (note,) = one_spelling(labels)
    assert read.tolist() == ["malignant"] * 3 + ["not sure"] * 2 + ["b\u00e9nin"] * 2 + ["x"]
    assert "'MALIGNANT ', 'Malignant', 'malignant' as 'malignant'" in note
    assert one_spelling(pd.Series(["X", "y"]), ["X", "Y"])[0].tolist() == ["X", "Y"]
    assert one_spelling(pd.Series(["Cyst", "Cyst"]))[1] == ()


@pytest.mark.parametrize("name", ["malignant", "Cancer", "MALIGN", "carcinoma"])
def test_the_positive_class_is_recognised(name: str):
    assert positive_class(("benign", name)) == name


def test_a_dataset_without_a_known_positive_class_says_so_and_takes_a_name():
    dataset = Dataset(replace(BUSI, class_names=("gesund", "krebs")), pd.DataFrame(), Path())
    (note,) = with_positive_class(dataset, None).notes
    assert "gesund, krebs: without it there is no threshold and no decision" in note and "--positive-class" in note
    named = with_positive_class(dataset, "Krebs")
    assert named.info.positive_class == "krebs" and named.notes == ()
    with pytest.raises(
        ConfigurationError, match=r"gesund, krebs\. Received: positive_class='kreps'\. Did you mean 'krebs'"
    ):
        with_positive_class(dataset, "kreps")
