"""Fitting and scoring a classifier without a network, on the same parts of a split as the networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset, label_array
from mmdc_tf.training.trainer import HISTORY_COLUMNS, TrainingParts


def fit_classifier(estimator: Pipeline, parts: TrainingParts) -> pd.DataFrame:
    """Fits in place on the training part alone; the validation part is only scored.

    Args:
        estimator: as ``mmdc_tf.models.classifiers.build_classifier`` gives it.
        parts: training and validation tables; their ``inputs`` name the estimator's one input.

    Returns:
        One line with the columns ``HISTORY_COLUMNS``: epoch 1, the mean negative log likelihood and the accuracy of
        both parts, and NaN for the learning rate.

    Raises:
        ConfigurationError: the inputs are not exactly one.
        DatasetError: a label is none of the class names.
    """
    classes, line = parts.inputs.class_names, [1.0]
    tables = parts.train, parts.validation
    values = [_values(table, parts.inputs) for table in tables]
    labels = [label_array(table, classes).argmax(axis=1) for table in tables]
    estimator.fit(values[0], labels[0])
    for given, expected in zip(values, labels, strict=True):
        probabilities = _probabilities(estimator, given, len(classes))
        loss = log_loss(expected, probabilities, labels=range(len(classes)))
        line += [float(loss), float((probabilities.argmax(axis=1) == expected).mean())]
    return pd.DataFrame([[*line, float("nan")]], columns=list(HISTORY_COLUMNS)).astype({"epoch": int})


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
    return _probabilities(estimator, _values(table, inputs), len(inputs.class_names))


def _probabilities(estimator: Pipeline, values: np.ndarray, classes: int) -> np.ndarray:
    probabilities = np.zeros((len(values), classes))
    probabilities[:, estimator.classes_] = estimator.predict_proba(values)
    return probabilities


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
