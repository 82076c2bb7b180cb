"""Predictions are written once; every metric, interval, table and figure is computed from these files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mmdc_tf.errors import InputError

KEYS = ("sample_id", "patient_id", "group_id", "fold", "seed", "y_true", "y_pred")
TEXT = ("sample_id", "patient_id", "group_id", "y_true", "y_pred")
CONFIDENCE = "confidence"


def predictions_table(
    table: pd.DataFrame, probabilities: np.ndarray, class_names: tuple[str, ...], fold: int, seed: int
) -> pd.DataFrame:
    """One line a sample.

    Args:
        table: the sample table of the scored part, in the order of ``probabilities``.
        probabilities: float (n, classes), each row summing to 1.
        class_names: the order of the columns of ``probabilities``.
        fold, seed: of the split and the training.

    Returns:
        Columns sample_id, patient_id, group_id, fold, seed, y_true, y_pred (class names) and p_<class> each.

    Raises:
        InputError: the two differ in length.
    """
    if probabilities.shape != (len(table), len(class_names)):
        raise InputError(
            f"Expected probabilities of shape {(len(table), len(class_names))}. "
            f"Received: shape={probabilities.shape}. Predict exactly the rows of the table."
        )
    predictions = table.loc[:, ["sample_id", "patient_id", "group_id"]].reset_index(drop=True)
    predictions = predictions.assign(
        fold=fold,
        seed=seed,
        y_true=table["label"].to_numpy(),
        y_pred=np.asarray(class_names, dtype=object)[probabilities.argmax(axis=1)],
    )
    for index, name in enumerate(class_names):
        predictions[f"p_{name}"] = probabilities[:, index].astype("float64")
    return predictions


def read_predictions(paths: list[Path]) -> pd.DataFrame:
    """Reads and joins predictions files; names and classes stay text, even "0029", "2" or "NA".

    Raises:
        InputError: a file lacks a column.
    """
    tables = [pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        missing = [name for name in KEYS if name not in table.columns]
        if missing:
            raise InputError(
                f"Expected a predictions file with the columns {', '.join(KEYS)}. "
                f"Received: {path} without {', '.join(missing)}. Train this fold again."
            )
    return pd.concat(tables, ignore_index=True)


def class_names(predictions: pd.DataFrame) -> list[str]:
    """The classes of a predictions table, in the order of its columns p_<class>."""
    return [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]


def choose_examples(predictions: pd.DataFrame, wrong: int = 4, right: int = 4) -> pd.DataFrame:
    """Predictions worth a look: the errors of which the model was surest, then the right answers of which it was.

    Args:
        predictions: columns ``sample_id``, ``y_true``, ``y_pred`` and p_<class> for each class.
        wrong, right: how many at most of each.

    Returns:
        Lines of ``predictions`` with ``confidence``, the predicted class's probability, highest first within the
        errors and the right answers; equal ones by ``sample_id``. A sample stands once, whatever the number of seeds.
    """
    columns = [f"p_{name}" for name in class_names(predictions)]
    table = predictions.assign(**{CONFIDENCE: predictions[columns].max(axis=1)})
    table = table.sort_values([CONFIDENCE, "sample_id"], ascending=[False, True], kind="stable")
    is_right = table["y_true"] == table["y_pred"]
    parts = [
        part.drop_duplicates("sample_id").head(count)
        for part, count in ((table[~is_right], wrong), (table[is_right], right))
    ]
    return pd.concat(parts, ignore_index=True).drop_duplicates("sample_id", ignore_index=True)
