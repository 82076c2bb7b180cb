"""From a probability to a decision: temperature scaling, reliability bins, thresholds and decision curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.metrics import SMALLEST_PROBABILITY, log_losses, truth_and_probabilities
from mmdc_tf.evaluation.predictions import class_names

TEMPERATURES = (0.05, 100.0)
"""The range that a temperature is looked for in; a nearest neighbour's zeros and ones need more than 20."""
SENSITIVITY = 0.90
SHARES = ("sensitivity", "specificity", "ppv", "npv")
COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")


def fit_temperature(predictions: pd.DataFrame) -> float:
    """The temperature with the lowest negative log likelihood (Guo et al., On Calibration of Modern Neural Networks,
    ICML 2017, section 4.2).

    Args:
        predictions: of the part that it is fitted on: ``y_true`` and p_<class> for each class.

    Returns:
        T in ``TEMPERATURES``; above 1 where the probabilities were too sure. 1 where no T lowers the loss.

    Raises:
        InputError: the table does not fit, as in ``truth_and_probabilities``.
    """
    truth, probabilities = truth_and_probabilities(predictions)

    def loss(log_temperature: float) -> float:
        return float(log_losses(truth, apply_temperature(probabilities, float(np.exp(log_temperature)))).mean())

    # convex in 1 / T, so that there is one minimum
    best = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-9})
    is_better = best.fun < min(loss(0.0), float(log_losses(truth, probabilities).mean()))
    return float(np.exp(best.x)) if is_better else 1.0


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of the logarithms divided by the temperature: the order within a row, and so the guess, stays.

    Args:
        probabilities: float (n, classes) in [0, 1]; below ``SMALLEST_PROBABILITY`` they count as that.
        temperature: above 0; 1 changes nothing but sums that rounding has left beside 1.

    Returns:
        float64 (n, classes); each row sums to 1.

    Raises:
        InputError: the temperature is not above 0.
    """
    if not temperature > 0.0:
        raise InputError(f"Expected a temperature above 0. Received: temperature={temperature}. Fit it again.")
    logarithms = np.log(np.clip(np.asarray(probabilities, dtype=float), SMALLEST_PROBABILITY, 1.0))
    return softmax(logarithms / temperature, axis=1)


def with_temperature(predictions: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """The same predictions table with calibrated probabilities; ``y_pred`` stays.

    Raises:
        InputError: the table does not fit, as in ``truth_and_probabilities``, or the temperature is not above 0.
    """
    _, probabilities = truth_and_probabilities(predictions)
    calibrated = predictions.copy()
    calibrated[[f"p_{name}" for name in class_names(predictions)]] = apply_temperature(probabilities, temperature)
    return calibrated


def threshold_at_sensitivity(y_positive: np.ndarray, p_positive: np.ndarray, sensitivity: float = SENSITIVITY) -> float:
    """The highest threshold that finds at least this share of the positives; found is a probability at or above it.

    Args:
        y_positive: bool (n,): which samples are of the positive class.
        p_positive: float (n,) in [0, 1]: its probability.
        sensitivity: asked for, in (0, 1].

    Raises:
        InputError: no sample is positive, or the sensitivity is out of range.
    """
    if not 0.0 < sensitivity <= 1.0:
        raise InputError(
            f"Expected a sensitivity above 0 and at most 1. Received: sensitivity={sensitivity}. Correct it, e.g. 0.9."
        )
    positives = np.sort(np.asarray(p_positive, dtype=float)[np.asarray(y_positive, dtype=bool)])[::-1]
    if not len(positives):
        raise InputError(
            f"Expected at least one positive sample. Received: none of {len(y_positive)}. "
            "Choose a part of the data that has some."
        )
    reached = np.arange(1, len(positives) + 1) / len(positives)
    return float(positives[np.searchsorted(reached, sensitivity)])


def outcomes(y_positive: np.ndarray, called: np.ndarray) -> dict[str, int | float | None]:
    """What a decision leads to.

    Args:
        y_positive: bool (n,): which samples are of the positive class.
        called: bool (n,): which samples are called positive.

    Returns:
        ``COUNTS``, and ``SHARES`` as fractions in [0, 1]; None where a share has no denominator (nothing called
        positive has no PPV).
    """
    truth, called = np.asarray(y_positive, dtype=bool), np.asarray(called, dtype=bool)
    found, alarms = int((truth & called).sum()), int((~truth & called).sum())
    missed, cleared = int((truth & ~called).sum()), int((~truth & ~called).sum())
    pairs = ((found, missed), (cleared, alarms), (found, alarms), (cleared, missed))
    shares = [right / (right + wrong) if right + wrong else None for right, wrong in pairs]
    counts = (found, alarms, missed, cleared)
    return {**dict(zip(COUNTS, counts, strict=True)), **dict(zip(SHARES, shares, strict=True))}


def decision_curve(y_positive: np.ndarray, p_positive: np.ndarray) -> pd.DataFrame:
    """Net benefit over threshold probabilities (Vickers and Elkin, Medical Decision Making 26, 2006).

    A threshold probability t says how many false alarms a found case is worth: (1 − t) / t. The net benefit is
    TP / n − FP / n · t / (1 − t), true positives per sample.

    Args:
        y_positive: bool (n,): which samples are of the positive class, at least one sample.
        p_positive: float (n,) in [0, 1]: its calibrated probability.

    Returns:
        One line a ``threshold``, 0.01 to 0.99 in steps of 0.01, with the net benefit of the ``model`` (positive at or
        above it), of ``treat_all`` and of ``treat_none`` (0).
    """
    steps, truth = np.arange(1, 100) / 100, np.asarray(y_positive, dtype=bool)
    odds = steps / (1.0 - steps)
    called = np.asarray(p_positive, dtype=float)[:, None] >= steps
    found, alarms = (called & truth[:, None]).mean(axis=0), (called & ~truth[:, None]).mean(axis=0)
    benefits = {"model": found - alarms * odds, "treat_all": truth.mean() - (~truth).mean() * odds}
    return pd.DataFrame({"threshold": steps, **benefits, "treat_none": 0.0})
