"""Confusion matrices and curves, against counts and areas worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.curves import class_curves, confusion_counts

# Truth, prediction, probability of a; the classes stand in the order of the columns: b, a, c.
LINES = [("a", "a", 0.9), ("b", "a", 0.8), ("a", "a", 0.7), ("b", "b", 0.3), ("a", "b", 0.2)]


@pytest.fixture
def predictions() -> pd.DataFrame:
    table = pd.DataFrame(LINES, columns=["y_true", "y_pred", "p_a"])
    return pd.DataFrame(
        {"y_true": table["y_true"], "y_pred": table["y_pred"], "p_b": 1 - table["p_a"], "p_a": table["p_a"], "p_c": 0.0}
    )


def test_lines_are_the_truth_and_columns_the_prediction(predictions):
    expected = [[1, 1, 0], [1, 2, 0], [0, 0, 0]]  # b, a, c
    np.testing.assert_array_equal(confusion_counts(predictions), expected)


def test_the_curves_of_a_class_by_hand(predictions):
    """Of the 3 · 2 pairs of an a and a b the a has more in 2 + 1 + … = (0.9: 2) + (0.7: 1) + (0.2: 0) = 3."""
    curves = {curve.class_name: curve for curve in class_curves(predictions)}
    assert list(curves) == ["b", "a"]  # no sample of c
    one = curves["a"]
    assert one.auc == pytest.approx(3 / 6)
    assert one.share == pytest.approx(3 / 5)
    # found in order: a b a b a; precision at each a: 1/1, 2/3, 3/5
    assert one.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert (one.false_positive_rate[0], one.true_positive_rate[0]) == (0, 0)
    assert (one.false_positive_rate[-1], one.true_positive_rate[-1]) == (1, 1)
    area = np.trapezoid(one.true_positive_rate, one.false_positive_rate)
    assert area == pytest.approx(one.auc)
    assert (one.recall[0], one.precision[0]) == (1, pytest.approx(3 / 5))
    assert (one.recall[-1], one.precision[-1]) == (0, 1)


def test_one_class_alone_has_no_curve(predictions):
    assert class_curves(predictions[predictions["y_true"] == "a"]) == []


def test_a_truth_without_a_column_is_named(predictions):
    with pytest.raises(InputError, match="classes without a column=d"):
        class_curves(predictions.replace({"y_true": {"b": "d"}}))
