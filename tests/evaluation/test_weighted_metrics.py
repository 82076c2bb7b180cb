"""Scores of many draws at once against scikit-learn on the table that each draw stands for."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from clustered import CLASSES, clustered
from sklearn import metrics as sk

from mmdc_tf.evaluation import draws
from mmdc_tf.evaluation.statistics import INTERVAL_METRICS, resampled_means
from mmdc_tf.evaluation.weighted_metrics import make_scorer


def by_scikit_learn(table: pd.DataFrame) -> dict[str, float]:
    """All that scikit-learn has; the calibration error by a loop over its bins."""
    truth, guess = table["y_true"], table["y_pred"]
    probabilities = table[[f"p_{name}" for name in CLASSES]].to_numpy()
    one_hot = (truth.to_numpy()[:, None] == CLASSES).astype(float)
    both = [index for index in range(3) if 0 < one_hot[:, index].sum() < len(table)]
    areas = [sk.roc_auc_score(one_hot[:, index], probabilities[:, index]) for index in both]
    precision, recall, f1, _ = sk.precision_recall_fscore_support(truth, guess, average="macro", zero_division=0.0)
    codes, labels = one_hot.argmax(axis=1), range(3)
    return {
        "accuracy": sk.accuracy_score(truth, guess),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "balanced_accuracy": sk.balanced_accuracy_score(truth, guess),
        "auc": np.mean(areas) if areas else np.nan,
        "kappa": sk.cohen_kappa_score(truth, guess) if len({*truth, *guess}) > 1 else np.nan,
        "brier": sk.brier_score_loss(codes, probabilities, labels=labels, scale_by_half=False),
        "ece": calibration_error(codes, probabilities),
        "nll": sk.log_loss(codes, probabilities, labels=labels),
    }


def calibration_error(codes: np.ndarray, probabilities: np.ndarray) -> float:
    top, hit, error = probabilities.max(axis=1), probabilities.argmax(axis=1) == codes, 0.0
    for index in range(15):
        inside = (top > index / 15) & (top <= (index + 1) / 15)
        error += abs((top[inside] - hit[inside]).sum()) / len(top)
    return error


def coarse(table: pd.DataFrame) -> pd.DataFrame:
    """Probabilities in tenths, for many ties; the guess stays."""
    names = [f"p_{name}" for name in CLASSES]
    tenths = (table[names] * 10).round()
    return table.assign(**(tenths.div(tenths.sum(axis=1), axis=0)))


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label was found")
@pytest.mark.parametrize("change", [lambda table: table, coarse])
def test_each_draw_scores_as_scikit_learn_scores_its_table(change):
    rng = np.random.default_rng(11)
    table = change(clustered(rng, folds=1, groups=9, images=3))
    index = np.arange(len(table)) // 3
    weights = rng.integers(0, 3, size=(12, 9))
    weights[:9] = np.where(rng.random((9, 9)) < 0.6, 0, weights[:9])  # draws that leave classes out
    weights[9] = np.arange(9) == 4  # one group, so that one class
    weights = weights[weights.sum(axis=1) > 0]
    scores = make_scorer(table, index, 9, INTERVAL_METRICS)(weights.astype(float))
    lines = [by_scikit_learn(table.iloc[np.repeat(np.arange(len(table)), line[index])]) for line in weights]
    expected = pd.DataFrame(lines)
    assert expected["auc"].isna().any()
    assert list(scores) == list(INTERVAL_METRICS)
    for name, values in scores.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_draw_without_a_line_has_no_score():
    """A seed may lack a group that the fold's other seed has."""
    table = clustered(np.random.default_rng(0), folds=1, groups=3)
    index = np.arange(len(table)) // 4
    scores = make_scorer(table, index, 4, INTERVAL_METRICS)(np.array([[0.0, 0.0, 0.0, 4.0]]))
    assert all(np.isnan(values).all() for values in scores.values())


def test_only_numbers_of_probabilities_need_probabilities():
    table = clustered(np.random.default_rng(0), folds=2, groups=5)
    labels = table[["group_id", "fold", "seed", "y_true", "y_pred"]]
    names = ("kappa", "accuracy")
    drawn = resampled_means(labels, resamples=20, names=names)
    assert drawn.columns.tolist() == list(names)
    pd.testing.assert_frame_equal(drawn, resampled_means(table, resamples=20)[list(names)])


def test_the_draws_are_the_same_whatever_fits_into_memory_at_once(monkeypatch):
    table = clustered(np.random.default_rng(1), folds=2, groups=15, seeds=2)
    at_once = resampled_means(table, resamples=50)
    monkeypatch.setattr(draws, "NUMBERS_AT_ONCE", 7 * 60)
    pd.testing.assert_frame_equal(resampled_means(table, resamples=50), at_once, rtol=1e-12)


def test_rows_scored_on_the_same_groups_share_their_draws():
    """So the difference of two rows is a paired bootstrap: the same predictions differ by 0 in every draw."""
    table = clustered(np.random.default_rng(1), folds=2, groups=15)
    other = table.assign(y_pred="benign")
    right = (table["y_pred"] == table["y_true"]).astype(int) - (other["y_pred"] == other["y_true"])
    drawn = resampled_means(table, names=("accuracy",)) - resampled_means(other, names=("accuracy",))
    by_group = right.groupby([table["fold"], table["group_id"]]).mean()
    paired = np.sqrt(by_group.groupby("fold").var(ddof=0).sum() / 15) / 2
    assert drawn["accuracy"].std() == pytest.approx(paired, rel=0.06)


def test_memory_does_not_grow_with_draws_times_samples():
    """All draws of 4,000 samples at once would be 64 MB for each array of them."""
    table = clustered(np.random.default_rng(1), folds=1, groups=1000)
    tracemalloc.start()
    resampled_means(table, names=("auc", "ece"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
