"""Scores a trained row with age and density unknown or those of others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmdc_tf.evaluation.metadata_variants import metadata_variants
from mmdc_tf.evaluation.predictions import predictions_table
from mmdc_tf.experiments.grid import Cell
from mmdc_tf.experiments.learners import Learner

METADATA_PREDICTIONS = "predictions-metadata.csv"


def uses_metadata(cell: Cell) -> bool:
    """Whether a cell is to be scored so: it takes age and density itself.

    An ensemble does not: it reads what its members predicted from the values as recorded.
    """
    return "metadata" in cell.inputs and cell.row.kind != "members"


def metadata_predictions(
    learner: Learner, test_table: pd.DataFrame, class_names: tuple[str, ...], fold: int, seed: int
) -> pd.DataFrame:
    """Predictions of one part for each of ``mmdc_tf.evaluation.metadata_variants.VARIANTS``.

    Each image is read and preprocessed once for all variants: their rows stand together in one table.

    Args:
        learner: fitted.
        test_table: the sample table of the scored part.
        class_names: the order of the learner's probabilities.
        fold, seed: of the split and the training; the seed also decides who gets whose values when shuffled.

    Returns:
        The columns of ``predictions_table`` and ``metadata``, the variant's name; a variant after the other, each in
        the part's order. Written as ``predictions-metadata.csv``.
    """
    variants = metadata_variants(test_table, seed)
    count, samples = len(variants), len(test_table)
    order = np.arange(count * samples).reshape(count, samples).T.ravel()  # all variants of an image, then the next
    together = pd.concat(variants.values(), ignore_index=True).iloc[order].reset_index(drop=True)
    probabilities = learner.probabilities(together)[np.argsort(order)].reshape(count, samples, -1)
    tables = [
        predictions_table(table, scores, class_names, fold, seed).assign(metadata=name)
        for (name, table), scores in zip(variants.items(), probabilities, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)
