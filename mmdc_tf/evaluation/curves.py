"""ROC and precision-recall curves of each class against the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from mmdc_tf.evaluation.metrics import truth_and_probabilities
from mmdc_tf.evaluation.predictions import class_names


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


def class_curves(predictions: pd.DataFrame) -> list[ClassCurve]:
    """The curves of each class that has samples on both sides, in the order of the columns p_<class>.

    Args:
        predictions: columns ``y_true`` and p_<class> for each class; several folds are pooled.

    Raises:
        InputError: the table does not fit, as in ``truth_and_probabilities``.
    """
    truth, probabilities = truth_and_probabilities(predictions)
    curves = []
    for index, name in enumerate(class_names(predictions)):
        positive, scores = truth == index, probabilities[:, index]
        if not positive.any() or positive.all():
            continue
        false_positives, true_positives, _ = roc_curve(positive, scores)
        precision, recall, _ = precision_recall_curve(positive, scores, drop_intermediate=True)
        areas = float(roc_auc_score(positive, scores)), float(average_precision_score(positive, scores))
        share = float(positive.mean())
        curves.append(ClassCurve(name, false_positives, true_positives, areas[0], recall, precision, areas[1], share))
    return curves
