"""Temperature scaling: it changes no guess, raises no loss that it is fitted on, and finds a known temperature."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, log_loss

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.calibration import (
    TEMPERATURES,
    apply_temperature,
    fit_temperature,
    reliability_bins,
    with_temperature,
)
from mmdc_tf.evaluation.probability_metrics import probability_metrics

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


class Stored(ClassifierMixin, BaseEstimator):
    """Gives its input back as its probabilities: a trained network whose predictions were written to a file."""

    def fit(self, X, y):
        self.classes_ = np.arange(3)
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.7, 4.0])
def test_it_agrees_with_scikit_learn(temperature):
    truth, probabilities = drawn(400, temperature, seed=2)
    stored = Stored().fit(probabilities, truth)
    oracle = CalibratedClassifierCV(FrozenEstimator(stored), method="temperature").fit(probabilities, truth)
    found = fit_temperature(table(truth, probabilities))
    other = drawn(50, temperature, seed=3)[1]
    np.testing.assert_allclose(apply_temperature(other, found), oracle.predict_proba(other), atol=1e-5)


def test_it_agrees_with_another_optimiser_on_the_inverse():
    truth, probabilities = drawn(300, 2.0, seed=4)
    logarithms = np.log(probabilities)

    def objective(inverse: np.ndarray) -> float:
        return -log_softmax(inverse[0] * logarithms, axis=1)[np.arange(len(truth)), truth].mean()

    best = minimize(objective, x0=[1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14})
    assert fit_temperature(table(truth, probabilities)) == pytest.approx(1 / best.x[0], rel=1e-5)


@pytest.mark.parametrize("seed", range(20))
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
    assert accuracy_score(part["y_true"], guesses) == accuracy_score(part["y_true"], part["y_pred"])
    np.testing.assert_allclose(after[COLUMNS].sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_too_sure_a_network_gains(seed):
    truth, probabilities = drawn(150, 3.0, seed)
    part = table(truth, probabilities)
    temperature = fit_temperature(part)
    assert temperature > 1.5
    assert loss(truth, with_temperature(part, temperature)[COLUMNS].to_numpy()) < loss(truth, probabilities) - 0.05


def test_where_nothing_can_be_gained_the_temperature_is_one():
    """Even probabilities stay even, whatever the temperature."""
    assert fit_temperature(table(np.array([0, 1, 2, 1]), np.full((4, 3), 1 / 3))) == 1.0


def test_the_temperature_stays_in_its_range():
    """All right: ever sharper would be ever better. All wrong: ever flatter."""
    sure = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    assert TEMPERATURES[0] <= fit_temperature(table(np.array([0, 1]), sure)) < 0.1  # where rounding ends the gain
    assert fit_temperature(table(np.array([1, 2]), sure)) == pytest.approx(TEMPERATURES[1], rel=1e-3)


def test_a_nearest_neighbours_zeros_and_ones_come_to_its_accuracy():
    """Six of ten right: the best constant confidence is 0.6 (the derivative of the binomial likelihood)."""
    guesses = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    truth = np.where(np.arange(10) < 6, guesses, (guesses + 1) % 3)
    part = table(truth, np.eye(3)[guesses])
    after = with_temperature(part, fit_temperature(part))
    np.testing.assert_allclose(after[COLUMNS].max(axis=1), 0.6, atol=1e-4)


def test_temperatures_worked_by_hand():
    """At T = 2 the square roots, at T = 0.5 the squares, each divided by their sum."""
    row = np.array([[0.64, 0.32, 0.04]])
    roots, squares = np.array([0.8, 0.5656854, 0.2]), np.array([0.4096, 0.1024, 0.0016])
    np.testing.assert_allclose(apply_temperature(row, 2.0)[0], roots / roots.sum(), atol=1e-7)
    np.testing.assert_allclose(apply_temperature(row, 0.5)[0], squares / squares.sum(), atol=1e-12)
    np.testing.assert_allclose(apply_temperature(row, 1.0), row, atol=1e-15)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(InputError, match=r"above 0\. Received: temperature="):
        apply_temperature(np.full((1, 3), 1 / 3), temperature)


def test_nothing_to_fit_on_and_an_unknown_class_are_refused():
    part = table(np.array([0, 1]), np.full((2, 3), 1 / 3))
    with pytest.raises(InputError, match="at least one sample"):
        fit_temperature(part.head(0))
    with pytest.raises(InputError, match="cyst"):
        fit_temperature(part.assign(y_true="cyst"))


def test_bins_worked_by_hand():
    """Four bins: 0.5 belongs to (0.25, 0.5], 0.6 and 0.7 to (0.5, 0.75], 1.0 to the last."""
    probabilities = np.array([[0.5, 0.3, 0.2], [0.6, 0.2, 0.2], [0.2, 0.7, 0.1], [0.0, 0.0, 1.0]])
    bins = reliability_bins(table(np.array([0, 1, 1, 0]), probabilities), bins=4)
    assert bins["low"].tolist() == [0.0, 0.25, 0.5, 0.75]
    assert bins["high"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert bins["n"].tolist() == [0, 1, 2, 1]
    np.testing.assert_allclose(bins["confidence"], [np.nan, 0.5, 0.65, 1.0])
    np.testing.assert_allclose(bins["accuracy"], [np.nan, 1.0, 0.5, 0.0], atol=1e-12)


def test_the_calibration_error_is_the_bins_weighted_gap():
    """Guo et al. 2017, equation 3; against pandas' own bins, open on the left like these."""
    part = table(*drawn(500, 2.0, seed=5))
    bins = reliability_bins(part).dropna()
    gap = (bins["n"] * (bins["confidence"] - bins["accuracy"]).abs()).sum() / 500
    assert gap == pytest.approx(probability_metrics(part)["ece"], abs=1e-12)
    cut = pd.cut(part[COLUMNS].max(axis=1), np.linspace(0, 1, 16))
    by_pandas = (part["y_true"] == part["y_pred"]).groupby(cut, observed=True).agg(["size", "mean"])
    assert bins["n"].tolist() == by_pandas["size"].tolist()
    np.testing.assert_allclose(bins["accuracy"], by_pandas["mean"], atol=1e-12)
