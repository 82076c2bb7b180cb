"""Temperatures, thresholds and decision curves: against scikit-learn and SciPy, and worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.metrics import confusion_matrix, log_loss, precision_score, recall_score, roc_curve

from mmdc_tf.datasets.values import positive_class
from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.calibration import (
    TEMPERATURES,
    apply_temperature,
    decision_curve,
    fit_temperature,
    outcomes,
    threshold_at_sensitivity,
    with_temperature,
)

CLASSES = ("benign", "malignant", "normal")
COLUMNS = [f"p_{name}" for name in CLASSES]


def table(truth: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    names = np.asarray(CLASSES, dtype=object)
    facts = pd.DataFrame({"y_true": names[truth], "y_pred": names[probabilities.argmax(axis=1)]})
    return facts.assign(**dict(zip(COLUMNS, probabilities.T, strict=True)))


def drawn(size: int, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels from softmax(logits / T); the model says softmax(logits): T is the temperature that it lacks."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2.5, (size, 3))
    honest = softmax(logits / temperature, axis=1)
    truth = (rng.random((size, 1)) > honest.cumsum(axis=1)).sum(axis=1)
    return truth, softmax(logits, axis=1)


def loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    return log_loss(truth, probabilities / probabilities.sum(axis=1, keepdims=True), labels=range(3))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5, 6.0])
def test_a_known_temperature_is_found(temperature):
    found = fit_temperature(table(*drawn(40_000, temperature, seed=1)))
    assert found == pytest.approx(temperature, rel=0.03)


@pytest.mark.parametrize("temperature", [0.5, 1.7, 4.0])
def test_it_agrees_with_another_optimiser(temperature):
    truth, probabilities = drawn(400, temperature, seed=2)

    def objective(inverse: np.ndarray) -> float:
        return -log_softmax(inverse[0] * np.log(probabilities), axis=1)[np.arange(len(truth)), truth].mean()

    best = minimize(objective, x0=[1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14})
    assert fit_temperature(table(truth, probabilities)) == pytest.approx(1 / best.x[0], rel=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_the_loss_of_the_fitted_part_does_not_rise_and_no_guess_changes(seed):
    """Small parts, with labels that need not follow the probabilities, and probabilities of 0 and 1."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.05, 0.3, 0.3], size=rng.integers(3, 40)).astype("float32").astype(float)
    part = table(rng.integers(3, size=len(probabilities)), probabilities)
    after = with_temperature(part, fit_temperature(part))
    truth = pd.Index(CLASSES).get_indexer(part["y_true"])
    assert loss(truth, after[COLUMNS].to_numpy()) <= loss(truth, probabilities) + 1e-6
    guesses = np.asarray(CLASSES)[after[COLUMNS].to_numpy().argmax(axis=1)]
    assert guesses.tolist() == after["y_pred"].tolist() == part["y_pred"].tolist()
    np.testing.assert_allclose(after[COLUMNS].sum(axis=1), 1.0, atol=1e-12)


def test_temperatures_at_their_limits():
    """All right: ever sharper would be ever better. All wrong: ever flatter. Even probabilities stay even."""
    sure = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    assert TEMPERATURES[0] <= fit_temperature(table(np.array([0, 1]), sure)) < 0.1  # where rounding ends the gain
    assert fit_temperature(table(np.array([1, 2]), sure)) == pytest.approx(TEMPERATURES[1], rel=1e-3)
    assert fit_temperature(table(np.array([0, 1, 2, 1]), np.full((4, 3), 1 / 3))) == 1.0


def test_temperatures_worked_by_hand():
    """At T = 2 the square roots, at T = 0.5 the squares, each divided by their sum."""
    row = np.array([[0.64, 0.32, 0.04]])
    roots, squares = np.array([0.8, 0.5656854, 0.2]), np.array([0.4096, 0.1024, 0.0016])
    np.testing.assert_allclose(apply_temperature(row, 2.0)[0], roots / roots.sum(), atol=1e-7)
    np.testing.assert_allclose(apply_temperature(row, 0.5)[0], squares / squares.sum(), atol=1e-12)
    np.testing.assert_allclose(apply_temperature(row, 1.0), row, atol=1e-15)


