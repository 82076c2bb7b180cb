"""Paired comparison: each number against scipy or a hand calculation, and how often it errs where nothing differs."""

from __future__ import annotations

import gc

import numpy as np
import pandas as pd
import pytest
from clustered import interval_by_scipy
from scipy import stats

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.comparison import compare_rows, paired_difference, voted_right, what_differs
from mmdc_tf.evaluation.metrics import metrics_by_fold

COLUMNS = (
    "row,baseline,n_samples,n_groups,accuracy,baseline_accuracy,difference,ci_low,ci_high,"
    "only_row_right,only_baseline_right,mcnemar_p,holm_p,distinguishable"
)


def frame(right, groups=None, folds=None, seed: int = 0) -> pd.DataFrame:
    """One sample a value of ``right``, each a group of its own in fold 0 unless said otherwise; the truth is ``a``."""
    right = np.asarray(right, dtype=bool)
    count, sure = len(right), np.where(right, 0.75, 0.25)
    return pd.DataFrame(
        {
            "sample_id": [f"s{index:05}" for index in range(count)],
            "patient_id": "",
            "group_id": [f"g{group}" for group in (range(count) if groups is None else groups)],
            "fold": 0 if folds is None else folds,
            "seed": seed,
            "y_true": "a",
            "y_pred": np.where(right, "a", "b"),
            "p_a": sure,
            "p_b": 1.0 - sure,
        }
    )


def compare(row: pd.DataFrame, baseline: pd.DataFrame, **options) -> pd.Series:
    return compare_rows({"row": row, "base": baseline}, "base", **options).iloc[0]


def limits(row: pd.DataFrame, baseline: pd.DataFrame, **options) -> tuple[float, float]:
    line = compare(row, baseline, **options)
    return line["ci_low"], line["ci_high"]


@pytest.mark.parametrize(("only_row", "only_baseline"), [(5, 0), (3, 11), (40, 61), (7, 7), (1, 0)])
def test_mcnemar_is_the_binomial_test_of_scipy(only_row, only_baseline):
    counts = (only_row, only_baseline, 20)
    line = compare(frame(np.repeat([1, 0, 1], counts)), frame(np.repeat([0, 1, 1], counts)))
    assert (line["only_row_right"], line["only_baseline_right"]) == counts[:2]
    expected = stats.binomtest(only_row, only_row + only_baseline, 0.5).pvalue
    assert line["mcnemar_p"] == line["holm_p"] == pytest.approx(expected, abs=1e-12)  # one comparison: not corrected


def test_holm_worked_by_hand():
    """5, 6 and 8 of as many decide: p = 1/16, 1/32, 1/128; times 1, 2 and 3, and none below the one before it."""
    rights = {f"r{count}": np.arange(20) < 8 + count for count in (5, 8, 6)}
    predictions = {name: frame(right) for name, right in {**rights, "base": np.arange(20) < 8}.items()}
    result = compare_rows(predictions, "base").set_index("row")
    assert result.loc[["r5", "r6", "r8"], "mcnemar_p"].tolist() == pytest.approx([1 / 16, 1 / 32, 1 / 128])
    assert result.loc[["r5", "r6", "r8"], "holm_p"].tolist() == pytest.approx([1 / 16, 1 / 16, 3 / 128])
    assert result.loc[["r5", "r6", "r8"], "distinguishable"].tolist() == [False, False, True]
    alone = compare_rows({name: predictions[name] for name in ("r6", "base")}, "base").iloc[0]
    assert alone["distinguishable"]


def test_accuracies_are_the_means_over_folds_that_the_tables_give():
    """Fold 0: 2 of 2 against 1 of 2; fold 1: 3 of 6 against 6 of 6. So 3/4 − 3/4, although 5 and 7 of 8 are right."""
    folds = [0, 0, 1, 1, 1, 1, 1, 1]
    row, base = frame([1, 1, 1, 1, 1, 0, 0, 0], folds=folds), frame([1, 0, 1, 1, 1, 1, 1, 1], folds=folds)
    line = compare(row, base)
    assert (line["accuracy"], line["baseline_accuracy"], line["difference"]) == (0.75, 0.75, 0.0)
    assert line["accuracy"] == metrics_by_fold(row)["accuracy"].mean()
    assert (line["only_row_right"], line["only_baseline_right"], line["n_samples"], line["n_groups"]) == (1, 3, 8, 8)


