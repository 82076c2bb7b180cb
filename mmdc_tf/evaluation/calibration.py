"""Whether a probability means what it says: temperature scaling, and the bins of a reliability diagram."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.predictions import class_names
from mmdc_tf.evaluation.probability_metrics import (
    BINS,
    SMALLEST_PROBABILITY,
    confidence_gaps,
    log_losses,
    truth_and_probabilities,
)

TEMPERATURES = (0.05, 100.0)
"""The range that a temperature is looked for in; a nearest neighbour's zeros and ones need more than 20."""


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
        return _loss(truth, apply_temperature(probabilities, float(np.exp(log_temperature))))

    # convex in 1 / T, so that there is one minimum
    best = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-9})
    is_better = best.fun < min(loss(0.0), _loss(truth, probabilities))
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
    if not temperature > 0:
        raise InputError(f"Expected a temperature above 0. Received: temperature={temperature}. Fit it again.")
    logarithms = np.log(np.clip(np.asarray(probabilities, dtype=float), SMALLEST_PROBABILITY, 1.0))
    return softmax(logarithms / temperature, axis=1)


def with_temperature(predictions: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """The same predictions table with calibrated probabilities; ``y_pred`` stays.

    Args:
        predictions: ``y_true`` and p_<class> for each class, and any other columns.
        temperature: as from ``fit_temperature``.

    Raises:
        InputError: the table does not fit, as in ``truth_and_probabilities``, or the temperature is not above 0.
    """
    _, probabilities = truth_and_probabilities(predictions)
    calibrated = predictions.copy()
    calibrated[[f"p_{name}" for name in class_names(predictions)]] = apply_temperature(probabilities, temperature)
    return calibrated


def reliability_bins(predictions: pd.DataFrame, bins: int = BINS) -> pd.DataFrame:
    """How often a guess is right, by how sure it is: the bins that the expected calibration error is made of.

    Args:
        predictions: ``y_true`` and p_<class> for each class.
        bins: their number; of equal width, a bin holds its upper edge and not its lower one (Guo et al. 2017).

    Returns:
        One line a bin: ``low`` and ``high`` edge, ``n`` predictions, mean ``confidence`` (the highest probability) and
        ``accuracy``, fractions in [0, 1], NaN in an empty bin.

    Raises:
        InputError: the table does not fit, as in ``truth_and_probabilities``.
    """
    truth, probabilities = truth_and_probabilities(predictions)
    index, gaps = confidence_gaps(truth, probabilities, bins)
    confidence = probabilities.max(axis=1)
    edges, counts = np.linspace(0.0, 1.0, bins + 1), np.bincount(index, minlength=bins)
    means = {
        name: np.divide(np.bincount(index, values, bins), counts, out=np.full(bins, np.nan), where=counts > 0)
        for name, values in (("confidence", confidence), ("accuracy", confidence - gaps))
    }
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": counts, **means})


def _loss(truth: np.ndarray, probabilities: np.ndarray) -> float:
    return float(log_losses(probabilities[np.arange(len(truth)), truth]).mean())
