"""A table's results, computed from the predictions files of a run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.splits import CONTROL, LEAK_FREE, PROTOCOLS
from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.comparison import compare_rows, paired_difference
from mmdc_tf.evaluation.metrics import METRICS, THRESHOLD_METRICS, metrics_by_fold
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.evaluation.statistics import interval_columns, metric_intervals
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import (
    NOT_RUN,
    OK,
    PREDICTIONS,
    Version,
    finished_files,
    finished_trainings,
    protocols_in,
    status_of,
    trainings_of,
    version_of,
)

PERCENT_METRICS = (*METRICS, "balanced_accuracy")
PLAIN_METRICS = ("auc", "kappa", "brier", "ece")  # plain numbers; the others are percentages
ROW_COLUMNS = ("row", "label", "citation", "protocol")
COUNTS = ("n_samples", "n_groups", "folds")
CHANGE = ("difference", "difference_ci_low", "difference_ci_high")
VARIANT_COLUMNS = ("accuracy", "f1", *CHANGE, *COUNTS)
LEAK_WORTH = ("leak_worth", "leak_worth_ci_low", "leak_worth_ci_high")
COLUMNS = (
    *ROW_COLUMNS,
    "status",
    "accuracy",
    "accuracy_std",
    "accuracy_ci_low",
    "accuracy_ci_high",
    *METRICS[1:],
    *(f"paper_{name}" for name in METRICS),
    *COUNTS,
    "seconds",
    *THRESHOLD_METRICS,
    "image_size",
    "preprocessing",
    *(f"{name}_ci_{end}" for name in METRICS[1:] for end in ("low", "high")),
    *(f"{name}{end}" for name in ("balanced_accuracy", *PLAIN_METRICS) for end in ("", "_ci_low", "_ci_high")),
    *LEAK_WORTH,
    "layer_cut",
)
PLAIN_COLUMNS = tuple(name for name in COLUMNS if name.split("_ci_")[0] in PLAIN_METRICS)


def table_results(table: PaperTable, folder: Path) -> pd.DataFrame:
    """One line a row and protocol of ``protocols_in``, in the paper's order; extra rows follow where they were run.

    Args:
        table: the paper's table.
        folder: ``OUT/table1``, ``OUT/table2`` or ``OUT/figure3``.

    Returns:
        The columns ``COLUMNS``, not rounded, NaN (<NA> in whole numbers) where there is no result. Numbers are means
        over folds and seeds: percentages, but ``PLAIN_COLUMNS``: ``auc`` and ``ece`` in [0, 1], ``kappa`` in [-1, 1],
        ``brier`` in [0, 2]. ``accuracy_std`` is the standard deviation over folds and seeds, the intervals are of the
        means, a 95 % bootstrap over groups (``metric_intervals``). A fold in which a number is not defined (the AUC
        with one class) has no part in its mean. ``leak_worth``, on leak-free lines, is the accuracy less that of the
        control in points (``paired_difference``), NaN where one of the two is not finished, or has other seeds.
        ``layer_cut`` is the layer up to which the network is frozen, "" where nothing is. ``status`` is "ok",
        "not run", "incomplete: 2 of 5 folds" or "failed: …".
    """
    rows = [row for row in table.rows if not row.extra or (folder / row.name).is_dir()]
    lines = [_line(row, protocol, folder) for row in rows for protocol in protocols_in(folder)]
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype(dict.fromkeys((*COUNTS, "image_size"), "Int64"))


def rows_that_ran(results: pd.DataFrame) -> pd.DataFrame:
    """The lines of ``table_results`` of rows that were begun under at least one protocol; all where none was."""
    ran = results["status"].ne(NOT_RUN).groupby(results["row"]).transform("any")
    return results[ran] if ran.any() else results


def _line(row: Row, protocol: str, folder: Path) -> dict[str, Any]:
    line: dict[str, Any] = dict(zip(ROW_COLUMNS, (row.name, row.label, row.citation, protocol), strict=True))
    line |= zip((f"paper_{name}" for name in METRICS), row.paper or [np.nan] * len(METRICS), strict=True)
    trainings = trainings_of(folder / row.name / protocol)
    line["status"] = status_of(trainings)
    if line["status"] != OK:
        return line
    files, config = _versions(trainings), trainings[0]["config"]
    control = _versions(trainings_of(folder / row.name / CONTROL)) if protocol == LEAK_FREE else ()
    return {
        **line,
        **_scores(files),
        "seconds": round(sum(one["seconds"] for one in finished_trainings(trainings)), 1),
        "image_size": config["image_size"],
        "preprocessing": config["row_preprocessing"],
        "layer_cut": config.get("layer_cut") or "",
        **(_leak_worth(files, control) if control else {}),
    }


def _versions(trainings: list[dict[str, Any]]) -> tuple[Version, ...]:
    return tuple(map(version_of, finished_files(trainings, PREDICTIONS)))


@lru_cache(maxsize=256)
def _leak_worth(free: tuple[Version, ...], control: tuple[Version, ...]) -> dict[str, float]:
    """What a leak is worth at equal numbers of training images; nothing where the control has other seeds."""
    one, other = (read_predictions([path for path, *_ in files]) for files in (free, control))
    try:
        numbers = paired_difference(one, other)
    except InputError:
        return {}
    return {name: 100.0 * value for name, value in zip(LEAK_WORTH, numbers, strict=True)}


@lru_cache(maxsize=256)
def _scores(files: tuple[Version, ...]) -> dict[str, Any]:
    """The numbers of a line; remembered, because a table is computed again after every training for all its rows."""
    predictions = read_predictions([path for path, *_ in files])
    folds = metrics_by_fold(predictions)
    scores = {
        **folds[[*PERCENT_METRICS, *THRESHOLD_METRICS, *PLAIN_METRICS]].mean(),
        "accuracy_std": folds["accuracy"].std(),
        **interval_columns(metric_intervals(predictions, names=(*PERCENT_METRICS, *PLAIN_METRICS))),
    }
    percentages = {name: value if name in PLAIN_COLUMNS else 100.0 * value for name, value in scores.items()}
    return {**percentages, **_counts(predictions)}


def _counts(predictions: pd.DataFrame) -> dict[str, int]:
    return dict(zip(COUNTS, predictions[["sample_id", "group_id", "fold"]].nunique(), strict=True))


def labelled(scores: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Scores with ``ROW_COLUMNS`` in front, which say what they are the scores of."""
    labels = dict(zip(ROW_COLUMNS, names, strict=True))
    return scores.assign(**labels)[[*ROW_COLUMNS, *scores.columns]]


