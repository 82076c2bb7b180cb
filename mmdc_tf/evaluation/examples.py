"""Which predictions are worth a look."""

from __future__ import annotations

import pandas as pd

from mmdc_tf.evaluation.predictions import class_names

CONFIDENCE = "confidence"


def choose_examples(predictions: pd.DataFrame, wrong: int = 4, right: int = 4) -> pd.DataFrame:
    """The errors of which the model was surest, then the right answers of which it was.

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
