"""Precision, recall and F1 of each class."""

from __future__ import annotations

import pandas as pd

from mmdc_tf.evaluation.metrics import class_metrics_by_fold

CLASS_SCORES = ("precision", "recall", "f1")


def class_results(predictions: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall and F1 of each class: the mean over folds and seeds, as the table's own numbers are.

    A class's mean runs over the folds whose truths hold the class (stratified folds all do); where it is never
    predicted there, its precision is 0. Where every fold holds every class, the mean over the classes is the table's
    macro average.

    Args:
        predictions: columns ``sample_id``, ``fold``, ``seed``, ``y_true``, ``y_pred`` and p_<class> for each class.

    Returns:
        One line a class, in the order of the columns p_<class>: ``class``, ``precision``, ``recall``, ``f1`` (fractions
        in [0, 1]; NaN for a class that is never true) and ``support``, the images of the class, each counted once
        whatever the number of seeds.
    """
    folds = class_metrics_by_fold(predictions)
    classes = folds["class"].unique()
    folds = folds[folds["n_true"] > 0].fillna({"precision": 0.0})
    folds["f1"] = 2.0 * folds["recall"] * folds["n_true"] / (folds["n_true"] + folds["n_predicted"])
    means = folds.groupby("class")[list(CLASS_SCORES)].mean().reindex(classes)
    support = predictions.groupby("y_true")["sample_id"].nunique().reindex(classes, fill_value=0)
    return means.assign(support=support).rename_axis("class").reset_index()