def test_groups_are_drawn_within_their_fold_worked_by_hand():
    """Fold 0 has two groups with gains 1 and 0, fold 1 two with gain 0: one is drawn of each two, so 1/2 or 0."""
    groups, folds = np.arange(8) // 2, np.arange(8) // 4
    row, base = frame([1] * 8, groups, folds), frame([0, 0, 1, 1, 1, 1, 1, 1], groups, folds)
    assert limits(row, base) == (0.0, 0.5)
    assert compare(row, base)["difference"] == 0.25


def test_rounding_does_not_keep_zero_out_of_the_interval():
    """Gains of 0.1, 0.2 and −0.3 in three folds of one group each: 0.1 + 0.2 − 0.3 is 5.6e-17 on a computer."""
    folds = np.repeat([0, 1, 2], 10)
    row = frame(np.arange(30) < 23, folds, folds)
    right = np.concatenate([np.arange(10) < 9, np.arange(10) < 8, np.arange(10) < 6])
    assert limits(row, frame(right, folds, folds)) == (0.0, 0.0)


def test_the_interval_agrees_with_a_bootstrap_by_scipy():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 6, size=120)
    groups = np.repeat(np.arange(120), sizes)
    row, base = (rng.random(len(groups)) < rng.beta(2, 1, size=120)[groups] for _ in range(2))
    gains = np.bincount(groups, row.astype(float) - base)
    assert limits(frame(row, groups), frame(base, groups)) == pytest.approx(interval_by_scipy(gains, sizes), abs=0.012)


def answers(*answers: tuple[str, float]) -> pd.DataFrame:
    """One sample of class ``a`` with a seed an answer: the class, and the probability of ``a`` (``c`` gets none)."""
    lines = [
        {"sample_id": "s", "patient_id": "", "group_id": "g", "fold": 0, "seed": seed, "y_true": "a", "y_pred": guess}
        | {"p_a": p, "p_b": 1 - p, "p_c": 0.0}
        for seed, (guess, p) in enumerate(answers)
    ]
    return pd.DataFrame(lines)


@pytest.mark.parametrize(
    ("votes", "right"),
    [
        ([("a", 0.2)], True),  # one seed: y_pred, whatever the probabilities
        ([("a", 0.51), ("a", 0.51), ("b", 0.0)], True),  # two of three, although the mean is for b
        ([("a", 0.9), ("b", 0.4)], True),  # one each: the mean probability of a is 0.65
        ([("a", 0.6), ("b", 0.1)], False),  # one each: the mean probability of a is 0.35
    ],
)
def test_seeds_vote_and_the_mean_probability_decides_ties(votes, right):
    assert voted_right(answers(*votes)).to_dict() == {"s": right}


def test_several_seeds_are_one_answer_a_sample_for_mcnemar_and_one_group_for_the_bootstrap():
    """A second seed that says the same changes nothing."""
    rng = np.random.default_rng(5)
    row, base = (rng.random(60) < share for share in (0.8, 0.6))
    groups = np.arange(60) // 2
    twice = [pd.concat([frame(right, groups, seed=seed) for seed in (0, 1)]) for right in (row, base)]
    pd.testing.assert_series_equal(compare(*twice), compare(frame(row, groups), frame(base, groups)))


