"""Age, density and labels as arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.errors import DatasetError
from mmdc_tf.inputs.metadata import label_array, metadata_array

NAN = float("nan")


def test_metadata_are_raw_age_and_density_in_this_order():
    table = pd.DataFrame({"density": [2.0, NAN, 4.0], "label": "a", "age": [61.0, 47.5, NAN]})
    array = metadata_array(table)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [[61.0, 2.0], [47.5, NAN], [NAN, 4.0]])


def test_metadata_that_are_all_unknown_stay_nan():
    array = metadata_array(pd.DataFrame({"age": [NAN] * 3, "density": [NAN] * 3}))
    assert array.shape == (3, 2)
    assert np.isnan(array).all()


def test_labels_are_one_hot_in_the_order_of_the_class_names():
    table = pd.DataFrame({"label": ["normal", "benign", "cancer", "benign"]})
    array = label_array(table, ("benign", "cancer", "normal"))
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]])
    reversed_order = label_array(table, ("normal", "cancer", "benign"))
    np.testing.assert_array_equal(reversed_order, [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 1]])


def test_an_absent_class_keeps_its_column():
    array = label_array(pd.DataFrame({"label": ["b", "b"]}), ("a", "b", "c"))
    np.testing.assert_array_equal(array, [[0, 1, 0], [0, 1, 0]])


def test_a_label_that_is_no_class_raises_and_is_not_some_other_class():
    with pytest.raises(DatasetError, match=r"benign, cancer\. Received: label='normal'"):
        label_array(pd.DataFrame({"label": ["benign", "normal"]}), ("benign", "cancer"))
