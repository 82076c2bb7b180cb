"""Numbers from predicted classes: the paper's four (section III-A; macro averages are our reading), and agreement.

``mmdc_tf.evaluation.probability_metrics`` has those from predicted probabilities.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, cohen_kappa_score, precision_recall_fscore_support, recall_score

from mmdc_tf.evaluation.predictions import class_names
from mmdc_tf.evaluation.probability_metrics import probability_metrics

METRICS = ("accuracy", "precision", "recall", "f1")
AGREEMENT_METRICS = ("balanced_accuracy", "kappa")
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


def agreement_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """Balanced accuracy and Cohen's kappa, which guessing the most frequent class does not raise.

    Args:
        predictions: columns ``y_true`` and ``y_pred``.

    Returns:
        ``balanced_accuracy``: the mean recall of the classes that occur in ``y_true``, in [0, 1]; the macro recall of
        ``paper_metrics`` also counts, with 0, a class that is predicted and never true.
        ``kappa``: agreement beyond chance, in [-1, 1], unweighted (Cohen, Educational and Psychological Measurement
        20, 1960); NaN where all samples are of one class and predicted so.
    """
    truth, guess = predictions["y_true"].to_numpy(dtype=str), predictions["y_pred"].to_numpy(dtype=str)
    known = np.unique(truth)
    balanced = recall_score(truth, guess, labels=known, average="macro", zero_division=0.0)
    is_one_class = len(np.union1d(known, guess)) == 1
    kappa = np.nan if is_one_class else float(cohen_kappa_score(truth, guess))
    return {"balanced_accuracy": float(balanced), "kappa": kappa}


def class_metrics(predictions: pd.DataFrame) -> pd.DataFrame:
    """Precision and recall of each class against the rest.

    Args:
        predictions: columns ``y_true``, ``y_pred`` and p_<class> for each class, which give the order.

    Returns:
        One line a class: ``class``, ``n_true`` and ``n_predicted`` (samples), ``precision`` and ``recall``, fractions
        in [0, 1]. Precision is NaN for a class that is never predicted (``paper_metrics`` counts it as 0 in the mean),
        recall for a class that is never true.
    """
    truth, guess = predictions["y_true"].to_numpy(dtype=str), predictions["y_pred"].to_numpy(dtype=str)
    classes = class_names(predictions)
    precision, recall, _, n_true = precision_recall_fscore_support(
        truth, guess, labels=classes, average=None, zero_division=np.nan
    )
    n_predicted = [int((guess == name).sum()) for name in classes]
    return pd.DataFrame(
        {"class": classes, "n_true": n_true, "n_predicted": n_predicted, "precision": precision, "recall": recall}
    )


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
    classes = class_names(predictions)
    claims = predictions[[f"p_{name}" for name in classes]].to_numpy(dtype=float) > 0.5
    truth = predictions["y_true"].to_numpy()[:, None] == np.asarray(classes, dtype=object)
    right = float((claims & truth).sum())
    return {
        "threshold_precision": right / float(claims.sum()) if claims.any() else 0.0,
        "threshold_recall": right / len(predictions),
    }


def all_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """Every number that is one value for a table: of the four functions of classes and probabilities.

    Args:
        predictions: columns ``y_true``, ``y_pred`` and p_<class> for each class.

    Returns:
        As in ``paper_metrics``, ``threshold_metrics``, ``agreement_metrics`` and ``probability_metrics``.

    Raises:
        InputError: the probabilities do not fit, as in ``probability_metrics``.
    """
    return {
        **paper_metrics(predictions),
        **threshold_metrics(predictions),
        **agreement_metrics(predictions),
        **probability_metrics(predictions),
    }


def metrics_by_fold(predictions: pd.DataFrame) -> pd.DataFrame:
    """``all_metrics`` of each fold and seed: one line each, with ``fold``, ``seed`` and ``n`` scored samples."""
    rows = [
        {"fold": fold, "seed": seed, "n": len(part), **all_metrics(part)}
        for (fold, seed), part in predictions.groupby(["fold", "seed"], sort=True)
    ]
    return pd.DataFrame(rows)


def class_metrics_by_fold(predictions: pd.DataFrame) -> pd.DataFrame:
    """``class_metrics`` of each fold and seed: one line a fold, seed and class, with ``fold`` and ``seed`` first."""
    parts = {key: class_metrics(part) for key, part in predictions.groupby(["fold", "seed"], sort=True)}
    lines = pd.concat(parts, names=["fold", "seed"])
    return lines.reset_index(level=["fold", "seed"]).reset_index(drop=True)