def two_classes(seed: int, decimals: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A third of 80 positive; with few decimals many probabilities are equal."""
    rng = np.random.default_rng(seed)
    truth = rng.random(80) < 0.33
    truth[:2] = True, False
    probability = np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1)
    return truth, probability if decimals is None else probability.round(decimals)


def test_the_class_that_must_not_be_missed():
    assert positive_class(("benign", "malignant", "normal")) == "malignant"
    assert positive_class(("normal", "benign", "cancer")) == "cancer"
    assert positive_class(("cat", "dog")) is None
    assert positive_class(("cancer", "malignant")) is None  # which of them is not ours to say


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("sensitivity", [0.07, 0.5, 0.9, 1.0])
def test_the_threshold_is_the_highest_that_roc_curve_allows(sensitivity, decimals):
    for seed in range(4):
        truth, probability = two_classes(seed, decimals)
        _, reached, thresholds = roc_curve(truth, probability, drop_intermediate=False)
        threshold = threshold_at_sensitivity(truth, probability, sensitivity)
        assert threshold == thresholds[reached >= sensitivity][0]
        assert recall_score(truth, probability >= threshold) >= sensitivity
        assert recall_score(truth, probability >= np.nextafter(threshold, 2)) < sensitivity


def test_outcomes_agree_with_scikit_learn():
    truth, probability = two_classes(0)
    called = probability >= 0.5
    found = outcomes(truth, called)
    names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert [found[name] for name in names] == confusion_matrix(truth, called).ravel().tolist()
    assert found["sensitivity"] == recall_score(truth, called)
    assert found["specificity"] == recall_score(~truth, ~called)
    assert found["ppv"] == precision_score(truth, called)
    assert found["npv"] == precision_score(~truth, ~called)


def test_a_share_of_nothing_is_none():
    truth = np.array([True, False, False])
    nothing, everything = outcomes(truth, np.zeros(3, dtype=bool)), outcomes(truth, np.ones(3, dtype=bool))
    assert (nothing["ppv"], nothing["sensitivity"], nothing["specificity"]) == (None, 0.0, 1.0)
    assert (everything["npv"], everything["sensitivity"], everything["specificity"]) == (None, 1.0, 0.0)
    assert outcomes(np.zeros(2, dtype=bool), np.ones(2, dtype=bool))["sensitivity"] is None


def test_net_benefit_worked_by_hand():
    """Ten samples, four positive. At 0.2: 4 found, 2 alarms: 0.4 − 0.2 · 0.25. At 0.5: 2 found, 1 alarm: 0.2 − 0.1."""
    probability = np.array([0.9, 0.7, 0.4, 0.2, 0.6, 0.3, 0.1, 0.1, 0.1, 0.0])
    whole = decision_curve(np.arange(10) < 4, probability).set_index("threshold")
    np.testing.assert_allclose(whole.index, np.linspace(0.01, 0.99, 99))
    curve = whole.loc[[0.2, 0.5, 0.8]]
    np.testing.assert_allclose(curve["model"], [0.35, 0.1, 0.1])
    np.testing.assert_allclose(curve["treat_all"], [0.25, -0.2, -2.0])
    assert curve["treat_none"].tolist() == [0.0] * 3


EVEN, TWO = np.full((2, 3), 1 / 3), two_classes(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: apply_temperature(EVEN, 0.0), r"above 0\. Received: temperature=0"),
        (lambda: apply_temperature(EVEN, float("nan")), r"above 0\. Received: temperature=nan"),
        (lambda: fit_temperature(table(np.array([0, 1]), EVEN).head(0)), "at least one sample"),
        (lambda: fit_temperature(table(np.array([0, 1]), EVEN).assign(y_true="cyst")), "cyst"),
        (lambda: threshold_at_sensitivity(*TWO, 0.0), r"Received: sensitivity=0"),
        (lambda: threshold_at_sensitivity(*TWO, float("nan")), r"Received: sensitivity=nan"),
        (lambda: threshold_at_sensitivity(np.zeros(3, bool), np.ones(3)), r"one positive sample\. Received: none of 3"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
