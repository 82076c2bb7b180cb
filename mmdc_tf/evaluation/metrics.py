"""The paper's four numbers, from predictions (paper, section III-A; macro averages are our reading)."""

from __future__ import annotations

import pandas as pd
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

METRICS = ("accuracy", "precision", "recall", "f1")


def paper_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """Accuracy and macro-averaged precision, recall and F1.

    Args:
        predictions: columns ``y_true`` and ``y_pred``.

    Returns:
        Fractions in [0, 1]. The macro average runs over the classes that occur in ``y_true`` or ``y_pred``; a class
        that is never predicted has precision 0.
    """
    truth, guess = predictions["y_true"], predictions["y_pred"]
    precision, recall, f1, _ = precision_recall_fscore_support(truth, guess, average="macro", zero_division=0.0)
    return {
        "accuracy": float(accuracy_score(truth, guess)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def metrics_by_fold(predictions: pd.DataFrame) -> pd.DataFrame:
    """``paper_metrics`` of each fold and seed: one line each, with ``n`` scored samples."""
    rows = [
        {"fold": fold, "seed": seed, "n": len(part), **paper_metrics(part)}
        for (fold, seed), part in predictions.groupby(["fold", "seed"], sort=True)
    ]
    return pd.DataFrame(rows)
