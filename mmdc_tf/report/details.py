"""What stands behind a table's numbers: results by class, by breast and patient, by subgroup; and calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.datasets.splits import LEAK_FREE, PROTOCOLS
from mmdc_tf.evaluation.calibration import COUNTS, SHARES
from mmdc_tf.evaluation.levels import level_results
from mmdc_tf.evaluation.metrics import CLASS_SCORES, class_results
from mmdc_tf.evaluation.subgroups import FEW_GROUPS, FEW_IMAGES, TITLES, subgroup_results
from mmdc_tf.experiments.results import PLAIN_METRICS, ROW_COLUMNS, labelled
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import OK, read_samples, row_predictions, run_of
from mmdc_tf.experiments.scoring import CalibratedRow, calibrated_row
from mmdc_tf.io import write_text
from mmdc_tf.report.curves import overview
from mmdc_tf.report.figures import write_png
from mmdc_tf.report.formatting import grid, interval, markdown_text, method, notice_of, number, page, write_csv

DECIMALS = 1  # of percentages: many cells, and few images behind most of them
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
NO_SAMPLES = (
    "No results by breast, patient or subgroup: this run has no samples.csv. Running the same command again writes it, "
    "and trains nothing that is finished."
)
Text = Callable[[dict[Any, Any]], str]  # from a line of scores


def write_details(table: PaperTable, output: Path, results: pd.DataFrame) -> None:
    """Writes NAME_details.md for reading, leak-free only, and the lines of both protocols as CSV.

    These are ``NAME_classes.csv`` and, where the run has ``samples.csv``, ``NAME_levels.csv`` and
    ``NAME_subgroups.csv``. Scores are percentages, but the AUC is a fraction. Meant for the end of a run: each subgroup
    of each row draws a bootstrap.

    Raises:
        InputError: a predictions file lacks a column, or ``samples.csv`` is not of the same run.
    """
    folder = output / table.name
    run, samples, finished = run_of(folder), read_samples(folder), results[results["status"] == OK]
    scores: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {"classes": class_results}
    if samples is not None:
        scores["levels"] = lambda predictions: level_results(predictions, samples)
        scores["subgroups"] = lambda predictions: subgroup_results(predictions, samples)
    rows = finished[list(ROW_COLUMNS)].itertuples(index=False, name=None)
    predictions = {names: row_predictions(folder, names[0], names[-1]) for names in rows}
    lines = {"": finished}
    for name, score in scores.items() if predictions else ():
        found = [labelled(_percentages(score(one)), names) for names, one in predictions.items()]
        lines[name] = pd.concat(found, ignore_index=True)
        write_csv(lines[name], run, output / f"{table.name}_{name}.csv")
    free = {name: part[part["protocol"] == LEAK_FREE] for name, part in lines.items()}
    parts = ["No row has a finished leak-free result."] if free[""].empty else _sections(free)
    notes = [LEGEND, *([NO_SAMPLES] if samples is None else [])]
    write_text(output / f"{table.name}_details.md", page(f"{table.title}: details", run, [*notes, *parts]))


def write_calibration(table: PaperTable, output: Path) -> list[Path]:
    """Writes NAME_calibration.csv and, leak-free, NAME_reliability.png and NAME_decision.png beside a run's tables.

    All are computed from the predictions files and the ``calibration.json`` of each training. In the CSV ``n`` counts
    predictions: each image once a seed; ``temperature`` is the mean over folds and seeds; ``nll``, ``ece`` and
    ``brier`` (plain numbers) are of the pooled test parts, and so are the counts and shares (per cent) at each
    training's stored threshold, which are empty where there is none: no malignant class, or probabilities of 0 and 1.

    Returns:
        The files written: none where no row counts (``calibrated_rows``), and no decision curve where the dataset has
        no malignant class. A file of these names from an earlier run that is not written again is removed.

    Raises:
        InputError: a file of the run cannot be used.
    """
    found = {protocol: calibrated_rows(table, protocol, output) for protocol in PROTOCOLS}
    run, free = run_of(output / table.name), found[LEAK_FREE]
    lines = [_calibration(one, protocol, notice_of(run)) for protocol, rows in found.items() for _, one in rows]
    written = []
    for name, rows in (("calibration.csv", lines), ("reliability.png", free), ("decision.png", decided(free))):
        path = output / f"{table.name}_{name}"
        if not rows:
            path.unlink(missing_ok=True)
            continue
        written.append(path)
        if path.suffix == ".csv":
            write_csv(pd.DataFrame(lines).astype(dict.fromkeys(COUNTS, "Int64")), run, path)
        else:
            write_png(overview(name.removesuffix(".png"), table, rows, run, LEAK_FREE), path)
    return written


def calibrated_rows(table: PaperTable, protocol: str, output: Path) -> list[tuple[Row, CalibratedRow]]:
    """The rows of which all trainings under a protocol are finished and calibrated, as those of old versions are not.

    Raises:
        InputError: a file of the run cannot be used.
    """
    found = [(row, calibrated_row(row, output / table.name / row.name / protocol)) for row in table.rows]
    return [(row, one) for row, one in found if one is not None]


def decided(rows: list[tuple[Row, CalibratedRow]]) -> list[tuple[Row, CalibratedRow]]:
    """Those with a positive class."""
    return [(row, one) for row, one in rows if one.positive is not None]


def _percentages(scores: pd.DataFrame) -> pd.DataFrame:
    """Fractions as percentages, but those of ``PLAIN_METRICS``."""
    fractions = map(str, scores.select_dtypes("float").columns)
    names = [name for name in fractions if name.split("_ci_")[0] not in PLAIN_METRICS]
    return scores.assign(**{name: 100.0 * scores[name] for name in names})


def _sections(free: dict[str, pd.DataFrame]) -> list[str]:
    """The page's parts, from the leak-free results and the lines of each kind."""
    lines = free[""].to_dict("records")
    statistics = [[*method(line), *(interval(line, name, DECIMALS) for name in STATISTICS)] for line in lines]
    by_class = _wide(
        free["classes"],
        "class",
        lambda line: f"{line['class']} (n = {line['support']:,})",
        lambda line: " / ".join(number(line[name], DECIMALS) for name in CLASS_SCORES),
    )
    parts = ["## Statistics", grid(["Method", "Source", *STATISTICS.values()], statistics)]
    parts += ["## By class", "Precision / recall / F1 of each class.", by_class]
    if "levels" in free:
        by_level = _wide(
            free["levels"],
            "level",
            lambda line: f"{LEVELS[line['level']]} (n = {line['n_units']:,})",
            lambda line: ", AUC ".join(filter(None, (interval(line, name, DECIMALS) for name in ("accuracy", "auc")))),
        )
        parts += ["## By breast and patient", BY_LEVEL, by_level, *_left_out(free["levels"])]
    if "subgroups" in free:
        kinds = {str(kind): part for kind, part in free["subgroups"].groupby("subgroup", sort=False)}
        parts += ["## By subgroup", *([BY_SUBGROUP] if kinds else [])]
        parts += [text for kind, part in kinds.items() for text in (f"### {TITLES[kind]}", _by_subgroup(part))]
        absent = [title for kind, title in TITLES.items() if kind not in kinds]
        parts += [f"Not known in this dataset: {'; '.join(absent)}."] if absent else []
    return parts


