"""Marks the rows of a table that cannot be told apart from its best one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.experiments.run_folder import (
    OK,
    PREDICTIONS,
    Version,
    compare_in_folder,
    finished_files,
    trainings_of,
    version_of,
)

COLUMN = "distinguishable_from_best"
MARK = "≈"
BEST, YES, NO = "best", "yes", "no"
PROTOCOL = "leak-free"
LEGEND = (
    f"{MARK}: not distinguishable from the best row (McNemar's exact test, Holm-corrected, and the bootstrap interval "
    "of the difference over groups; 5 %)."
)


def with_marks(results: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Compares each row's leak-free predictions with those of the row of the best leak-free accuracy.

    The best row is chosen by the accuracies that are then compared, which makes it look a little better than it is: a
    row without a mark may be nearer to it than it seems.

    Args:
        results: as from ``mmdc_tf.experiments.results.table_results``.
        folder: the table's, as ``OUT/table1``.

    Returns:
        A copy with the column ``distinguishable_from_best`` at the end: on leak-free lines ``"best"`` (the first, of
        several equal ones), ``"yes"`` or ``"no"``; empty on other lines, where fewer than two rows are finished, and
        where a row was not scored as the best one was (another number of seeds).
    """
    is_free = results["protocol"] == PROTOCOL
    verdicts = _verdicts(results[is_free & (results["status"] == OK)], folder)
    marks = [verdicts.get(row, "") if free else "" for row, free in zip(results["row"], is_free, strict=True)]
    return results.assign(**{COLUMN: marks})


def mark(line: Mapping[Any, Any]) -> str:
    """What stands behind a row's leak-free accuracy: `` ≈``, or nothing.

    Args:
        line: the row's leak-free line of the results.
    """
    return f" {MARK}" if line.get(COLUMN) == NO else ""


def legend(results: pd.DataFrame) -> list[str]:
    """What the mark means, and which finished rows were not compared; nothing where no row was compared."""
    if COLUMN not in results or not (results[COLUMN] == BEST).any():
        return []
    finished = (results["protocol"] == PROTOCOL) & (results["status"] == OK)
    others = results.loc[finished & (results[COLUMN] == ""), "row"].tolist()
    apart = [f"Not scored on the samples, folds and seeds of the best row: {', '.join(others)}."] if others else []
    return [LEGEND, *apart]


def _verdicts(finished: pd.DataFrame, folder: Path) -> dict[str, str]:
    """``best``, ``yes`` or ``no`` of each row that was compared."""
    if len(finished) < 2:
        return {}
    best = str(finished.set_index("row")["accuracy"].idxmax())
    files = {row: finished_files(trainings_of(folder / row / PROTOCOL), PREDICTIONS) for row in finished["row"]}
    return _compared(folder, best, tuple((row, *map(version_of, paths)) for row, paths in files.items()))


@lru_cache(maxsize=64)
def _compared(folder: Path, best: str, rows: tuple[tuple[str | Version, ...], ...]) -> dict[str, str]:
    """The verdicts on rows, each its name and its files; remembered, as the numbers of the table are."""
    lines, _ = compare_in_folder(folder, best, [str(row) for row, *_ in rows], PROTOCOL)
    if lines is None:
        return {}
    answers = lines["distinguishable"].map({True: YES, False: NO})
    return {best: BEST, **dict(zip(lines["row"], answers, strict=True))}
