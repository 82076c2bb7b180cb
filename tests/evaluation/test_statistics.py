"""Intervals of the mean over folds and seeds: against theory, SciPy and a plain bootstrap by scikit-learn."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from clustered import clustered, interval_by_scipy

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation import statistics
from mmdc_tf.evaluation.metrics import metrics_by_fold
from mmdc_tf.evaluation.statistics import group_draws, metric_intervals


def frame(hits, groups, fold=0, seed=0) -> pd.DataFrame:
    """Predictions that are right where ``hits`` is true."""
    guess = np.where(np.asarray(hits, dtype=bool), "a", "b")
    names = [f"g{group}" for group in groups]
    return pd.DataFrame({"group_id": names, "fold": fold, "seed": seed, "y_true": "a", "y_pred": guess})


def accuracy_interval(predictions: pd.DataFrame, **options) -> tuple[float, float]:
    return metric_intervals(predictions, names=("accuracy",), **options)["accuracy"]


def test_two_groups_worked_by_hand():
    """Groups with 3 of 4 and 2 of 4 right: a draw is one of them, 1/2 or 3/4."""
    predictions = frame([1, 1, 1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1])
    assert accuracy_interval(predictions) == (0.5, 0.75)
    assert accuracy_interval(predictions, level=0.4) == (0.5, 0.75)


def test_three_groups_worked_by_hand():
    """Groups with 3, 2 and 1 of 4 right: a draw of two has 6 to 2 of 8 right, 1, 2, 3, 2 and 1 times in nine."""
    predictions = frame([1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0], np.arange(12) // 4)
    assert accuracy_interval(predictions) == (2 / 8, 6 / 8)
    assert accuracy_interval(predictions, level=0.6) == (3 / 8, 5 / 8)
    assert accuracy_interval(predictions, level=0.2) == (4 / 8, 4 / 8)


def test_groups_of_unequal_size_agree_with_scipy():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 9, size=80)
    groups = np.repeat(np.arange(80), sizes)
    hits = rng.random(len(groups)) < rng.beta(2, 1, size=80)[groups]
    correct = np.bincount(groups, hits)
    assert accuracy_interval(frame(hits, groups)) == pytest.approx(interval_by_scipy(correct, sizes), abs=0.008)


def test_two_folds_worked_by_hand():
    """Each fold a group all right and one all wrong, of which one is drawn: the mean is 0, 1/2 or 1, 1/2 half the time.

    A large fold counts as much as a small one.
    """
    sizes = [1, 1, 30, 30]
    predictions = frame(np.repeat([1, 0, 1, 0], sizes), np.repeat(range(4), sizes), fold=np.repeat([0, 0, 1, 1], sizes))
    assert accuracy_interval(predictions) == (0.0, 1.0)
    assert accuracy_interval(predictions, level=0.6) == (0.0, 1.0)
    assert accuracy_interval(predictions, level=0.4) == (0.5, 0.5)


def test_the_same_seed_draws_the_same_whatever_the_order_of_the_lines():
    rng = np.random.default_rng(0)
    predictions = frame(rng.random(120) < 0.6, rng.integers(40, size=120))
    interval = accuracy_interval(predictions)
    assert accuracy_interval(predictions.sample(frac=1.0, random_state=1)) == interval
    assert accuracy_interval(predictions, seed=1) != interval


def test_all_four_numbers_agree_with_a_plain_bootstrap_by_scikit_learn():
    """And all the others: the tables of five draws, made line by line and scored by themselves."""
    table = clustered(np.random.default_rng(2), folds=2, groups=20, seeds=2)
    rng = np.random.default_rng(3)
    draws = []
    for _, fold in table.groupby("fold"):
        parts = [part for _, part in fold.groupby("group_id")]
        draws.append([pd.concat([parts[index] for index in line]) for line in rng.integers(20, size=(5, 19))])
    reference = pd.DataFrame([metrics_by_fold(pd.concat(parts)).mean() for parts in zip(*draws, strict=True)])
    intervals = pd.DataFrame(metric_intervals(table, resamples=5, seed=3)).drop(columns="ece")
    limits = np.quantile(reference[intervals.columns], [0.025, 0.975], axis=0, method="weibull")
    np.testing.assert_allclose(intervals, limits, rtol=1e-9)


def test_the_interval_of_the_calibration_error_is_moved_to_the_printed_number():
    """Its draws lie above it: the noise of a draw adds to each gap."""
    table = clustered(np.random.default_rng(8), folds=5, groups=30, images=2)
    low, high = metric_intervals(table, names=("ece",))["ece"]
    assert low < metrics_by_fold(table)["ece"].mean() < high


def test_nothing_to_score_is_refused():
    with pytest.raises(InputError, match=r"at least one prediction\. Received: an empty table"):
        accuracy_interval(frame([], []))


def test_no_calibration_error_is_below_zero():
    """All right and nearly sure, but for one group: its share of the draws varies, the error stays at least 0."""
    table = frame(np.arange(40) >= 2, np.arange(40) // 2)
    certain = np.where(np.arange(40) >= 2, 1.0, 0.0)
    low, high = metric_intervals(table.assign(p_a=certain * 0.999, p_b=1 - certain * 0.999), names=("ece",))["ece"]
    assert low == 0.0
    assert high > 0.05


def test_a_fold_without_an_auc_has_no_part_in_the_mean():
    rng = np.random.default_rng(6)
    other = clustered(rng, folds=1, groups=30)
    lone = clustered(rng, folds=1, groups=5).assign(fold=1, y_true="benign")
    both = pd.concat([other, lone])
    assert metric_intervals(both, names=("auc",)) == metric_intervals(other, names=("auc",))
    assert metrics_by_fold(both)["auc"].mean() == metrics_by_fold(other)["auc"].mean()


def test_only_numbers_of_probabilities_need_probabilities():
    table = clustered(np.random.default_rng(0), folds=2, groups=5)
    labels = table[["group_id", "fold", "seed", "y_true", "y_pred"]]
    names = ("kappa", "accuracy")
    expected = metric_intervals(table, resamples=20)
    assert metric_intervals(labels, resamples=20, names=names) == {name: expected[name] for name in names}


def test_memory_does_not_grow_with_draws_times_samples():
    """All draws of 4,000 samples at once would be 64 MB for each array of them."""
    table = clustered(np.random.default_rng(1), folds=1, groups=1000)
    tracemalloc.start()
    metric_intervals(table, names=("auc", "ece"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_blocks_are_bounded_and_do_not_change_the_draws(monkeypatch):
    table = clustered(np.random.default_rng(1), folds=2, groups=15, seeds=2)
    at_once, whole = metric_intervals(table, resamples=50), drawn(9, 100)
    monkeypatch.setattr(statistics, "NUMBERS_AT_ONCE", 90)
    blocks = list(group_draws(9, 100, np.random.default_rng(0)))
    assert {len(block) for block in blocks} == {10}
    assert [len(next(group_draws(9, 100, np.random.default_rng(0), width))) for width in (45, 900)] == [2, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    again = metric_intervals(table, resamples=50)
    np.testing.assert_allclose(list(again.values()), list(at_once.values()), rtol=1e-12)


def drawn(groups: int, resamples: int) -> np.ndarray:
    return np.concatenate(list(group_draws(groups, resamples, np.random.default_rng(0))))


def test_all_draws_of_two_of_three_groups_are_equally_likely():
    """With replacement: each pair of one group 1/9, each pair of two 2/9."""
    table = drawn(3, 20_000)
    for counts in itertools.product(range(3), repeat=3):
        expected = 0 if sum(counts) != 2 else 1 / 9 if max(counts) == 2 else 2 / 9
        assert (table == counts).all(axis=1).mean() == pytest.approx(expected, abs=0.012)
    assert (drawn(1, 10) == 1).all()


@pytest.mark.parametrize("groups", [2, 5, 30])
def test_the_variance_of_a_drawn_mean_is_that_of_the_mean(groups):
    """s²/g, with s² the unbiased variance; of g drawn groups it would be (g − 1)/g of it."""
    values = np.random.default_rng(1).normal(size=groups)
    means = drawn(groups, 40_000) @ values / (groups - 1)
    assert means.mean() == pytest.approx(values.mean(), abs=0.02)
    assert means.var() == pytest.approx(values.var(ddof=1) / groups, rel=0.03)


def simulated(rng: np.random.Generator, accuracy: np.ndarray, groups: int, images: int) -> pd.DataFrame:
    """Two classes, one a group; a group's share of right images follows a beta distribution, correlation 1/2.

    True in each class alike: balanced accuracy and accuracy have the same truth.
    """
    folds = len(accuracy)
    group = np.arange(folds * groups).repeat(images)
    share = rng.beta(accuracy, 1.0 - accuracy, size=(groups, folds)).ravel()[group]
    truth = rng.integers(2, size=folds * groups)[group]
    guess = np.where(rng.random(len(group)) < share, truth, 1 - truth)
    return pd.DataFrame({"group_id": group, "fold": group % folds, "seed": 0, "y_true": truth, "y_pred": guess})


def test_it_covers_the_truth_where_an_interval_over_images_does_not():
    """Of 500 simulated datasets of five folds of 40 groups of four images; a longer simulation covered 95.2 %."""
    rng, accuracy = np.random.default_rng(20), np.array([0.6, 0.65, 0.7, 0.75, 0.8])

    def covers(predictions: pd.DataFrame, names: tuple[str, ...] = ("accuracy", "balanced_accuracy")) -> list[bool]:
        limits = metric_intervals(predictions, resamples=400, seed=seed, names=names)
        return [low <= accuracy.mean() <= high for low, high in limits.values()]

    by_group, by_image = [], []
    for seed in range(500):
        predictions = simulated(rng, accuracy, groups=40, images=4)
        by_group.append(covers(predictions))
        if seed < 150:
            by_image.append(covers(predictions.assign(group_id=np.arange(len(predictions))), ("accuracy",)))
    assert ((np.mean(by_group, axis=0) >= 0.93) & (np.mean(by_group, axis=0) <= 0.97)).all()
    assert np.mean(by_image) < 0.90