def test_the_order_of_the_lines_does_not_matter_and_the_columns_are_as_promised():
    rng = np.random.default_rng(4)
    row, base = (frame(rng.random(60) < 0.6, np.arange(60) // 2, np.arange(60) // 2 % 3) for _ in range(2))
    shuffled = compare(row.sample(frac=1.0, random_state=1), base.sample(frac=1.0, random_state=2))
    pd.testing.assert_series_equal(shuffled, compare(row, base))
    assert ",".join(shuffled.index) == COLUMNS
    same = compare(row, row.copy())
    assert (same["difference"], same["ci_low"], same["ci_high"], same["mcnemar_p"]) == (0.0, 0.0, 0.0, 1.0)


def test_what_differs_is_named():
    base = frame([1, 1, 0, 0], groups=[0, 0, 1, 1], folds=[0, 0, 1, 1])
    for change, named in [
        ({"seed": 7}, "seed 7 in the row only, 0 in the baseline only"),
        ({"fold": [0, 0, 1, 2]}, "fold 2 in the row only, none in the baseline only"),
        (
            {"sample_id": ["s00000", "s00001", "s00002", "x"]},
            "sample_id x in the row only, s00003 in the baseline only",
        ),
        ({"fold": [1, 1, 0, 0]}, "another fold of sample_id s00000, s00001, s00002, …"),
        ({"y_true": ["a", "a", "a", "b"]}, "another y_true of sample_id s00003"),
        ({"group_id": ["g0", "g0", "g1", "g2"]}, "another group_id of sample_id s00003"),
        ({"sample_id": ["s00000", "s00001", "s00002", "s00002"]}, "s00003 in the baseline only"),
    ]:
        row = base.assign(**change)
        assert named in what_differs(row, base)
        with pytest.raises(InputError, match=r"same samples, folds and seeds as 'base'\. Received: row='row' with"):
            compare(row, base)
    assert "no group_id" in what_differs(base.drop(columns="group_id"), base)
    assert "other classes" in what_differs(base.rename(columns={"p_b": "p_c"}), base)
    assert what_differs(base.sample(frac=1.0, random_state=0), base) == ""


def test_rows_of_equal_accuracy_are_seldom_told_apart(monkeypatch):
    """At most 5 %, and what chance adds in 60 trials (one time in a thousand); a patient's views often agree."""
    monkeypatch.setattr(gc, "collect", lambda *_: 0)  # statsmodels collects in each correction: most of the time here
    rng, groups = np.random.default_rng(6), 80
    names = np.repeat(np.arange(groups), 4)

    def rights() -> np.ndarray:
        alike = np.repeat(rng.random(groups) < 0.7, 4)
        return np.where(alike, np.repeat(rng.random(groups) < 0.7, 4), rng.random(len(names)) < 0.7)

    lines = [compare(*(frame(rights(), names, names % 4) for _ in "ab"), resamples=100) for _ in range(60)]
    assert np.mean([line["distinguishable"] for line in lines]) <= stats.binom.ppf(0.999, 60, 0.05) / 60


def test_a_difference_between_two_ways_of_making_folds_worked_by_hand():
    """Folds of 1 and 3 samples: (1 + 1/3)/2; of 2 and 2: (1 + 1/2)/2."""
    one = frame([True, True, False, False], folds=[0, 1, 1, 1])
    other = frame([True, True, True, False], folds=[0, 0, 1, 1])
    difference, low, high = paired_difference(one, other)
    assert difference == pytest.approx((1 + 1 / 3) / 2 - (1 + 1 / 2) / 2)
    assert low < difference < high
    assert paired_difference(one, one.assign(fold=[0, 0, 1, 1])[::-1])[0] == pytest.approx(2 / 3 - 1 / 2)
    assert paired_difference(one, one) == (0.0, 0.0, 0.0)


TWICE = pd.concat([frame([1, 0, 1]), frame([1, 0, 1])])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare(TWICE, TWICE), "row='base' with samples that stand in two folds, or not once"),
        (lambda: compare_rows({"base": frame([1, 0])}, "base"), "predictions of 'base' and of at least one other row"),
        (lambda: compare_rows(dict.fromkeys("ab", frame([1])), "base"), "predictions of 'base' and of at least one"),
        (lambda: paired_difference(frame([True, False]), frame([True, False], seed=1)), "same samples and seeds"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
