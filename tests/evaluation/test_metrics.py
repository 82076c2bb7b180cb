"""The paper's four numbers against a confusion worked by hand and scikit-learn's report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, classification_report, cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from mmdc_tf.evaluation.metrics import (
    METRICS,
    agreement_metrics,
    class_metrics,
    class_metrics_by_fold,
    metrics_by_fold,
    paper_metrics,
)

# Rows truth, columns prediction:   a  b  c
#                                a  3  1  0    precision 3/5, recall 3/4, F1 2/3
#                                b  0  2  1    precision 2/3, recall 2/3, F1 2/3
#                                c  2  0  1    precision 1/2, recall 1/3, F1 2/5
TRUTH = list("aaaabbbccc")
GUESS = list("aaabbbcaac")


def frame(truth, guess, **columns) -> pd.DataFrame:
    return pd.DataFrame({"y_true": list(truth), "y_pred": list(guess), **columns})


def sure(table: pd.DataFrame, classes: str) -> pd.DataFrame:
    """With all probability on the guess."""
    return table.assign(**{f"p_{name}": (table["y_pred"] == name).astype(float) for name in classes})


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
    table = sure(table, "ab")
    folds = metrics_by_fold(table)
    assert folds[["fold", "seed", "n"]].to_numpy().tolist() == [[0, 0, 4], [1, 0, 2], [1, 3, 2]]
    assert folds["accuracy"].tolist() == [0.75, 1.0, 0.0]
    assert folds["recall"].tolist() == [0.75, 1.0, 0.0]
    assert folds["kappa"].tolist() == [0.5, 1.0, -1.0]
    assert folds["brier"].tolist() == [0.5, 0.0, 2.0]


def test_agreement_worked_by_hand():
    """Recalls 3/4, 2/3, 1/3; agreement 6/10, by chance (4·5 + 3·3 + 3·2) / 100 = 0.35."""
    scores = agreement_metrics(frame(TRUTH, GUESS))
    assert scores == pytest.approx({"balanced_accuracy": 7 / 12, "kappa": 0.25 / 0.65})


@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_and_statsmodels_agree_on_the_agreement(seed):
    rng = np.random.default_rng(seed)
    truth, guess = rng.choice(["benign", "cancer", "normal"], size=(2, 57), p=[0.6, 0.3, 0.1])
    scores = agreement_metrics(frame(truth, guess))
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, guess))
    assert scores["kappa"] == pytest.approx(cohen_kappa_score(truth, guess))
    counts = pd.crosstab(truth, guess).to_numpy()
    assert scores["kappa"] == pytest.approx(cohens_kappa(counts, return_results=False))


def test_a_class_that_is_only_predicted_does_not_lower_the_balanced_accuracy():
    table = frame("aabb", "aabc")
    assert agreement_metrics(table)["balanced_accuracy"] == pytest.approx(3 / 4)
    assert paper_metrics(table)["recall"] == pytest.approx((1 + 1 / 2 + 0) / 3)


def test_guessing_the_most_frequent_class_agrees_no_better_than_chance():
    assert agreement_metrics(frame("aaab", "aaaa")) == {"balanced_accuracy": 0.5, "kappa": 0.0}


def test_with_one_class_kappa_is_not_defined():
    scores = agreement_metrics(frame("aaa", "aaa"))
    assert scores["balanced_accuracy"] == 1.0
    assert np.isnan(scores["kappa"])


def test_each_class_worked_by_hand():
    """d is neither true nor predicted."""
    lines = class_metrics(sure(frame(TRUTH, GUESS), "cabd")).set_index("class")
    assert lines.index.tolist() == list("cabd")
    assert lines["n_true"].tolist() == [3, 4, 3, 0]
    assert lines["n_predicted"].tolist() == [2, 5, 3, 0]
    assert lines["precision"].tolist() == pytest.approx([1 / 2, 3 / 5, 2 / 3, np.nan], nan_ok=True)
    assert lines["recall"].tolist() == pytest.approx([1 / 3, 3 / 4, 2 / 3, np.nan], nan_ok=True)


def test_classes_of_each_fold_and_seed():
    table = sure(frame("abab", "aabb", fold=[1, 1, 0, 0], seed=[2, 2, 2, 2]), "ab")
    lines = class_metrics_by_fold(table)
    assert lines.columns.tolist() == ["fold", "seed", "class", "n_true", "n_predicted", "precision", "recall"]
    assert lines[["fold", "seed", "class"]].to_numpy().tolist() == [[0, 2, "a"], [0, 2, "b"], [1, 2, "a"], [1, 2, "b"]]
    assert lines["recall"].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert lines["precision"].tolist() == pytest.approx([np.nan, 0.5, 0.5, np.nan], nan_ok=True)
