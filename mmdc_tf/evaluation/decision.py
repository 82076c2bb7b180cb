"""From a probability to a decision: the malignant class against the rest, at a threshold."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmdc_tf.errors import InputError

SENSITIVITY = 0.90
SHARES = ("sensitivity", "specificity", "ppv", "npv")
COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")


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
        ``COUNTS``, and ``SHARES`` as fractions in [0, 1]: sensitivity, specificity, positive and negative predictive
        value; None where a share has no denominator (nothing called positive has no PPV).
    """
    truth, called = np.asarray(y_positive, dtype=bool), np.asarray(called, dtype=bool)
    found, alarms = int((truth & called).sum()), int((~truth & called).sum())
    missed, cleared = int((truth & ~called).sum()), int((~truth & ~called).sum())
    pairs = ((found, missed), (cleared, alarms), (found, alarms), (cleared, missed))
    shares = [right / (right + wrong) if right + wrong else None for right, wrong in pairs]
    counts = (found, alarms, missed, cleared)
    return {**dict(zip(COUNTS, counts, strict=True)), **dict(zip(SHARES, shares, strict=True))}


def decision_curve(
    y_positive: np.ndarray, p_positive: np.ndarray, thresholds: np.ndarray | None = None
) -> pd.DataFrame:
    """Net benefit over threshold probabilities (Vickers and Elkin, Medical Decision Making 26, 2006).

    A threshold probability t says how many false alarms a found case is worth: (1 − t) / t. The net benefit is
    TP / n − FP / n · t / (1 − t), true positives per sample.

    Args:
        y_positive: bool (n,): which samples are of the positive class.
        p_positive: float (n,) in [0, 1]: its calibrated probability.
        thresholds: float (k,) in [0, 1); by default 0.01 to 0.99 in steps of 0.01.

    Returns:
        One line a threshold: ``threshold``, and the net benefit of the ``model`` (positive at or above it), of
        ``treat_all`` and of ``treat_none`` (0).

    Raises:
        InputError: there is no sample, or a threshold out of range.
    """
    steps = np.arange(1, 100) / 100 if thresholds is None else np.asarray(thresholds, dtype=float)
    truth = np.asarray(y_positive, dtype=bool)
    _require_curve(truth, steps)
    odds = steps / (1.0 - steps)
    called = np.asarray(p_positive, dtype=float)[:, None] >= steps
    found, alarms = (called & truth[:, None]).mean(axis=0), (called & ~truth[:, None]).mean(axis=0)
    share = truth.mean()
    return pd.DataFrame(
        {
            "threshold": steps,
            "model": found - alarms * odds,
            "treat_all": share - (1.0 - share) * odds,
            "treat_none": np.zeros_like(steps),
        }
    )


def _require_curve(truth: np.ndarray, thresholds: np.ndarray) -> None:
    if not len(truth):
        raise InputError("Expected at least one sample. Received: none. Train a fold first.")
    outside = thresholds[~((thresholds >= 0.0) & (thresholds < 1.0))]
    if len(outside):
        raise InputError(
            f"Expected thresholds of at least 0 and below 1. Received: thresholds={outside[0]}. Leave it out."
        )
