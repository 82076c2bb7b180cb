"""The paper's four numbers, from predictions (paper, section III-A; macro averages are our reading)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

METRICS = ("accuracy", "precision", "recall", "f1")
THRESHOLD_METRICS = ("threshold_precision", "threshold_recall")


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


def threshold_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """Precision and recall as ``keras.metrics.Precision`` and ``Recall`` give them on one-hot labels.

    Every probability above one half is a claim, whatever the class: a sample may have no claim at all. So recall falls
    and precision rises where a network is unsure; the published 93.93 and 26.26 of Marroquín and Cáceres 2024 [20]
    (BRINT + ResNet50) are read in this way.

    Args:
        predictions: columns ``y_true`` and p_<class> for each class.

    Returns:
        ``threshold_precision``, 0 where nothing is claimed, and ``threshold_recall``; fractions in [0, 1].
    """
    classes = [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]
    claims = predictions[[f"p_{name}" for name in classes]].to_numpy(dtype=float) > 0.5
    truth = predictions["y_true"].to_numpy()[:, None] == np.asarray(classes, dtype=object)
    right = float((claims & truth).sum())
    return {
        "threshold_precision": right / float(claims.sum()) if claims.any() else 0.0,
        "threshold_recall": right / len(predictions),
    }


def metrics_by_fold(predictions: pd.DataFrame) -> pd.DataFrame:
    """``paper_metrics`` and ``threshold_metrics`` of each fold and seed: one line each, with ``n`` scored samples."""
    rows = [
        {"fold": fold, "seed": seed, "n": len(part), **paper_metrics(part), **threshold_metrics(part)}
        for (fold, seed), part in predictions.groupby(["fold", "seed"], sort=True)
    ]
    return pd.DataFrame(rows)
