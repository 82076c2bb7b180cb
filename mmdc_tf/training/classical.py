"""Fitting and scoring a classifier without a network, on the same parts of a split as the networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.inputs.metadata import label_array
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.training.trainer import HISTORY_COLUMNS, TrainingParts


def fit_classifier(estimator: Pipeline, parts: TrainingParts) -> pd.DataFrame:
    """Fits in place on the training part alone; the validation part is only scored.

    Args:
        estimator: as ``mmdc_tf.models.classifiers.build_classifier`` gives it. Classes are weighted by the inverse of
            their frequency where the estimator can do it; the nearest neighbour has no such weights.
        parts: training and validation tables; their ``inputs`` name the estimator's one input.

    Returns:
        One line with the columns ``HISTORY_COLUMNS``: epoch 1, the mean negative log likelihood and the accuracy of
        both parts, and NaN for the learning rate.

    Raises:
        ConfigurationError: the inputs are not exactly one.
        DatasetError: a label is none of the class names.
    """
    values = _values(parts.train, parts.inputs)
    estimator.fit(values, _labels(parts.train, parts.inputs))
    loss, accuracy = _scores(_probabilities(estimator, values, parts.inputs), parts.train, parts.inputs)
    validated = classifier_probabilities(estimator, parts.validation, parts.inputs)
    val_loss, val_accuracy = _scores(validated, parts.validation, parts.inputs)
    line = (1, loss, accuracy, val_loss, val_accuracy, float("nan"))
    return pd.DataFrame([line], columns=list(HISTORY_COLUMNS))


def classifier_probabilities(estimator: Pipeline, table: pd.DataFrame, inputs: InputSettings) -> np.ndarray:
    """The probabilities of each row of a sample table.

    Args:
        estimator: fitted by ``fit_classifier``.
        table: a sample table; its images are read only where the input is ``"image"``.
        inputs: as in fitting.

    Returns:
        float64 (n, classes) in the order of ``inputs.class_names``; 0 for a class that was absent from the training
        part. Each row sums to 1.

    Raises:
        ConfigurationError: the inputs are not exactly one.
    """
    return _probabilities(estimator, _values(table, inputs), inputs)


def _probabilities(estimator: Pipeline, values: np.ndarray, inputs: InputSettings) -> np.ndarray:
    probabilities = np.zeros((len(values), len(inputs.class_names)))
    probabilities[:, estimator.classes_] = estimator.predict_proba(values)
    return probabilities


def _scores(probabilities: np.ndarray, table: pd.DataFrame, inputs: InputSettings) -> tuple[float, float]:
    """Mean negative log likelihood and accuracy."""
    labels = _labels(table, inputs)
    loss = log_loss(labels, probabilities, labels=range(len(inputs.class_names)))
    return float(loss), float((probabilities.argmax(axis=1) == labels).mean())


def _labels(table: pd.DataFrame, inputs: InputSettings) -> np.ndarray:
    """The index of each row's class in ``class_names``: int (n,)."""
    return label_array(table, inputs.class_names).argmax(axis=1)


def _values(table: pd.DataFrame, inputs: InputSettings) -> np.ndarray:
    """The one input tensor of all rows: images uint8 (n, S, S, 3), metadata float32 (n, 2)."""
    if len(inputs.inputs) != 1:
        raise ConfigurationError(
            f"Expected one input of a classifier. Received: inputs={inputs.inputs!r}. Give ('image',) or ('metadata',)."
        )
    (name,) = inputs.inputs
    # preprocessing leaves whole numbers; as bytes, a dataset takes a quarter of the memory
    kind = "uint8" if name == "image" else "float32"
    batches = evaluation_dataset(table, inputs).as_numpy_iterator()
    return np.concatenate([tensors[name].astype(kind) for tensors, _ in batches])
