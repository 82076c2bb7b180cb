"""Precision and recall above one half, as Keras counts them on one-hot labels."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest

from mmdc_tf.evaluation.metrics import metrics_by_fold, threshold_metrics

CLASSES = ("benign", "cancer", "normal")


def predictions(truth: list[str], probabilities: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"y_true": truth, "y_pred": np.asarray(CLASSES)[probabilities.argmax(axis=1)]})
    return table.assign(**{f"p_{name}": probabilities[:, index] for index, name in enumerate(CLASSES)})


def test_worked_by_hand():
    """Two claims, one of them right, and two samples without a claim: precision 1/2, recall 1/4."""
    probabilities = np.array([[0.9, 0.1, 0.0], [0.6, 0.2, 0.2], [0.4, 0.35, 0.25], [0.5, 0.5, 0.0]])
    scores = threshold_metrics(predictions(["benign", "normal", "benign", "cancer"], probabilities))
    assert scores == {"threshold_precision": 0.5, "threshold_recall": 0.25}


def test_agrees_with_keras_on_one_hot_labels():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.7] * 3, size=300)
    truth = rng.integers(3, size=300)
    one_hot = np.eye(3)[truth]
    precision, recall = keras.metrics.Precision(), keras.metrics.Recall()
    precision.update_state(one_hot, probabilities)
    recall.update_state(one_hot, probabilities)
    scores = threshold_metrics(predictions([CLASSES[index] for index in truth], probabilities))
    assert scores["threshold_precision"] == pytest.approx(float(precision.result()), abs=1e-6)
    assert scores["threshold_recall"] == pytest.approx(float(recall.result()), abs=1e-6)


def test_an_unsure_network_claims_nothing():
    scores = threshold_metrics(predictions(["benign"], np.full((1, 3), 1 / 3)))
    assert scores == {"threshold_precision": 0.0, "threshold_recall": 0.0}


def test_each_fold_has_its_own():
    table = predictions(["benign", "benign"], np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])).assign(fold=[0, 1], seed=0)
    folds = metrics_by_fold(table)
    assert folds["threshold_precision"].tolist() == [1.0, 0.0]
    assert folds["threshold_recall"].tolist() == [1.0, 0.0]
