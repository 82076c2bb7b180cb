"""A table's results, computed from the predictions files of a run folder."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.splits import CONTROL, LEAK_FREE
from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.comparison import paired_difference
from mmdc_tf.evaluation.metrics import METRICS, THRESHOLD_METRICS, metrics_by_fold
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.evaluation.statistics import interval_columns, metric_intervals
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import (
    NOT_RUN,
    OK,
    PREDICTIONS,
    Version,
    cells_of,
    finished_cells,
    finished_files,
    protocols_in,
    status_of,
    version_of,
)

COLUMNS = (
    "row",
    "label",
    "citation",
    "protocol",
    "status",
    "accuracy",
    "accuracy_std",
    "accuracy_ci_low",
    "accuracy_ci_high",
    "precision",
    "recall",
    "f1",
    "paper_accuracy",
    "paper_precision",
    "paper_recall",
    "paper_f1",
    "n_samples",
    "n_groups",
    "folds",
    "seconds",
    "threshold_precision",
    "threshold_recall",
    "image_size",
    "preprocessing",
    "precision_ci_low",
    "precision_ci_high",
    "recall_ci_low",
    "recall_ci_high",
    "f1_ci_low",
    "f1_ci_high",
    "balanced_accuracy",
    "balanced_accuracy_ci_low",
    "balanced_accuracy_ci_high",
    "auc",
    "auc_ci_low",
    "auc_ci_high",
    "kappa",
    "kappa_ci_low",
    "kappa_ci_high",
    "brier",
    "brier_ci_low",
    "brier_ci_high",
    "ece",
    "ece_ci_low",
    "ece_ci_high",
    "leak_worth",
    "leak_worth_ci_low",
    "leak_worth_ci_high",
    "layer_cut",
)
PLAIN_METRICS = ("auc", "kappa", "brier", "ece")  # plain numbers; the others are percentages
PLAIN_COLUMNS = tuple(name for name in COLUMNS if name.split("_ci_")[0] in PLAIN_METRICS)
PERCENT_METRICS = (*METRICS, "balanced_accuracy")
COUNTS = ("n_samples", "n_groups", "folds", "image_size")


def table_results(table: PaperTable, folder: Path) -> pd.DataFrame:
    """One line a row and protocol of ``protocols_in``, in the paper's order; extra rows follow where they were run.

    Args:
        table: the paper's table.
        folder: ``OUT/table1``, ``OUT/table2`` or ``OUT/figure3``.

    Returns:
        The columns ``COLUMNS``, not rounded, NaN where there is no result. Numbers are means over folds and seeds:
        percentages, but ``PLAIN_COLUMNS``: ``auc`` and ``ece`` in [0, 1], ``kappa`` in [-1, 1], ``brier`` in [0, 2].
        ``accuracy_std`` is the standard deviation over folds and seeds, the intervals are of the means, a 95 %
        bootstrap over groups (``metric_intervals``). A fold in which a number is not defined (the AUC with one class)
        has no part in its mean.
        ``n_samples``, ``n_groups``, ``folds`` and ``image_size`` (pixels) are whole numbers (Int64), <NA> where there
        is no result. ``leak_worth``, on leak-free lines, is the accuracy less that of the control in points, with its
        interval (``paired_difference``); NaN where one of the two is not finished, or has other seeds. ``layer_cut`` is
        the layer up to which the network is frozen, "" where nothing is. ``status`` is
        "ok", "not run", "incomplete: 2 of 5 folds" or "failed: …".
    """
    rows = [row for row in table.rows if not row.extra or (folder / row.name).is_dir()]
    lines = [_line(row, protocol, folder) for row in rows for protocol in protocols_in(folder)]
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype(dict.fromkeys(COUNTS, "Int64"))


def rows_that_ran(results: pd.DataFrame) -> pd.DataFrame:
    """The lines of the rows that were run, or begun, under at least one protocol; all where none was.

    Args:
        results: as from ``table_results``.
    """
    ran = results["status"].ne(NOT_RUN).groupby(results["row"]).transform("any")
    return results[ran] if ran.any() else results


def _line(row: Row, protocol: str, folder: Path) -> dict[str, Any]:
    published = dict(zip((f"paper_{name}" for name in METRICS), row.paper or [np.nan] * len(METRICS), strict=True))
    line = {"row": row.name, "label": row.label, "citation": row.citation, "protocol": protocol, **published}
    cells = cells_of(folder / row.name / protocol)
    status = status_of(cells)
    if status != OK:
        return {**line, "status": status}
    finished = finished_cells(cells)
    scores = _scores(tuple(map(version_of, finished_files(cells, PREDICTIONS))))
    seconds = sum(cell["seconds"] for cell in finished)
    config = finished[0]["config"]
    made = {"image_size": config["image_size"], "preprocessing": config["row_preprocessing"]}
    made["layer_cut"] = config.get("layer_cut") or ""
    worth = _leak_worth(finished_files(cells, PREDICTIONS), folder / row.name) if protocol == LEAK_FREE else {}
    return {**line, "status": status, **scores, "seconds": round(seconds, 1), **made, **worth}


def _leak_worth(free: list[Path], folder: Path) -> dict[str, float]:
    """What a leak is worth at equal numbers of training images; nothing where the control is not finished."""
    control = finished_files(cells_of(folder / CONTROL), PREDICTIONS)
    return _difference(*(tuple(map(version_of, files)) for files in (free, control))) if control else {}


@lru_cache(maxsize=256)
def _difference(free: tuple[Version, ...], control: tuple[Version, ...]) -> dict[str, float]:
    one, other = (read_predictions([path for path, *_ in files]) for files in (free, control))
    try:
        numbers = paired_difference(one, other)
    except InputError:  # the control was run with another number of seeds
        return {}
    names = ("leak_worth", "leak_worth_ci_low", "leak_worth_ci_high")
    return {name: 100.0 * value for name, value in zip(names, numbers, strict=True)}


@lru_cache(maxsize=256)
def _scores(files: tuple[Version, ...]) -> dict[str, Any]:
    """The numbers of a line; remembered, because a table is computed again after every training for all its rows."""
    predictions = read_predictions([path for path, *_ in files])
    folds = metrics_by_fold(predictions)
    deviation = folds["accuracy"].std(ddof=1) if len(folds) > 1 else np.nan
    limits = interval_columns(metric_intervals(predictions, names=(*PERCENT_METRICS, *PLAIN_METRICS)))
    means = {name: folds[name].mean() for name in (*PERCENT_METRICS, *THRESHOLD_METRICS, *PLAIN_METRICS)}
    fractions: dict[str, float] = {**means, "accuracy_std": deviation, **limits}
    return {
        **{name: value if name in PLAIN_COLUMNS else 100.0 * value for name, value in fractions.items()},
        "n_samples": predictions["sample_id"].nunique(),
        "n_groups": predictions["group_id"].nunique(),
        "folds": folds["fold"].nunique(),
    }
