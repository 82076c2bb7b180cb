"""Every number against a calculation by hand and scikit-learn, of a table and of many draws of its groups."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
from clustered import CLASSES, clustered
from sklearn import metrics as sk
from statsmodels.stats.inter_rater import cohens_kappa

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.metrics import (
    ALL_METRICS,
    METRICS,
    PROBABILITY_METRICS,
    THRESHOLD_METRICS,
    all_metrics,
    class_results,
    make_scorer,
    metrics_by_fold,
)

# Rows truth, columns prediction:   a  b  c
#                                a  3  1  0    precision 3/5, recall 3/4, F1 2/3
#                                b  0  2  1    precision 2/3, recall 2/3, F1 2/3
#                                c  2  0  1    precision 1/2, recall 1/3, F1 2/5
TRUTH, GUESS = "aaaabbbccc", "aaabbbcaac"


def frame(truth: str, guess: str, probabilities=None, **columns) -> pd.DataFrame:
    """One class a letter; all probability on the guess where none is given."""
    table = pd.DataFrame({"y_true": list(truth), "y_pred": list(guess), **columns})
    names = "abcdef"[: np.shape(probabilities)[1]] if probabilities is not None else sorted({*truth, *guess})
    sure = table["y_pred"].to_numpy()[:, None] == np.array(list(names))
    values = np.asarray(sure if probabilities is None else probabilities, dtype=float)
    return table.assign(**{f"p_{name}": values[:, index] for index, name in enumerate(names)})


def guessed(truth: str, probabilities) -> pd.DataFrame:
    """The guess is the class of the largest probability."""
    guess = "".join("abcdef"[index] for index in np.argmax(probabilities, axis=1))
    return frame(truth, guess, probabilities)


def by_scikit_learn(table: pd.DataFrame, classes: np.ndarray) -> dict[str, float]:
    """All that scikit-learn has; the calibration error by a loop over its bins, claims as one-hot labels."""
    truth, guess = table["y_true"], table["y_pred"]
    probabilities = table[[f"p_{name}" for name in classes]].to_numpy()
    one_hot = truth.to_numpy()[:, None] == classes
    both = [index for index in range(len(classes)) if 0 < one_hot[:, index].sum() < len(table)]
    areas = [sk.roc_auc_score(one_hot[:, index], probabilities[:, index]) for index in both]
    precision, recall, f1, _ = sk.precision_recall_fscore_support(truth, guess, average="macro", zero_division=0.0)
    codes, labels, claims = one_hot.argmax(axis=1), range(len(classes)), probabilities.ravel() > 0.5
    return {
        "accuracy": sk.accuracy_score(truth, guess),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "threshold_precision": sk.precision_score(one_hot.ravel(), claims, zero_division=0.0),
        "threshold_recall": sk.recall_score(one_hot.ravel(), claims),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, guess),
        "kappa": sk.cohen_kappa_score(truth, guess) if len({*truth, *guess}) > 1 else np.nan,
        "auc": np.mean(areas) if areas else np.nan,
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


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_scikit_learn_reports_the_same(seed, classes):
    rng = np.random.default_rng(seed)
    names = np.array(list("abcdef"[:classes]))
    table = guessed("".join(rng.choice(names, 150)), rng.dirichlet([0.8] * classes, size=150))
    scores = all_metrics(table)
    assert tuple(scores) == ALL_METRICS
    assert scores == pytest.approx(by_scikit_learn(table, names))
    assert all_metrics(table, METRICS) == {name: scores[name] for name in METRICS}
    counts = pd.crosstab(table["y_true"], table["y_pred"]).to_numpy()
    assert scores["kappa"] == pytest.approx(cohens_kappa(counts, return_results=False))


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
    scores = make_scorer(table, index, 9, ALL_METRICS)(weights.astype(float))
    drawn = [table.iloc[np.repeat(np.arange(len(table)), line[index])] for line in weights]
    expected = pd.DataFrame([by_scikit_learn(lines, CLASSES) for lines in drawn])
    assert expected["auc"].isna().any()
    for name, values in scores.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_draw_without_a_line_has_no_score():
    """A seed may lack a group that the fold's other seed has."""
    table = clustered(np.random.default_rng(0), folds=1, groups=3)
    names = tuple(name for name in ALL_METRICS if name not in THRESHOLD_METRICS)
    scores = make_scorer(table, np.arange(len(table)) // 4, 4, names)(np.array([[0.0, 0.0, 0.0, 4.0]]))
    assert list(scores) == list(names)
    assert all(np.isnan(values).all() for values in scores.values())


def test_a_confusion_worked_by_hand():
    """Agreement 6/10, by chance (4·5 + 3·3 + 3·2) / 100 = 0.35."""
    table = frame(TRUTH, GUESS)
    assert all_metrics(table, (*METRICS, "balanced_accuracy", "kappa")) == pytest.approx(
        {
            "accuracy": 6 / 10,
            "precision": (3 / 5 + 2 / 3 + 1 / 2) / 3,
            "recall": (3 / 4 + 2 / 3 + 1 / 3) / 3,
            "f1": (2 / 3 + 2 / 3 + 2 / 5) / 3,
            "balanced_accuracy": 7 / 12,
            "kappa": 0.25 / 0.65,
        }
    )


def test_numbers_at_their_limits():
    never = all_metrics(frame("aabb", "aaaa"), METRICS)  # b is never predicted
    assert never == pytest.approx({"accuracy": 0.5, "precision": 0.25, "recall": 0.5, "f1": 1 / 3})
    only_predicted = all_metrics(frame("aabb", "aabc"))
    assert only_predicted["balanced_accuracy"] == pytest.approx(3 / 4)
    assert only_predicted["recall"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    frequent = all_metrics(frame("aaab", "aaaa"), ("balanced_accuracy", "kappa"))
    assert frequent == {"balanced_accuracy": 0.5, "kappa": 0.0}
    alone = all_metrics(frame("aa", "aa", [[0.9, 0.1], [0.6, 0.4]]))
    assert np.isnan([alone["kappa"], alone["auc"]]).all()
    assert (alone["balanced_accuracy"], alone["brier"]) == (1.0, pytest.approx((2 * 0.1**2 + 2 * 0.4**2) / 2))
    right, wrong = (all_metrics(guessed(truth, np.eye(3)), PROBABILITY_METRICS) for truth in ("abc", "bca"))
    assert right == {"auc": 1.0, "brier": 0.0, "ece": 0.0, "nll": 0.0}
    assert (wrong["brier"], wrong["ece"], wrong["nll"]) == (2.0, 1.0, pytest.approx(-np.log(np.finfo(float).eps)))
    assert wrong["auc"] == pytest.approx(0.25)  # each class: one of two pairs is lost, the other a tie


def test_probabilities_worked_by_hand():
    """(0.3² + 0.2² + 0.1² + 0.5² + 0.6² + 0.1²) / 2; −(ln 0.7 + ln 0.4) / 2."""
    scores = all_metrics(guessed("ab", [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]]))
    assert scores["brier"] == pytest.approx((0.09 + 0.04 + 0.01 + 0.25 + 0.36 + 0.01) / 2)
    assert scores["nll"] == pytest.approx(-np.log(0.7 * 0.4) / 2)
    # the columns stand in the order of the dataset's classes, which scikit-learn would sort
    table = pd.DataFrame({"y_true": ["normal", "benign"], "p_normal": [0.7, 0.4], "p_benign": [0.3, 0.6]})
    assert all_metrics(table, ("nll",))["nll"] == pytest.approx(-np.log(0.7 * 0.6) / 2)


def test_calibration_error_worked_by_hand():
    """Bins of 1/15: 0.62 and 0.65 lie in (9/15, 10/15], 0.95 in (14/15, 1].

    Of the first two one is right: gap |0.62 + 0.65 − 1|. Of the three at 0.95 two are right: gap |2.85 − 2|.
    """
    top = np.array([0.62, 0.65, 0.95, 0.95, 0.95])
    scores = all_metrics(guessed("ababa", np.stack([top, 1 - top], axis=1)))
    assert scores["ece"] == pytest.approx((0.27 + 0.85) / 5)


def test_claims_worked_by_hand():
    """Two claims, one of them right, and two samples without a claim: precision 1/2, recall 1/4."""
    probabilities = [[0.9, 0.1, 0.0], [0.6, 0.2, 0.2], [0.4, 0.35, 0.25], [0.5, 0.5, 0.0]]
    scores = all_metrics(guessed("acab", probabilities), THRESHOLD_METRICS)
    assert scores == {"threshold_precision": 0.5, "threshold_recall": 0.25}
    unsure = all_metrics(guessed("a", [[1 / 3] * 3]), THRESHOLD_METRICS)
    assert unsure == {"threshold_precision": 0.0, "threshold_recall": 0.0}


def test_agrees_with_keras_on_one_hot_labels():
    rng = np.random.default_rng(0)
    probabilities, truth = rng.dirichlet([0.7] * 3, size=300), rng.integers(3, size=300)
    expected = []
    for metric in (keras.metrics.Precision(), keras.metrics.Recall()):
        metric.update_state(np.eye(3)[truth], probabilities)
        expected.append(float(metric.result()))
    scores = all_metrics(guessed("".join("abc"[index] for index in truth), probabilities), THRESHOLD_METRICS)
    assert list(scores.values()) == pytest.approx(expected, abs=1e-6)


def test_each_fold_and_seed_is_scored_on_its_own():
    table = frame("abababab", "abbaabaa", fold=[1, 1, 1, 1, 0, 0, 0, 0], seed=[0, 0, 3, 3, 0, 0, 0, 0])
    folds = metrics_by_fold(table)
    assert folds.columns.tolist() == ["fold", "seed", "n", *ALL_METRICS]
    assert folds[["fold", "seed", "n"]].to_numpy().tolist() == [[0, 0, 4], [1, 0, 2], [1, 3, 2]]
    for name in ("accuracy", "recall", "threshold_recall"):
        assert folds[name].tolist() == [0.75, 1.0, 0.0]
    assert folds["kappa"].tolist() == [0.5, 1.0, -1.0]
    assert folds["brier"].tolist() == [0.5, 0.0, 2.0]


@pytest.mark.parametrize(
    ("truth", "probabilities", "message"),
    [
        ("ax", [[0.5, 0.5], [0.5, 0.5]], r"columns=p_a, p_b, classes without a column=x, samples=2"),
        ("ab", [[2.0, -1.0], [0.5, 0.5]], r"in \[0, 1\]\. Received: values from -1\.0 to 2\.0"),
        ("ab", [[np.nan, 0.5], [0.5, 0.5]], r"in \[0, 1\]\. Received: values from nan"),
        ("", np.zeros((0, 2)), "samples=0"),
        ("a", np.zeros((1, 0)), r"Received: columns=none, classes without a column=a"),
    ],
)
def test_what_does_not_fit_is_refused(truth, probabilities, message):
    with pytest.raises(InputError, match=message):
        all_metrics(frame(truth, truth, probabilities))


def test_classes_worked_by_hand():
    """Fold 0, b b c against b c c: b 1, 1/2, 2/3 and c 1/2, 1, 2/3. Fold 1, b c against b b: b 1/2, 1, 2/3; c 0."""
    table = frame("bbcbc", "bccbb", fold=[0, 0, 0, 1, 1], seed=0, sample_id=list("12345")).assign(p_a=0.0)
    twice = pd.concat([table, table.assign(seed=1)])
    for predictions in (table, twice):  # an image counts once, whatever the number of seeds
        results = class_results(predictions).set_index("class")
        assert results.index.tolist() == ["b", "c", "a"]
        assert results.loc["b"].tolist() == pytest.approx([3 / 4, 3 / 4, 2 / 3, 3])
        assert results.loc["c"].tolist() == pytest.approx([1 / 4, 1 / 2, 1 / 3, 2])
        assert results.loc["a", ["precision", "recall", "f1"]].isna().all()
        assert results.loc["a", "support"] == 0


def test_classes_against_scikit_learn_and_their_mean_is_the_tables_macro_average():
    table = clustered(np.random.default_rng(3), folds=3, groups=20)
    folds = [fold for _, fold in table.groupby("fold")]
    each = [sk.precision_recall_fscore_support(fold["y_true"], fold["y_pred"], labels=CLASSES) for fold in folds]
    results = class_results(table)
    for place, name in enumerate(("precision", "recall", "f1")):
        np.testing.assert_allclose(results[name], np.mean([scores[place] for scores in each], axis=0))
        assert results[name].mean() == pytest.approx(metrics_by_fold(table)[name].mean())
    assert results["support"].tolist() == table["y_true"].value_counts()[list(CLASSES)].tolist()
