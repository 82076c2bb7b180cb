"""Results of finished rows on changed inputs, beside those on the inputs as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.splits import PROTOCOLS
from mmdc_tf.evaluation.comparison import compare_rows
from mmdc_tf.evaluation.metrics import paper_metrics
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import cells_of, finished_files

CHANGE = ("difference", "difference_ci_low", "difference_ci_high")
ROW_COLUMNS = ("row", "label", "citation", "protocol")
COUNTS = ("n_samples", "n_groups", "folds")
VARIANT_COLUMNS = ("accuracy", "f1", *CHANGE, *COUNTS)


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

    Raises:
        InputError: as from ``score``.
    """
    sides = [(row, protocol) for row in table.rows for protocol in PROTOCOLS]
    found = [(*side, finished_files(cells_of(folder / side[0].name / side[1]), name)) for side in sides]
    parts = [
        labelled(score(files), (row.name, row.label, row.citation, protocol)) for row, protocol, files in found if files
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(ROW_COLUMNS))


def labelled(scores: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Scores with ``ROW_COLUMNS`` in front, which say what they are the scores of.

    Args:
        scores: any lines.
        names: a text for each of ``ROW_COLUMNS``.
    """
    return scores.assign(**dict(zip(ROW_COLUMNS, names, strict=True)))[[*ROW_COLUMNS, *scores.columns]]


def variant_scores(variants: dict[str, pd.DataFrame], baseline: str) -> pd.DataFrame:
    """Accuracy and macro F1 of each variant of a row's inputs, and what it changes.

    Args:
        variants: predictions of the same samples, folds and seeds by name, the baseline among them.
        baseline: the name of the one that the others are compared with.

    Returns:
        One line a variant, indexed by its name, in the order given; the columns ``VARIANT_COLUMNS``. ``accuracy`` and
        ``f1`` are means over folds and seeds in per cent; ``difference`` is the accuracy minus the baseline's, in
        percentage points, with its 95 % interval by paired bootstrap over groups within folds (as in
        ``compare_rows``); NaN for the baseline. ``n_samples``, ``n_groups`` and ``folds`` are counts.

    Raises:
        InputError: the tables are not of the same samples, folds and seeds, or there is the baseline alone.
    """
    changes = compare_rows(variants, baseline).set_index("row")[["difference", "ci_low", "ci_high"]]
    changes.columns = pd.Index(CHANGE)
    scores = pd.DataFrame({name: _scores(part) for name, part in variants.items()}).T
    return scores.join(100.0 * changes)[list(VARIANT_COLUMNS)].astype(dict.fromkeys(COUNTS, "int64"))


def _scores(predictions: pd.DataFrame) -> dict[str, float]:
    folds = pd.DataFrame([paper_metrics(part) for _, part in predictions.groupby(["fold", "seed"])])
    return {
        **{name: 100.0 * folds[name].mean() for name in ("accuracy", "f1")},
        "n_samples": predictions["sample_id"].nunique(),
        "n_groups": predictions["group_id"].nunique(),
        "folds": predictions["fold"].nunique(),
    }
