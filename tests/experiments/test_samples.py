"""What a run keeps of its samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.busi import BUSI
from mmdc_tf.datasets.mini_ddsm import MINI_DDSM, list_mini_ddsm
from mmdc_tf.datasets.schema import Dataset, check_sample_table
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.samples import read_samples, write_samples

COLUMNS = "sample_id,patient_id,group_id,label,age,density,view,side,digitizer"


@pytest.fixture
def dataset():
    """Three images whose names look like numbers or like nothing, to see that they stay as they are."""
    table = pd.DataFrame(
        {
            "sample_id": ["0007", "NA", "x,1"],
            "image_path": ["Benign/0007/C_0007_1.LEFT_CC.jpg", "NA/A_0001.jpg", "x/1.jpg"],
            "label": ["benign", "cancer", "normal"],
            "patient_id": ["0007", "NA", ""],
            "group_id": ["0007", "NA", "1e3"],
            "age": [61.5, None, 40],
            "density": [4, None, 1],
            "view": ["CC", "", "MLO"],
            "side": ["LEFT", "", "RIGHT"],
            "lesion_masks": [("Benign/0007/C_0007_1.LEFT_CC_Mask.jpg",), (), ()],
        }
    )
    return Dataset(MINI_DDSM, check_sample_table(table, MINI_DDSM.class_names, "here"), Path("nowhere"))


def test_what_is_written_is_read_again_as_it_was(dataset, tmp_path):
    write_samples(dataset, tmp_path)
    table = read_samples(tmp_path)
    assert ",".join(table.columns) == COLUMNS
    expected = dataset.table[COLUMNS.split(",")[:-1]]
    pd.testing.assert_frame_equal(table.drop(columns="digitizer"), expected, check_dtype=False)
    assert table["sample_id"].tolist() == ["0007", "NA", "x,1"]
    assert table["patient_id"].tolist() == ["0007", "NA", ""]
    assert (table["age"].dtype, table["density"].dtype) == (np.float64, np.float64)


def test_no_path_is_written(dataset, tmp_path):
    write_samples(dataset, tmp_path)
    text = (tmp_path / "samples.csv").read_text()
    assert ".jpg" not in text
    assert text.splitlines()[0] == COLUMNS
    assert [path.name for path in tmp_path.iterdir()] == ["samples.csv"]


def test_the_digitizer_is_the_letter_that_starts_the_file_name(dataset, tmp_path):
    write_samples(dataset, tmp_path)
    assert read_samples(tmp_path)["digitizer"].tolist() == ["C", "A", ""]


def test_elsewhere_a_file_name_says_nothing_of_a_digitizer(dataset, tmp_path):
    write_samples(replace(dataset, info=BUSI), tmp_path)
    assert read_samples(tmp_path)["digitizer"].tolist() == ["", "", ""]


def test_a_run_of_an_older_version_has_none(tmp_path):
    assert read_samples(tmp_path) is None


def test_a_file_without_a_column_is_named(dataset, tmp_path):
    write_samples(dataset, tmp_path)
    path = tmp_path / "samples.csv"
    pd.read_csv(path).drop(columns=["age", "side"]).to_csv(path, index=False)
    with pytest.raises(ConfigurationError, match=r"Received: .*samples\.csv without age, side\. "):
        read_samples(tmp_path)


def test_the_letters_of_the_real_mini_ddsm(real_data, tmp_path):
    """Normal exists under A and D only, and a patient was scanned on one digitizer."""
    write_samples(list_mini_ddsm(real_data / "mini-ddsm"), tmp_path)
    table = read_samples(tmp_path)
    assert table["digitizer"].value_counts().to_dict() == {"A": 3836, "C": 1652, "D": 1180, "B": 1140}
    assert set(table.loc[table["label"] == "normal", "digitizer"]) == {"A", "D"}
    assert set(table.groupby("patient_id")["digitizer"].nunique()) == {1}
