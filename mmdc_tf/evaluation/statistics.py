"""How sure a number is: intervals by bootstrap over groups."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.metrics import METRICS

RESAMPLES = 2000


def metric_intervals(
    predictions: pd.DataFrame, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of the paper's four numbers, drawing whole groups with replacement.

    Images of one patient (or near-twins) are not independent; drawing images would give intervals that are too
    narrow (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13). All folds and seeds of
    a group are drawn together.

    Args:
        predictions: columns ``group_id``, ``y_true``, ``y_pred``.
        level: coverage, in (0, 1).
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        Lower and upper limit of ``accuracy``, ``precision``, ``recall`` and ``f1`` (macro averages, as in
        ``paper_metrics``), fractions in [0, 1].

    Raises:
        InputError: there is no prediction.
    """
    if predictions.empty:
        raise InputError("Expected at least one prediction. Received: an empty table. Train a fold first.")
    counts = _confusions(predictions)
    rng, groups = np.random.default_rng(seed), len(counts)
    flat = counts.reshape(groups, -1)
    # how often each group is drawn, one draw at a time: a table of all draws would not fit for 100,000 groups
    sums = [np.bincount(rng.integers(groups, size=groups), minlength=groups) @ flat for _ in range(resamples)]
    drawn = _macro_metrics(np.stack(sums).reshape(-1, *counts.shape[1:]))
    tail = (1.0 - level) / 2.0
    limits = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
    return {name: (float(low), float(high)) for name, low, high in zip(METRICS, *limits, strict=True)}


def _confusions(predictions: pd.DataFrame) -> np.ndarray:
    """Confusion matrices (groups, classes, classes), truth by guess."""
    names, codes = np.unique(predictions[["y_true", "y_pred"]].to_numpy(dtype=str), return_inverse=True)
    truth, guess = codes.reshape(-1, 2).T
    groups, index = np.unique(predictions["group_id"].to_numpy(dtype=str), return_inverse=True)
    counts = np.zeros((len(groups), len(names), len(names)))
    np.add.at(counts, (index, truth, guess), 1.0)
    return counts


def _macro_metrics(counts: np.ndarray) -> np.ndarray:
    """(n, classes, classes) → (n, 4) in the order of ``METRICS``; the average runs over the classes that occur."""
    right = np.diagonal(counts, axis1=1, axis2=2)
    true, claimed = counts.sum(axis=2), counts.sum(axis=1)
    precision = _share(right, claimed)
    recall = _share(right, true)
    f1 = _share(2.0 * right, true + claimed)
    occurs = (true + claimed) > 0
    macro = [(values * occurs).sum(axis=1) / occurs.sum(axis=1) for values in (precision, recall, f1)]
    return np.stack([right.sum(axis=1) / true.sum(axis=1), *macro], axis=1)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """0 where there is nothing to share, as in ``paper_metrics``."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
