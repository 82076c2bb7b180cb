"""Confusion matrices, and ROC and precision-recall curves of each class against the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from mmdc_tf.evaluation.predictions import class_names
from mmdc_tf.evaluation.probability_metrics import truth_and_probabilities


@dataclass(frozen=True)
class ClassCurve:
    """How well the probability of one class finds it among the others.

    Args:
        class_name: the class.
        false_positive_rate, true_positive_rate: float (k,) each, in [0, 1]: the ROC curve, from (0, 0) to (1, 1).
        auc: the area under it.
        recall, precision: float (m,) each, in [0, 1]: the precision-recall curve, from recall 1 to recall 0.
        average_precision: the mean of the precisions, each weighted by the step of recall that it stands for.
        share: of the class among the samples: the precision of a guess.
    """

    class_name: str
    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    auc: float
    recall: np.ndarray
    precision: np.ndarray
    average_precision: float
    share: float


def confusion_counts(predictions: pd.DataFrame) -> np.ndarray:
    """How often each class is predicted as which.

    Args:
        predictions: columns ``y_true``, ``y_pred`` and p_<class> for each class, which give the order.

    Returns:
        int (k, k): rows are the truth, columns the prediction.
    """
    return confusion_matrix(predictions["y_true"], predictions["y_pred"], labels=class_names(predictions))


def class_curves(predictions: pd.DataFrame) -> list[ClassCurve]:
    """The curves of each class that has samples on both sides, in the order of the columns p_<class>.

    Args:
        predictions: columns ``y_true`` and p_<class> for each class; several folds are pooled.

    Raises:
        InputError: the table does not fit, as in ``truth_and_probabilities``.
    """
    truth, probabilities = truth_and_probabilities(predictions)
    sides = {name: truth == index for index, name in enumerate(class_names(predictions))}
    return [
        _curve(name, side, probabilities[:, index])
        for index, (name, side) in enumerate(sides.items())
        if side.any() and not side.all()
    ]


def _curve(name: str, truth: np.ndarray, probability: np.ndarray) -> ClassCurve:
    false_positives, true_positives, _ = roc_curve(truth, probability)
    precision, recall, _ = precision_recall_curve(truth, probability, drop_intermediate=True)
    return ClassCurve(
        class_name=name,
        false_positive_rate=false_positives,
        true_positive_rate=true_positives,
        auc=float(roc_auc_score(truth, probability)),
        recall=recall,
        precision=precision,
        average_precision=float(average_precision_score(truth, probability)),
        share=float(truth.mean()),
    )
