"""What stands behind a table's numbers, for programs (CSV) and for people (Markdown)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.evaluation.metrics import CLASS_SCORES
from mmdc_tf.evaluation.subgroups import FEW_GROUPS, FEW_IMAGES, TITLES
from mmdc_tf.experiments.details import Details, table_details
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import OK, run_of
from mmdc_tf.io import write_text
from mmdc_tf.report.formatting import (
    PERCENT_DECIMALS,
    decimals_of,
    grid,
    limits,
    markdown_text,
    method,
    number,
    page,
    write_csv,
)

DECIMALS = 1  # of percentages
STATISTICS = {
    "balanced_accuracy": "Balanced accuracy",
    "auc": "AUC, one against rest",
    "kappa": "Cohen's kappa",
    "brier": "Brier score",
    "ece": "Calibration error",
}
LEVELS = {"image": "Images", "breast": "Breasts", "patient": "Patients"}
PLACES = {"image": "sample", "breast": "patient or side", "patient": "patient"}
LEGEND = (
    "Leak-free protocol throughout; the CSV files beside this one hold the paper protocol too. "
    "Means over folds and seeds and, in brackets, the 95 % interval, bootstrap over groups within each fold, unless "
    "said otherwise. With few groups a fold, intervals of macro F1 and kappa cover their large-sample value in less "
    "than 95 % (docs/integrity.md). In per cent, but AUC, kappa, Brier score and calibration error, which are "
    "fractions. Rows without a finished leak-free result are left out."
)
BY_CLASS = "Precision / recall / F1 of each class."
BY_LEVEL = (
    "Views are combined by the mean of their probabilities. The truth of a breast or patient is the label of its "
    "images; where they differ, the most severe (normal < benign < cancer or malignant). Where the label is the "
    "patient's, as in Mini-DDSM, a breast without a lesion has it too. Under the paper protocol (CSV) a patient's "
    "views are on both sides of the split: only the scored ones are combined."
)
BY_SUBGROUP = (
    "Accuracy over the images of all folds together; its interval draws the groups of all folds together too. Classes "
    "are not equally frequent in the subgroups, so that accuracies of two subgroups may differ for that alone; no "
    'difference is tested. "one class only": the accuracy is the recall of that class. "few": fewer than '
    f"{FEW_IMAGES} images or {FEW_GROUPS} groups."
)
NOTHING = "No row has a finished leak-free result."
Text = Callable[[dict[Any, Any]], str]
"""From a line of scores to a cell."""


def write_details(table: PaperTable, output: Path, results: pd.DataFrame | None = None) -> Details:
    """Computes the details of a table's finished rows and writes them.

    ``NAME_classes.csv``, and, where the run has ``samples.csv``, ``NAME_levels.csv`` and ``NAME_subgroups.csv``, both
    protocols; ``NAME_details.md`` for reading, leak-free only. Scores are percentages, but the AUC is a fraction, as
    in the table's own CSV. Meant for the end of a run: each subgroup of each row draws a bootstrap.

    Args:
        table: the paper's table.
        output: the run's folder.
        results: as from ``table_results``, where they are computed already.

    Returns:
        What was written, as from ``mmdc_tf.experiments.details.table_details``.

    Raises:
        InputError: a file of the run cannot be used.
    """
    folder = output / table.name
    results = table_results(table, folder) if results is None else results
    run = run_of(folder)
    details = table_details(results, folder)
    for name in ("classes", "levels", "subgroups"):
        lines = getattr(details, name)
        if lines is not None:
            write_csv(lines, run, output / f"{table.name}_{name}.csv")
    write_text(output / f"{table.name}_details.md", details_markdown(table, results, details, run))
    return details


def details_markdown(table: PaperTable, results: pd.DataFrame, details: Details, run: dict[str, Any]) -> str:
    """The page for reading.

    Args:
        table: its title is the heading.
        results: as from ``table_results``; its columns of ``STATISTICS`` are shown.
        details: as from ``table_details``.
        run: the content of ``run.json``; empty where nothing was run yet.
    """
    finished = _leak_free(results[results["status"] == OK])
    parts = [NOTHING] if finished.empty else _sections(finished, details)
    return page(f"{table.title}: details", run, [LEGEND, *details.notes, *parts])


def _sections(finished: pd.DataFrame, details: Details) -> list[str]:
    return [
        *_statistics(finished),
        *_classes(_leak_free(details.classes)),
        *_levels(_leak_free(details.levels)),
        *_subgroups(_leak_free(details.subgroups)),
    ]


def _leak_free(lines: pd.DataFrame | None) -> pd.DataFrame:
    return pd.DataFrame() if lines is None else lines[lines["protocol"] == "leak-free"]


def _statistics(results: pd.DataFrame) -> list[str]:
    lines = [[*method(line), *(_interval(line, name) for name in STATISTICS)] for line in results.to_dict("records")]
    return ["## Statistics", _grid(list(STATISTICS.values()), lines)]


def _classes(lines: pd.DataFrame) -> list[str]:
    header = [f"{name} ({_count(part, 'support')})" for name, part in _parts(lines, "class")]
    cells = _cells(lines, "class", lambda line: " / ".join(number(line[name], DECIMALS) for name in CLASS_SCORES))
    return ["## By class", BY_CLASS, _grid(header, cells)]


def _levels(lines: pd.DataFrame) -> list[str]:
    if lines.empty:
        return []
    header = [f"{LEVELS[name]} ({_count(part, 'n_units')})" for name, part in _parts(lines, "level")]
    cells = _cells(lines, "level", lambda line: f"{_interval(line, 'accuracy')}{_auc(line)}")
    return ["## By breast and patient", BY_LEVEL, _grid(header, cells), *_left_out(lines)]


def _auc(line: dict[Any, Any]) -> str:
    text = _interval(line, "auc")
    return f", AUC {text}" if text else ""


def _left_out(lines: pd.DataFrame) -> list[str]:
    """What could not be combined: the same for every row, since it does not depend on a model."""
    absent = [title for name, title in LEVELS.items() if name not in set(lines["level"])]
    notes = [f"{title}: not named in this dataset." for title in absent]
    for level, part in _parts(lines, "level"):
        unplaced, undecided = part["unplaced_images"].max(), part["undecided_units"].max()
        if unplaced:
            notes.append(f"{LEVELS[level]}: images of unknown {PLACES[level]}, left out: {unplaced:,}.")
        if undecided:
            notes.append(
                f"{LEVELS[level]} whose images have several labels of no known order, left out: {undecided:,}."
            )
    return ["  \n".join(notes)] if notes else []


def _subgroups(lines: pd.DataFrame) -> list[str]:
    if "subgroup" not in lines:
        return []
    parts = []
    for kind, part in _parts(lines, "subgroup"):
        header = [_subgroup_title(group) for _, group in _parts(part, "value")]
        cells = _cells(part, "value", lambda line: _interval(line, "accuracy"))
        parts += [f"### {TITLES[kind]}", _grid(header, [_class_counts(part), *cells])]
    absent = [title for kind, title in TITLES.items() if kind not in set(lines["subgroup"])]
    unknown = [f"Not known in this dataset: {'; '.join(absent)}."] if absent else []
    return ["## By subgroup", *([BY_SUBGROUP, *parts] if parts else []), *unknown]


def _subgroup_title(part: pd.DataFrame) -> str:
    """``70+ (n = 1,234; few)``; what is flagged does not depend on the model."""
    flags = part["flags"].iloc[0]
    return f"{part['value'].iloc[0]} ({_count(part, 'n_images')}{'; ' if flags else ''}{flags})"


def _class_counts(part: pd.DataFrame) -> list[str]:
    """The line of the images of each class, which stands above the models' lines."""
    names = [name for name in part.columns if name.startswith("n_") and name not in ("n_images", "n_groups")]
    title = " / ".join(name.removeprefix("n_") for name in names)
    lines = part.drop_duplicates("value").to_dict("records")
    counts = [" / ".join(f"{line[name]:,}" for name in names) for line in lines]
    return [markdown_text(f"Images: {title}"), "", *counts]


