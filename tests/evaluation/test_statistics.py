"""The interval of the accuracy: against theory, SciPy and a simulation of its coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.metrics import paper_metrics
from mmdc_tf.evaluation.statistics import metric_intervals


def frame(hits, groups) -> pd.DataFrame:
    """Predictions that are right where ``hits`` is true."""
    guess = np.where(np.asarray(hits, dtype=bool), "a", "b")
    return pd.DataFrame({"group_id": [f"g{group}" for group in groups], "y_true": "a", "y_pred": guess})


def accuracy_interval(predictions: pd.DataFrame, **options) -> tuple[float, float]:
    return metric_intervals(predictions, **options)["accuracy"]


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


@pytest.mark.parametrize(("right", "limit"), [(True, 1.0), (False, 0.0)])
def test_without_variation_the_interval_is_a_point(right, limit):
    assert accuracy_interval(frame([right] * 12, np.arange(12) // 3)) == (limit, limit)


def test_groups_of_one_image_give_the_binomial_interval():
    """Resampling single images makes the number of hits Binomial(n, p̂)."""
    hits = np.arange(400) < 300
    low, high = accuracy_interval(frame(hits, range(400)))
    exact = stats.binom.ppf([0.025, 0.975], 400, 0.75) / 400
    assert [low, high] == pytest.approx(exact, abs=1.5 / 400)
    normal = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert [low, high] == pytest.approx([0.75 - normal, 0.75 + normal], abs=0.006)


def test_two_groups_worked_by_hand():
    """Groups with 3 of 4 and 2 of 4 right: a draw gives 1/2, 5/8 or 3/4 with probability 1/4, 1/2, 1/4."""
    predictions = frame([1, 1, 1, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1])
    assert accuracy_interval(predictions) == (0.5, 0.75)
    assert accuracy_interval(predictions, level=0.4) == (0.625, 0.625)


def test_groups_of_unequal_size_agree_with_scipy():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 9, size=80)
    groups = np.repeat(np.arange(80), sizes)
    hits = rng.random(len(groups)) < rng.beta(2, 1, size=80)[groups]
    correct = np.bincount(groups, hits)
    reference = stats.bootstrap(
        (correct, sizes),
        lambda right, total, axis: right.sum(axis=axis) / total.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert accuracy_interval(frame(hits, groups)) == pytest.approx(tuple(reference), abs=0.008)


def test_images_that_agree_within_a_patient_give_a_wider_interval():
    """Four identical images a patient carry the information of one: the interval is √4 times as wide."""
    hits = np.repeat(np.arange(100) < 70, 4)
    grouped = accuracy_interval(frame(hits, np.arange(400) // 4))
    single = accuracy_interval(frame(hits, range(400)))
    assert width(grouped) / width(single) == pytest.approx(2.0, abs=0.25)


def test_a_second_seed_that_says_the_same_adds_no_certainty():
    once = frame(np.arange(50) % 3 > 0, np.arange(50) // 2)
    assert accuracy_interval(pd.concat([once, once])) == accuracy_interval(once)


def test_a_lower_level_gives_a_narrower_interval_inside():
    predictions = frame(np.arange(90) % 3 > 0, np.arange(90) // 5)
    wide, narrow = accuracy_interval(predictions), accuracy_interval(predictions, level=0.5)
    assert wide[0] < narrow[0] <= narrow[1] < wide[1]


def test_the_same_seed_draws_the_same_whatever_the_order_of_the_lines():
    rng = np.random.default_rng(0)
    predictions = frame(rng.random(120) < 0.6, rng.integers(40, size=120))
    interval = accuracy_interval(predictions)
    assert accuracy_interval(predictions.sample(frac=1.0, random_state=1)) == interval
    assert accuracy_interval(predictions, seed=1) != interval


def test_nothing_to_score_is_refused():
    with pytest.raises(InputError, match=r"at least one prediction\. Received: an empty table"):
        accuracy_interval(frame([], []))


def test_it_covers_the_truth_where_an_interval_over_images_does_not():
    """Patients differ (a beta distribution of mean 0.7), and their three images agree more often than not."""
    rng, covered = np.random.default_rng(7), {"groups": 0, "images": 0}
    groups, trials = np.repeat(np.arange(60), 3), 250
    for _ in range(trials):
        hits = rng.random(180) < rng.beta(0.7, 0.3, size=60)[groups]
        for unit, names in (("groups", groups), ("images", range(180))):
            low, high = accuracy_interval(frame(hits, names), resamples=300)
            covered[unit] += low <= 0.7 <= high
    assert 0.90 <= covered["groups"] / trials <= 0.99
    assert covered["images"] / trials < 0.88


def labelled(rng: np.random.Generator, groups: int) -> pd.DataFrame:
    """Three classes, guesses right two times in three, four images a group."""
    truth = rng.choice(list("abc"), size=groups * 4, p=[0.6, 0.3, 0.1])
    guess = np.where(rng.random(len(truth)) < 2 / 3, truth, rng.choice(list("abc"), size=len(truth)))
    return pd.DataFrame({"group_id": np.repeat(np.arange(groups), 4).astype(str), "y_true": truth, "y_pred": guess})


def test_all_four_numbers_agree_with_a_plain_bootstrap_by_scikit_learn():
    predictions = labelled(np.random.default_rng(2), 40)
    parts = [part for _, part in predictions.groupby("group_id")]
    rng = np.random.default_rng(5)
    drawn = [
        paper_metrics(pd.concat([parts[index] for index in rng.integers(40, size=40)], ignore_index=True))
        for _ in range(600)
    ]
    reference = pd.DataFrame(drawn).quantile([0.025, 0.975])
    intervals = metric_intervals(predictions)
    assert list(intervals) == ["accuracy", "precision", "recall", "f1"]
    for name, limits in intervals.items():
        assert limits == pytest.approx(tuple(reference[name]), abs=0.02), name


def test_a_class_that_a_draw_leaves_out_does_not_count_in_its_average():
    """Two groups, one class each, all right: every draw is perfect, also the draws of one class alone."""
    predictions = pd.DataFrame({"group_id": ["g", "h"], "y_true": ["a", "b"], "y_pred": ["a", "b"]})
    assert set(metric_intervals(predictions).values()) == {(1.0, 1.0)}
