"""A table's results, computed from the predictions files of a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.splits import PROTOCOLS
from mmdc_tf.evaluation.metrics import METRICS, THRESHOLD_METRICS, metrics_by_fold
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.evaluation.statistics import metric_intervals
from mmdc_tf.experiments.artifacts import read_json
from mmdc_tf.experiments.rows import PaperTable, Row

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
)
COUNTS = ("n_samples", "n_groups", "folds", "image_size")
NOT_RUN = "not run"


def table_results(table: PaperTable, folder: Path) -> pd.DataFrame:
    """One line a row and protocol, in the paper's order; extra rows follow where they were run.

    Args:
        table: the paper's table.
        folder: ``OUT/table1``, ``OUT/table2`` or ``OUT/figure3``.

    Returns:
        The columns ``COLUMNS``; percentages (not rounded), NaN where there is no result.
        ``accuracy_std`` is the standard deviation over folds and seeds, the intervals a 95 % bootstrap over groups.
        ``n_samples``, ``n_groups``, ``folds`` and ``image_size`` (pixels) are whole numbers (Int64), <NA> where there
        is no result. ``status`` is "ok", "not run", "incomplete: 2 of 5 folds" or "failed: …".
    """
    rows = [row for row in table.rows if not row.extra or (folder / row.name).is_dir()]
    lines = [_line(row, protocol, folder) for row in rows for protocol in PROTOCOLS]
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype(dict.fromkeys(COUNTS, "Int64"))


def _line(row: Row, protocol: str, folder: Path) -> dict[str, Any]:
    published = dict(zip((f"paper_{name}" for name in METRICS), row.paper or [np.nan] * len(METRICS), strict=True))
    line = {"row": row.name, "label": row.label, "citation": row.citation, "protocol": protocol, **published}
    cells = _cells(folder / row.name / protocol)
    status = _status(cells)
    finished = [cell for cell in cells if cell["status"] == "ok"]
    if status != "ok":
        return {**line, "status": status}
    predictions = read_predictions([cell["folder"] / "predictions.csv" for cell in finished])
    seconds = sum(cell["seconds"] for cell in finished)
    config = finished[0]["config"]
    made = {"image_size": config["image_size"], "preprocessing": config["row_preprocessing"]}
    return {**line, "status": status, **_scores(predictions), "seconds": round(seconds, 1), **made}


def _scores(predictions: pd.DataFrame) -> dict[str, Any]:
    folds = metrics_by_fold(predictions)
    limits = {
        f"{name}_ci_{side}": 100.0 * limit
        for name, pair in metric_intervals(predictions).items()
        for side, limit in zip(("low", "high"), pair, strict=True)
    }
    means = {name: 100.0 * folds[name].mean() for name in (*METRICS, *THRESHOLD_METRICS)}
    return {
        **means,
        "accuracy_std": 100.0 * folds["accuracy"].std(ddof=1) if len(folds) > 1 else np.nan,
        **limits,
        "n_samples": predictions["sample_id"].nunique(),
        "n_groups": predictions["group_id"].nunique(),
        "folds": folds["fold"].nunique(),
    }


def _cells(folder: Path) -> list[dict[str, Any]]:
    """What each fold's folder says of itself, by name; without its predictions a fold counts as not run."""
    cells = []
    for path in sorted(folder.glob("fold*-seed*")):
        status, config = read_json(path / "status.json") or {"status": NOT_RUN}, read_json(path / "config.json")
        if status["status"] == "ok" and not (path / "predictions.csv").is_file():
            status = {"status": NOT_RUN}
        if config is not None:
            cells.append({**status, "folder": path, "config": config})
    return cells


def _status(cells: list[dict[str, Any]]) -> str:
    started = [cell for cell in cells if cell["status"] != NOT_RUN]
    if not started:
        return NOT_RUN
    failed = [cell for cell in started if cell["status"] == "failed"]
    if failed:
        return f"failed: {failed[0]['error']}"
    finished = [cell for cell in started if cell["status"] == "ok"]
    seeds = {cell["config"]["training_seed"] for cell in cells}
    leak_free = cells[0]["config"]["protocol"] == "leak-free"
    expected = len(seeds) * (cells[0]["config"]["folds"] if leak_free else 1)
    return "ok" if len(finished) == expected else f"incomplete: {len(finished)} of {expected} folds"
