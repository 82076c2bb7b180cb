"""AUC, Brier score, calibration error and log likelihood against scikit-learn and hand calculations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.probability_metrics import expected_calibration_error, probability_metrics


def frame(truth: str, probabilities) -> pd.DataFrame:
    """One class a letter, in alphabetical order of the columns."""
    probabilities = np.asarray(probabilities, dtype=float)
    columns = {f"p_{name}": probabilities[:, index] for index, name in enumerate("abcdef"[: probabilities.shape[1]])}
    return pd.DataFrame({"y_true": list(truth), **columns})


def test_brier_score_and_log_likelihood_worked_by_hand():
    """(0.3² + 0.2² + 0.1² + 0.5² + 0.6² + 0.1²) / 2; −(ln 0.7 + ln 0.4) / 2."""
    scores = probability_metrics(frame("ab", [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]]))
    assert scores["brier"] == pytest.approx((0.09 + 0.04 + 0.01 + 0.25 + 0.36 + 0.01) / 2)
    assert scores["nll"] == pytest.approx(-np.log(0.7 * 0.4) / 2)


def test_the_limits_of_the_scale():
    certain = np.eye(3)
    right, wrong = probability_metrics(frame("abc", certain)), probability_metrics(frame("bca", certain))
    assert right == {"auc": 1.0, "brier": 0.0, "ece": 0.0, "nll": 0.0}
    assert (wrong["brier"], wrong["ece"]) == (2.0, 1.0)
    assert wrong["auc"] == pytest.approx(0.25)  # each class: one of two pairs is lost, the other a tie
    assert wrong["nll"] == pytest.approx(-np.log(np.finfo(float).eps))


def test_calibration_error_worked_by_hand():
    """Bins of 1/15: 0.62 and 0.65 lie in (9/15, 10/15], 0.95 in (14/15, 1].

    Of the first two one is right: gap |0.62 + 0.65 − 1|. Of the three at 0.95 two are right: gap |2.85 − 2|.
    """
    top = np.array([0.62, 0.65, 0.95, 0.95, 0.95])
    scores = probability_metrics(frame("ababa", np.stack([top, 1 - top], axis=1)))
    assert scores["ece"] == pytest.approx((0.27 + 0.85) / 5)


def test_a_bin_holds_its_upper_edge_and_not_its_lower_one():
    """In ten bins 0.5 (wrong) and 0.45 (right) are neighbours of (0.4, 0.5], 0.55 (right) is alone in (0.5, 0.6]."""
    probabilities = np.array([[0.5, 0.3, 0.2], [0.45, 0.3, 0.25], [0.55, 0.25, 0.2]])
    error = expected_calibration_error(np.array([1, 0, 0]), probabilities, bins=10)
    assert error == pytest.approx((abs(0.5 + 0.45 - 1) + abs(0.55 - 1)) / 3)


def test_calibration_error_against_a_loop_over_the_bins():
    rng = np.random.default_rng(1)
    probabilities, truth = rng.dirichlet([0.5] * 4, size=400), rng.integers(4, size=400)
    top, hit, expected = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth, 0.0
    for index in range(15):
        inside = (top > index / 15) & (top <= (index + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(top[inside].mean() - hit[inside].mean())
    assert expected_calibration_error(truth, probabilities) == pytest.approx(expected)


def test_a_calibrated_model_with_many_samples_has_nearly_no_calibration_error():
    rng = np.random.default_rng(4)
    probabilities = rng.dirichlet([1.0] * 3, size=200_000)
    truth = (probabilities.cumsum(axis=1) > rng.random(200_000)[:, None]).argmax(axis=1)
    assert expected_calibration_error(truth, probabilities) < 0.01
    assert expected_calibration_error(truth, np.eye(3)[probabilities.argmax(axis=1)]) > 0.2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_scikit_learn_says_the_same(seed, classes):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.8] * classes, size=150)
    truth = rng.integers(classes, size=150)
    scores = probability_metrics(frame("".join("abcdef"[index] for index in truth), probabilities))
    labels = np.arange(classes)
    areas = [roc_auc_score(truth == index, probabilities[:, index]) for index in labels]
    assert scores["auc"] == pytest.approx(np.mean(areas))
    assert scores["brier"] == pytest.approx(brier_score_loss(truth, probabilities, labels=labels, scale_by_half=False))
    assert scores["nll"] == pytest.approx(log_loss(truth, probabilities, labels=labels))
    if classes > 2:
        assert scores["auc"] == pytest.approx(roc_auc_score(truth, probabilities, multi_class="ovr"))


def test_a_tie_is_half_a_win_as_in_scipys_u():
    rng = np.random.default_rng(2)
    score, truth = rng.integers(4, size=60) / 4, rng.random(60) < 0.5
    scores = probability_metrics(frame("".join("ba"[int(is_a)] for is_a in truth), np.stack([score, 1 - score], 1)))
    wins = mannwhitneyu(score[truth], score[~truth]).statistic
    assert scores["auc"] == pytest.approx(wins / (truth.sum() * (~truth).sum()))


def test_a_class_that_a_fold_lacks_has_no_part_in_the_auc():
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet([1.0] * 3, size=40)
    truth = np.arange(40) % 2
    scores = probability_metrics(frame("".join("ab"[index] for index in truth), probabilities))
    areas = [roc_auc_score(truth == index, probabilities[:, index]) for index in (0, 1)]
    assert scores["auc"] == pytest.approx(np.mean(areas))


def test_with_one_class_the_auc_is_not_defined_and_the_others_are():
    scores = probability_metrics(frame("aa", [[0.9, 0.1], [0.6, 0.4]]))
    assert np.isnan(scores["auc"])
    assert scores["brier"] == pytest.approx((2 * 0.1**2 + 2 * 0.4**2) / 2)


def test_names_need_no_alphabetical_order():
    """scikit-learn sorts labels; the columns here stand in the order of the dataset's classes."""
    table = frame("ab", [[0.7, 0.3], [0.4, 0.6]]).rename(columns={"p_a": "p_normal", "p_b": "p_benign"})
    table["y_true"] = ["normal", "benign"]
    assert probability_metrics(table)["nll"] == pytest.approx(-np.log(0.7 * 0.6) / 2)


@pytest.mark.parametrize(
    ("truth", "probabilities", "message"),
    [
        ("ax", [[0.5, 0.5], [0.5, 0.5]], r"columns=p_a, p_b, classes without a column=x, samples=2"),
        ("ab", [[2.0, -1.0], [0.5, 0.5]], r"in \[0, 1\]\. Received: values from -1\.0 to 2\.0"),
        ("ab", [[np.nan, 0.5], [0.5, 0.5]], r"in \[0, 1\]\. Received: values from nan"),
    ],
)
def test_what_does_not_fit_is_refused(truth, probabilities, message):
    with pytest.raises(InputError, match=message):
        probability_metrics(frame(truth, probabilities))


def test_no_sample_or_no_column_is_refused():
    with pytest.raises(InputError, match="samples=0"):
        probability_metrics(frame("a", [[1.0, 0.0]]).iloc[:0])
    with pytest.raises(InputError, match=r"Received: columns=none, classes without a column=a"):
        probability_metrics(pd.DataFrame({"y_true": ["a"], "y_pred": ["a"]}))
