"""How sure a number is: intervals by bootstrap over groups."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmdc_tf.errors import InputError

RESAMPLES = 2000


def accuracy_interval(
    predictions: pd.DataFrame, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the accuracy, drawing whole groups with replacement.

    Images of one patient (or near-twins) are not independent; drawing images would give intervals that are too
    narrow (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13). All folds and seeds of
    a group are drawn together.

    Args:
        predictions: columns ``group_id``, ``y_true``, ``y_pred``.
        level: coverage, in (0, 1).
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        Lower and upper limit, fractions in [0, 1].

    Raises:
        InputError: there is no prediction.
    """
    if predictions.empty:
        raise InputError("Expected at least one prediction. Received: an empty table. Train a fold first.")
    hits = (predictions["y_true"] == predictions["y_pred"]).groupby(predictions["group_id"])
    correct, total = hits.sum().to_numpy(dtype=float), hits.count().to_numpy(dtype=float)
    draws = np.random.default_rng(seed).integers(len(total), size=(resamples, len(total)))
    accuracies = correct[draws].sum(axis=1) / total[draws].sum(axis=1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(accuracies, [tail, 1.0 - tail])
    return float(low), float(high)
