"""Sample table → the arrays that stand beside the pixels: age, density and the label."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmdc_tf.errors import DatasetError

METADATA_COLUMNS = ("age", "density")


def metadata_array(table: pd.DataFrame) -> np.ndarray:
    """Raw age in years and BI-RADS density 1 to 4.

    Returns:
        float32 (n, 2), NaN where unknown; the model standardises and has a token for unknown.
    """
    return table.loc[:, list(METADATA_COLUMNS)].to_numpy(dtype="float32")


def label_array(table: pd.DataFrame, class_names: tuple[str, ...]) -> np.ndarray:
    """One-hot labels in the order of ``class_names``: float32 (n, classes).

    Raises:
        DatasetError: a label is none of the class names.
    """
    indices = pd.Index(class_names).get_indexer(pd.Index(table["label"]))
    unknown = table["label"][indices < 0]
    if len(unknown):
        raise DatasetError(
            f"Expected labels of {', '.join(class_names)}. Received: label={unknown.iloc[0]!r}. Correct the table."
        )
    return np.eye(len(class_names), dtype="float32")[indices]
