"""What stands behind a table's numbers: results by class, by breast and patient, and by subgroup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mmdc_tf.evaluation.levels import level_results
from mmdc_tf.evaluation.metrics import class_results
from mmdc_tf.evaluation.subgroups import subgroup_results
from mmdc_tf.experiments.results import PLAIN_METRICS
from mmdc_tf.experiments.run_folder import OK, row_predictions
from mmdc_tf.experiments.samples import FILE_NAME, read_samples
from mmdc_tf.experiments.variants import ROW_COLUMNS, labelled

NO_SAMPLES = (
    f"No results by breast, patient or subgroup: this run has no {FILE_NAME}. "
    "Running the same command again writes it, and trains nothing that is finished."
)
Score = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Details:
    """The details of a table's finished rows.

    Each line starts with the columns ``mmdc_tf.experiments.variants.ROW_COLUMNS``. As in the table itself, scores are
    percentages, but for the AUC.

    Args:
        classes: a line a class, as from ``class_results``; None where no row is finished.
        levels: a line a level, as from ``level_results``; None as ``classes``, and without ``samples.csv``.
        subgroups: a line a subgroup, as from ``subgroup_results``; None as ``levels``.
        notes: what is left out, and what to do about it.
    """

    classes: pd.DataFrame | None
    levels: pd.DataFrame | None
    subgroups: pd.DataFrame | None
    notes: tuple[str, ...] = ()


def table_details(results: pd.DataFrame, folder: Path) -> Details:
    """Computes the details from the predictions files and ``samples.csv`` of a run.

    Args:
        results: as from ``table_results``; the rows and protocols whose status is "ok" are taken.
        folder: ``OUT/table1``, ``OUT/table2`` or ``OUT/figure3``.

    Raises:
        InputError: a predictions file lacks a column, or ``samples.csv`` is not of the same run.
    """
    samples = read_samples(folder)
    scores: dict[str, Score] = {"classes": class_results}
    if samples is not None:
        scores["levels"] = lambda predictions: level_results(predictions, samples)
        scores["subgroups"] = lambda predictions: subgroup_results(predictions, samples)
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in scores}
    finished = results.loc[results["status"] == OK, list(ROW_COLUMNS)]
    for names in finished.itertuples(index=False, name=None):
        predictions = row_predictions(folder, names[0], names[-1])
        for name, score in scores.items():
            parts[name].append(labelled(_percentages(score(predictions)), names))
    joined = {name: pd.concat(tables, ignore_index=True) if tables else None for name, tables in parts.items()}
    return Details(
        classes=joined["classes"],
        levels=joined.get("levels"),
        subgroups=joined.get("subgroups"),
        notes=(NO_SAMPLES,) if samples is None else (),
    )


def _percentages(scores: pd.DataFrame) -> pd.DataFrame:
    """Fractions as percentages, but those of ``PLAIN_METRICS``."""
    fractions = map(str, scores.select_dtypes("float").columns)
    names = [name for name in fractions if name.split("_ci_")[0] not in PLAIN_METRICS]
    return scores.assign(**{name: 100.0 * scores[name] for name in names})
