"""The predictions table, and what a trip through the disk keeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.predictions import predictions_table, read_predictions

CLASSES = ("benign", "cancer", "normal")


@pytest.fixture
def samples() -> pd.DataFrame:
    """Three samples whose index is not 0, 1, 2, as after a selection."""
    return pd.DataFrame(
        {
            "sample_id": ["s3", "s1", "s2"],
            "patient_id": ["p1", "", "0029"],
            "group_id": ["p1", "g7", "0029"],
            "label": ["normal", "benign", "cancer"],
            "age": [50.0, np.nan, 61.0],
        },
        index=[7, 3, 5],
    )


PROBABILITIES = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.25, 0.5, 0.25]], dtype="float32")


def test_one_line_a_sample_in_the_order_of_the_probabilities(samples):
    table = predictions_table(samples, PROBABILITIES, CLASSES, fold=2, seed=5)
    keys = ["sample_id", "patient_id", "group_id", "fold", "seed", "y_true", "y_pred"]
    assert list(table.columns) == [*keys, "p_benign", "p_cancer", "p_normal"]
    assert table["sample_id"].tolist() == ["s3", "s1", "s2"]
    assert table["group_id"].tolist() == ["p1", "g7", "0029"]
    assert table["y_true"].tolist() == ["normal", "benign", "cancer"]
    assert table["y_pred"].tolist() == ["normal", "cancer", "cancer"]
    assert table["fold"].tolist() == [2, 2, 2]
    assert table["seed"].tolist() == [5, 5, 5]
    np.testing.assert_array_equal(table[["p_benign", "p_cancer", "p_normal"]].to_numpy(), PROBABILITIES)


def test_columns_follow_the_order_of_the_classes(samples):
    table = predictions_table(samples, PROBABILITIES, ("normal", "benign", "cancer"), fold=0, seed=0)
    assert table["y_pred"].tolist() == ["cancer", "benign", "benign"]
    assert table["p_normal"].tolist() == pytest.approx([0.2, 0.1, 0.25])


@pytest.mark.parametrize("shape", [(2, 3), (4, 3), (3, 2)])
def test_probabilities_of_another_shape_are_refused(samples, shape):
    with pytest.raises(InputError, match=rf"shape \(3, 3\). Received: shape=\({shape[0]}, {shape[1]}\)"):
        predictions_table(samples, np.zeros(shape), CLASSES, fold=0, seed=0)


def test_the_disk_keeps_names_and_numbers(samples, tmp_path):
    table = predictions_table(samples, PROBABILITIES, CLASSES, fold=0, seed=0)
    table.to_csv(tmp_path / "predictions.csv", index=False)
    pd.testing.assert_frame_equal(read_predictions([tmp_path / "predictions.csv"]), table, check_dtype=False)


def test_classes_and_groups_that_look_like_numbers_or_blanks_stay_names(tmp_path):
    """A class "1" beside a class "NA" must not become the number 1, nor "NA" an unknown."""
    path = tmp_path / "predictions.csv"
    path.write_text(
        "sample_id,patient_id,group_id,fold,seed,y_true,y_pred,p_1,p_NA\n"
        "01,,NA,0,0,1,1,0.9,0.1\n"
        "02,,007,0,0,NA,1,0.6,0.4\n"
    )
    table = read_predictions([path])
    assert table["sample_id"].tolist() == ["01", "02"]
    assert table["group_id"].tolist() == ["NA", "007"]
    assert (table["y_true"] == table["y_pred"]).tolist() == [True, False]
    assert table["p_1"].tolist() == [0.9, 0.6]


def test_files_are_joined_in_the_order_given(samples, tmp_path):
    paths = [tmp_path / "b.csv", tmp_path / "a.csv"]
    for fold, path in enumerate(paths):
        predictions_table(samples, PROBABILITIES, CLASSES, fold, seed=0).to_csv(path, index=False)
    table = read_predictions(paths)
    assert table["fold"].tolist() == [0, 0, 0, 1, 1, 1]
    assert table.index.tolist() == list(range(6))


def test_a_file_without_a_column_is_named(samples, tmp_path):
    table = predictions_table(samples, PROBABILITIES, CLASSES, fold=0, seed=0)
    table.drop(columns=["group_id", "y_pred"]).to_csv(tmp_path / "old.csv", index=False)
    with pytest.raises(InputError, match=r"Received: .*old\.csv without group_id, y_pred"):
        read_predictions([tmp_path / "old.csv"])
