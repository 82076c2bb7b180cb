"""Numbers from predicted probabilities: how well they order the samples, and whether they mean what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.predictions import class_names

PROBABILITY_METRICS = ("auc", "brier", "ece", "nll")
BINS = 15
SMALLEST_PROBABILITY = float(np.finfo("float64").eps)  # what counts as 0, as in scikit-learn's log_loss


def probability_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """AUC, Brier score, calibration error and negative log likelihood.

    Args:
        predictions: columns ``y_true`` and p_<class> for each class.

    Returns:
        ``auc``: area under the ROC curve of each class against the rest, mean over the classes that have samples on
            both sides, in [0, 1], ties count one half; NaN where all samples are of one class.
        ``brier``: squared error summed over the classes, mean over samples, in [0, 2]: twice what is printed where
            two classes are scored by one probability (Brier, Monthly Weather Review 78, 1950).
        ``ece``: expected calibration error in [0, 1], as in ``expected_calibration_error``.
        ``nll``: mean negative natural logarithm of the true class's probability, at least 0; a probability of 0 counts
            as 2.2e-16, as in scikit-learn, so that the mean stays finite.

    Raises:
        InputError: there is no sample, a true class has no column, or a probability is not in [0, 1].
    """
    truth, probabilities = truth_and_probabilities(predictions)
    samples = np.arange(len(truth))
    squared = squared_errors(truth, probabilities)
    return {
        "auc": _one_against_rest_auc(truth, probabilities),
        "brier": float(squared.mean()),
        "ece": expected_calibration_error(truth, probabilities),
        "nll": float(log_losses(probabilities[samples, truth]).mean()),
    }


def truth_and_probabilities(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """True classes as numbers, and the probabilities.

    Args:
        predictions: columns ``y_true`` and p_<class> for each class.

    Returns:
        int (n,), the index of the true class among the p_ columns, and float64 (n, classes).

    Raises:
        InputError: there is no sample, a true class has no column, or a probability is not in [0, 1].
    """
    names = class_names(predictions)
    columns = [f"p_{name}" for name in names]
    probabilities = predictions[columns].to_numpy(dtype="float64")
    truth = pd.Index(names).get_indexer(pd.Index(predictions["y_true"].astype(str)))
    if not len(truth) or (truth < 0).any():
        unknown = sorted(set(predictions["y_true"].astype(str)[truth < 0]))
        raise InputError(
            f"Expected at least one sample and a column p_<class> for every true class. Received: columns="
            f"{', '.join(columns) or 'none'}, classes without a column={', '.join(unknown) or 'none'}, "
            f"samples={len(truth)}. Train this fold again."
        )
    if not ((probabilities >= 0.0) & (probabilities <= 1.0)).all():
        raise InputError(
            f"Expected probabilities in [0, 1]. Received: values from {probabilities.min()} to {probabilities.max()}. "
            "Give class probabilities, not logits or per cent."
        )
    return truth, probabilities


def squared_errors(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(n,) in [0, 2]: each sample's squared distance from its one-hot label, summed over the classes."""
    return ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)


def log_losses(probability_of_truth: np.ndarray) -> np.ndarray:
    """(n,): negative natural logarithms; 0 counts as the smallest step above 0 that a sum with 1 shows."""
    return -np.log(np.clip(probability_of_truth, SMALLEST_PROBABILITY, 1.0))


def expected_calibration_error(truth: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """How far the top probability is from the accuracy, on average.

    Equal-width bins of the top probability, each open on the left; the gap between mean top probability and accuracy
    of each bin, weighted by its share of the samples (Guo et al., On Calibration of Modern Neural Networks, ICML
    2017, equation 3). With few samples it is above 0 even for a perfectly calibrated model.

    Args:
        truth: int (n,), index of the true class.
        probabilities: float (n, classes) in [0, 1].
        bins: their number.

    Returns:
        A fraction in [0, 1].
    """
    index, gaps = confidence_gaps(truth, probabilities, bins)
    return float(np.abs(np.bincount(index, gaps, bins)).sum() / len(truth))


def confidence_gaps(truth: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Each sample's bin of the top probability (int (n,), 0 … bins - 1), and top probability minus hit, in [-1, 1].

    A hit is 1 where the class of the top probability, the first of equal ones, is the true one. Arguments as for
    ``expected_calibration_error``.
    """
    top = probabilities.max(axis=1)
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.maximum(np.digitize(top, edges, right=True) - 1, 0)
    return index, top - (probabilities.argmax(axis=1) == truth)


def _one_against_rest_auc(truth: np.ndarray, probabilities: np.ndarray) -> float:
    present = np.unique(truth)
    if len(present) == 1:
        return float("nan")
    return float(np.mean([roc_auc_score(truth == index, probabilities[:, index]) for index in present]))