def _cells(lines: pd.DataFrame, key: str, text: Text) -> list[list[str]]:
    """One line a row of the table, one cell a value of ``key`` in the order of the first row."""
    columns = list(dict.fromkeys(lines[key]))
    cells = []
    for _, part in _parts(lines, "row"):
        records = {line[key]: line for line in part.to_dict("records")}
        texts = [text(records[column]) if column in records else "" for column in columns]
        cells.append([*method(next(iter(records.values()))), *texts])
    return cells


def _parts(lines: pd.DataFrame, column: str) -> list[tuple[str, pd.DataFrame]]:
    """The lines of each value of a column, in order of appearance."""
    return [(str(value), part) for value, part in lines.groupby(column, sort=False)]


def _grid(header: list[str], lines: list[list[str]]) -> str:
    return grid(["Method", "Source", *map(markdown_text, header)], lines)


def _count(part: pd.DataFrame, column: str) -> str:
    return f"n = {part[column].iloc[0]:,}"


def _interval(line: dict[Any, Any], name: str) -> str:
    return number(line[name], _decimals(name)) + limits(line, name, _decimals(name))


def _decimals(name: str) -> int:
    """Percentages stand here with one: many cells, and few images behind most of them."""
    return DECIMALS if decimals_of(name) == PERCENT_DECIMALS else decimals_of(name)