def variant_lines(
    table: PaperTable, folder: Path, name: str, score: Callable[[list[Path]], pd.DataFrame]
) -> pd.DataFrame:
    """The scores of all rows and protocols that are finished and have files of this name in all their trainings.

    Args:
        table: the paper's table.
        folder: ``OUT/table1``, ``OUT/table2`` or ``OUT/figure3``.
        name: of the files.
        score: takes a row's files, gives its lines: ``VARIANT_COLUMNS`` and what tells one from another.

    Returns:
        The lines with ``ROW_COLUMNS`` in front; empty where there is none.
    """
    parts = [
        labelled(score(files), (row.name, row.label, row.citation, protocol))
        for row in table.rows
        for protocol in PROTOCOLS
        if (files := finished_files(trainings_of(folder / row.name / protocol), name))
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(ROW_COLUMNS))


def variant_scores(variants: dict[str, pd.DataFrame], baseline: str) -> pd.DataFrame:
    """Accuracy and macro F1 of each variant of a row's inputs, and what it changes.

    Args:
        variants: predictions of the same samples, folds and seeds by name, the baseline among them.
        baseline: the name of the one that the others are compared with.

    Returns:
        One line a variant, indexed by its name; the columns ``VARIANT_COLUMNS``. ``accuracy`` and ``f1`` are means over
        folds and seeds in per cent; ``difference`` is the accuracy minus the baseline's, in points, with its 95 %
        interval by paired bootstrap over groups within folds (``compare_rows``); NaN for the baseline.

    Raises:
        InputError: the tables are not of the same samples, folds and seeds, or there is the baseline alone.
    """
    changes = compare_rows(variants, baseline).set_index("row")[["difference", "ci_low", "ci_high"]]
    changes.columns = pd.Index(CHANGE)
    names = ["accuracy", "f1"]
    means = {name: metrics_by_fold(part, ("accuracy", "f1"))[names].mean() for name, part in variants.items()}
    counts = {name: _counts(part) for name, part in variants.items()}
    scores = (100.0 * pd.DataFrame(means).T).join(pd.DataFrame(counts).T)
    return scores.join(100.0 * changes)[list(VARIANT_COLUMNS)].astype(dict.fromkeys(COUNTS, "int64"))
