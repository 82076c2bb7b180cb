"""The paper's four numbers against a confusion worked by hand and scikit-learn's report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import classification_report

from mmdc_tf.evaluation.metrics import METRICS, metrics_by_fold, paper_metrics

# Rows truth, columns prediction:   a  b  c
#                                a  3  1  0    precision 3/5, recall 3/4, F1 2/3
#                                b  0  2  1    precision 2/3, recall 2/3, F1 2/3
#                                c  2  0  1    precision 1/2, recall 1/3, F1 2/5
TRUTH = list("aaaabbbccc")
GUESS = list("aaabbbcaac")


def frame(truth, guess, **columns) -> pd.DataFrame:
    return pd.DataFrame({"y_true": list(truth), "y_pred": list(guess), **columns})


def test_a_confusion_worked_by_hand():
    assert paper_metrics(frame(TRUTH, GUESS)) == pytest.approx(
        {
            "accuracy": 6 / 10,
            "precision": (3 / 5 + 2 / 3 + 1 / 2) / 3,
            "recall": (3 / 4 + 2 / 3 + 1 / 3) / 3,
            "f1": (2 / 3 + 2 / 3 + 2 / 5) / 3,
        }
    )


def test_a_class_never_predicted_has_precision_zero():
    metrics = paper_metrics(frame("aabb", "aaaa"))
    assert metrics == pytest.approx({"accuracy": 0.5, "precision": 0.25, "recall": 0.5, "f1": 1 / 3})


@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_reports_the_same(seed):
    rng = np.random.default_rng(seed)
    truth, guess = rng.choice(["benign", "cancer", "normal"], size=(2, 57), p=[0.6, 0.3, 0.1])
    report = classification_report(truth, guess, output_dict=True, zero_division=0.0)
    macro = report["macro avg"]
    expected = [report["accuracy"], macro["precision"], macro["recall"], macro["f1-score"]]
    metrics = paper_metrics(frame(truth, guess))
    assert tuple(metrics) == METRICS
    assert list(metrics.values()) == pytest.approx(expected)


def test_each_fold_and_seed_is_scored_on_its_own():
    table = frame("abababab", "abbaabaa", fold=[1, 1, 1, 1, 0, 0, 0, 0], seed=[0, 0, 3, 3, 0, 0, 0, 0])
    folds = metrics_by_fold(table)
    assert folds[["fold", "seed", "n"]].to_numpy().tolist() == [[0, 0, 4], [1, 0, 2], [1, 3, 2]]
    assert folds["accuracy"].tolist() == [0.75, 1.0, 0.0]
    assert folds["recall"].tolist() == [0.75, 1.0, 0.0]