def _wide(lines: pd.DataFrame, key: str, title: Text, text: Text, above: Iterable[list[str]] = ()) -> str:
    """A table with a line a row and a column a value of ``key``; ``above``: lines that come first."""
    titles = {line[key]: markdown_text(title(line)) for line in lines.drop_duplicates(key).to_dict("records")}
    cells = list(above)
    for _, part in lines.groupby("row", sort=False):
        records = {line[key]: line for line in part.to_dict("records")}
        texts = [text(records[value]) if value in records else "" for value in titles]
        cells.append([*method(next(iter(records.values()))), *texts])
    return grid(["Method", "Source", *titles.values()], cells)


def _by_subgroup(part: pd.DataFrame) -> str:
    """The images of each class, then each row's accuracy; ``70+ (n = 1,234; few)``: flags do not depend on the row."""
    names = [name for name in part.columns if name.startswith("n_") and name not in ("n_images", "n_groups")]
    title = markdown_text(f"Images: {' / '.join(name.removeprefix('n_') for name in names)}")
    lines = part.drop_duplicates("value").to_dict("records")
    counts = [title, "", *(" / ".join(f"{line[name]:,}" for name in names) for line in lines)]
    return _wide(
        part,
        "value",
        lambda line: f"{line['value']} (n = {line['n_images']:,}{'; ' if line['flags'] else ''}{line['flags']})",
        lambda line: interval(line, "accuracy", DECIMALS),
        [counts],
    )


def _left_out(lines: pd.DataFrame) -> list[str]:
    """What could not be combined: the same for every row, since it does not depend on a model."""
    most = lines.groupby("level", sort=False)[["unplaced_images", "undecided_units"]].max()
    notes = [f"{title}: not named in this dataset." for level, title in LEVELS.items() if level not in most.index]
    for level, unplaced, undecided in most.itertuples(name=None):
        title, place = LEVELS[level], PLACES[level]
        if unplaced:
            notes.append(f"{title}: images of unknown {place}, left out: {unplaced:,}.")
        if undecided:
            notes.append(f"{title} whose images have several labels of no known order, left out: {undecided:,}.")
    return ["  \n".join(notes)] if notes else []


def _calibration(row: CalibratedRow, protocol: str, notice: str) -> dict[str, Any]:
    """A line of the CSV."""
    first = row.files[0]
    shares = {name: None if (share := row.reached[name]) is None else 100.0 * share for name in SHARES}
    return {
        "row": row.row.name,
        "label": row.row.label,
        "protocol": protocol,
        "fitted_on": first["fitted_on"],
        "n": len(row.after),
        "temperature": row.temperature,
        **row.scores,
        "positive_class": row.positive,
        "sensitivity_asked": None if row.positive is None else 100.0 * first["sensitivity_asked"],
        **shares,
        **{name: row.reached[name] for name in COUNTS},
        "notice": notice,
    }
