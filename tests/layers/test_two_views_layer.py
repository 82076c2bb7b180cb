"""Two views into one batch and out of it again."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import JoinViews, StackViews

NAN = float("nan")


def pictures(*values: float) -> np.ndarray:
    """One 2×2 RGB picture a value, all of that value."""
    return np.stack([np.full((2, 2, 3), value, "float32") for value in values])


def test_stacked_by_hand():
    stacked = np.asarray(StackViews()([pictures(1, 2, 3), pictures(10, NAN, 30)]))
    np.testing.assert_array_equal(stacked, pictures(1, 2, 3, 10, 2, 30))


def test_joined_by_hand():
    joined = np.asarray(JoinViews()(np.array([[1, 2], [3, 4], [5, 6], [10, 20], [30, 40], [50, 60]], "float32")))
    np.testing.assert_array_equal(joined, [[1, 2, 10, 20], [3, 4, 30, 40], [5, 6, 50, 60]])


def test_a_view_with_some_nan_is_broken_and_not_missing():
    broken = pictures(10)
    broken[0, 1, 1, 2] = NAN
    stacked = np.asarray(StackViews()([pictures(1), broken]))
    np.testing.assert_array_equal(stacked[1], broken[0])


def test_raw_pixels_keep_float32_inside_a_mixed_precision_model():
    value = 200.03  # float16 has steps of 1/8 here
    stacked = StackViews(dtype="float32")([pictures(value), pictures(value)])
    np.testing.assert_array_equal(np.asarray(stacked), pictures(value, value))
    assert np.asarray(StackViews(dtype="mixed_float16")([pictures(value), pictures(value)])).dtype == np.float16


def test_views_of_two_sizes_are_refused():
    with pytest.raises(ConfigurationError, match=r"Received: shapes=\(None, 4, 4, 3\), \(None, 8, 8, 3\)"):
        StackViews()([keras.Input((4, 4, 3)), keras.Input((8, 8, 3))])


def test_an_odd_number_of_rows_is_refused():
    with pytest.raises(ConfigurationError, match=r"even number of rows.*Received: shape=\(3, 5\)"):
        JoinViews()(keras.Input((5,), batch_size=3))
