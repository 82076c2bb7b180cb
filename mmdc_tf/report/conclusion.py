"""What a run's numbers allow to be said: marks of rows that cannot be told apart, two or three sentences, and the
table for a terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import CONTROL, LEAK_FREE, PAPER
from mmdc_tf.errors import counted
from mmdc_tf.experiments.results import LEAK_WORTH, rows_that_ran
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import (
    OK,
    PREDICTIONS,
    Version,
    compare_in_folder,
    finished_files,
    run_of,
    trainings_of,
    version_of,
)
from mmdc_tf.io import read_json
from mmdc_tf.report.formatting import PROTOCOL_TITLES, change, limits, number

LONGEST_LABEL, LONGEST_STATUS, NAMED = 34, 24, 3
COLUMN, MARK = "distinguishable_from_best", "≈"
BEST, YES, NO = "best", "yes", "no"
MARK_LEGEND = (
    f"{MARK}: not distinguishable from the best row (McNemar's exact test, Holm-corrected, and the bootstrap interval "
    "of the difference over groups; 5 %)."
)


def with_marks(results: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Compares each row's leak-free predictions with those of the row of the best leak-free accuracy.

    The best row is chosen by the accuracies that are then compared, which makes it look a little better than it is: a
    row without a mark may be nearer to it than it seems.

    Returns:
        A copy with the column ``distinguishable_from_best`` at the end: on leak-free lines ``"best"`` (the first, of
        several equal ones), ``"yes"`` or ``"no"``; empty on other lines, where fewer than two rows are finished, and
        where a row was not scored as the best one was (another number of seeds).
    """
    free = _finished(results)
    verdicts: dict[str, str] = {}
    if len(free) > 1:
        files = {row: finished_files(trainings_of(folder / row / LEAK_FREE), PREDICTIONS) for row in free.index}
        rows = tuple((row, *map(version_of, paths)) for row, paths in files.items())
        verdicts = _verdicts(folder, str(free["accuracy"].idxmax()), rows)
    sides = zip(results["row"], results["protocol"], strict=True)
    return results.assign(**{COLUMN: [verdicts.get(row, "") if name == LEAK_FREE else "" for row, name in sides]})


def mark(line: Mapping[Any, Any]) -> str:
    """What stands behind a row's accuracy, from its line of the results: `` ≈``, or nothing."""
    return f" {MARK}" if line.get(COLUMN) == NO else ""


def marks_legend(results: pd.DataFrame) -> list[str]:
    """What the mark means, and which finished rows were not compared; nothing where no row was compared."""
    if COLUMN not in results or not (results[COLUMN] == BEST).any():
        return []
    free = _finished(results)
    others = free.index[free[COLUMN] == ""].tolist()
    apart = [f"Not scored on the samples, folds and seeds of the best row: {', '.join(others)}."] if others else []
    return [MARK_LEGEND, *apart]


def terminal_table(results: pd.DataFrame) -> str:
    """The accuracies of the rows that ran, a line a row, less than 120 columns wide."""
    ran = rows_that_ran(results)
    names = ran.drop_duplicates("row")
    labels = names["label"].where(~names["label"].duplicated(keep=False), names["label"] + ", " + names["citation"])
    sides = {str(name): part.to_dict("records") for name, part in ran.groupby("protocol", sort=False)}
    columns = {
        "published": [number(line["paper_accuracy"], 1) for line in sides[LEAK_FREE]],
        **{PROTOCOL_TITLES[name].lower(): [*map(_accuracy, lines)] for name, lines in sides.items()},
        "95 % interval": [limits(line, "accuracy", 1).strip(" ()") for line in sides[LEAK_FREE]],
    }
    if CONTROL in sides:
        columns["leak's worth"] = [change(line, LEAK_WORTH, decimals=1) for line in sides[LEAK_FREE]]
    else:
        pairs = zip(sides[LEAK_FREE], sides[PAPER], strict=True)
        gains = [free["accuracy"] - paper["accuracy"] for free, paper in pairs]
        columns["less paper"] = [f"{gain:+.1f}" if np.isfinite(gain) else "" for gain in gains]
    table = pd.DataFrame(columns, index=[textwrap.shorten(text, LONGEST_LABEL, placeholder=" …") for text in labels])
    wide = [len(str(name)) + 1 for name in table]  # two spaces between columns
    return table.rename_axis(columns="accuracy (per cent)").to_string(col_space=wide)


def conclusion(table: PaperTable, results: pd.DataFrame, folder: Path) -> list[str]:
    """A few sentences: what is lost without the leak, and what the paper's network is worth.

    A difference is claimed where its interval leaves out 0 (of two networks, and McNemar's test agrees). A fall from
    the paper's protocol, which scores other images, is claimed where the two intervals do not overlap.
    """
    free = _finished(results)
    if free.empty:
        return ["No row has a finished leak-free result."]
    best = free.sort_values("accuracy", ascending=False, kind="stable").iloc[0]
    interval = f"{best['accuracy_ci_low']:.1f} to {best['accuracy_ci_high']:.1f}"
    highest = f"Best leak-free accuracy: {best['label']}, {best['accuracy']:.1f} % ({interval})."
    falls = _falls(results, run_of(folder).get("group_unit", "group"))
    return [*falls, *(_worth(table, free, folder) or [highest])]


def inputs_of(training: Path) -> list[str]:
    """The tensors that a training's model takes, from its folder; none where its card is not there."""
    return (read_json(training / "model.json") or {}).get("inputs", [])


def _finished(results: pd.DataFrame, protocol: str = LEAK_FREE) -> pd.DataFrame:
    """The lines of a protocol that have a result, by row."""
    return results[(results["protocol"] == protocol) & (results["status"] == OK)].set_index("row")


@lru_cache(maxsize=64)
def _verdicts(folder: Path, best: str, rows: tuple[tuple[str | Version, ...], ...]) -> dict[str, str]:
    """The verdicts on rows, each its name and its files; remembered, as the numbers of the table are."""
    lines, _ = compare_in_folder(folder, best, [str(row) for row, *_ in rows], LEAK_FREE)
    if lines is None:
        return {}
    answers = lines["distinguishable"].map({True: YES, False: NO})
    return {best: BEST, **dict(zip(lines["row"], answers, strict=True))}


def _accuracy(line: dict[Any, Any]) -> str:
    return number(line["accuracy"], 1) or textwrap.shorten(line["status"], LONGEST_STATUS, placeholder=" …")


def _falls(results: pd.DataFrame, unit: str) -> list[str]:
    """What happens to the accuracy where the images of a group stay together, and how much higher the paper's protocol
    stands, of rows whose fall is taken from the image-level folds."""
    free = _finished(results)
    paper, control = (_finished(results, protocol).reindex(free.index) for protocol in (PAPER, CONTROL))
    is_controlled = free["leak_worth"].notna()
    is_above = paper["accuracy_ci_low"] > free["accuracy_ci_high"]
    # the image-level folds score the same images, the paper's protocol does not
    is_sure = (free["leak_worth_ci_high"] < 0).where(is_controlled, is_above)
    before = control["accuracy"].where(is_controlled, paper["accuracy"])
    falls = free.assign(before=before, points=before - free["accuracy"])
    texts = [
        f"by {fall['points']:.1f} points for {fall['label']} ({fall['before']:.1f} → {fall['accuracy']:.1f})"
        for fall in _largest_first(falls[is_sure])
    ]
    if len(texts) > NAMED:
        texts[NAMED:] = [f"less for {counted(len(texts) - NAMED, 'other row')}"]
    sentences = [f"When {unit}s stay together, accuracy falls {_listed(texts)}."] if texts else []
    unsure = falls.loc[~is_sure & before.notna(), "label"].tolist()
    if unsure:
        which = _listed(unsure) if len(unsure) <= NAMED else counted(len(unsure), "row")
        sentences.append(f"No fall can be claimed for {which}: the intervals leave room for none.")
    above = free.assign(points=paper["accuracy"] - free["accuracy"])[is_controlled & is_above]
    if len(above):
        texts = [f"{line['points']:.1f} points higher for {line['label']}" for line in _largest_first(above)[:NAMED]]
        why = "it trains on more images too, and chooses the epoch by the images that it scores"
        sentences.append(f"The paper protocol stands {_listed(texts)}: {why}.")
    return sentences


def _largest_first(falls: pd.DataFrame) -> list[dict[Any, Any]]:
    return falls.sort_values("points", ascending=False, kind="stable").to_dict("records")


def _worth(table: PaperTable, free: pd.DataFrame, folder: Path) -> list[str]:
    """The best of the rows that have a plainer one beside them, compared with that and with age and density alone."""
    rows = [row for row in table.rows if row.name in free.index]
    inputs = {row.name: set(inputs_of(trainings_of(folder / row.name / LEAK_FREE)[0]["folder"])) for row in rows}
    pairs = [(row, plainer) for row in rows if (plainer := _plainer(row, rows, inputs)) is not None]
    if not pairs:
        return []
    own, plainer = max(pairs, key=lambda pair: free["accuracy"][pair[0].name])
    less = "without age and density" if "metadata" in inputs[own.name] - inputs[plainer.name] else "alone"
    others = {plainer.name: f"{plainer.label}, the same backbone {less}"}
    if "metadata" in inputs[own.name]:
        others |= {row.name: row.label for row in rows if inputs[row.name] == {"metadata"}}
    compared = {name: compare_in_folder(folder, name, [own.name], LEAK_FREE)[0] for name in others}
    texts = [_difference(lines.iloc[0], others[name]) for name, lines in compared.items() if lines is not None]
    return [f"Leak-free, {own.label} is {_listed(texts)}."] if texts else []


def _plainer(row: Row, rows: list[Row], inputs: dict[str, set[str]]) -> Row | None:
    """A row of the same backbone that is given less, or that is the backbone alone; one of the same source first."""
    backbone = row.arguments.get("backbone")
    found = [
        other
        for other in rows
        if backbone is not None
        and other.arguments.get("backbone") == backbone
        and other.preprocessing == row.preprocessing
        and "image" in inputs[other.name] <= inputs[row.name]
        and (inputs[other.name] != inputs[row.name] or other.model == "backbone_classifier" != row.model)
    ]
    return min(found, key=lambda other: other.citation != row.citation, default=None)


def _difference(line: pd.Series, other: str) -> str:
    """From a line of ``mmdc_tf.evaluation.comparison.compare_rows``, whose baseline is the other row."""
    points, low, high = (100.0 * line[name] for name in ("difference", "ci_low", "ci_high"))
    if not line["distinguishable"]:
        return f"not told apart from {other} ({points:+.1f} points, {low:+.1f} to {high:+.1f})"
    low, high = sorted((abs(low), abs(high)))  # of the same sign
    return f"{abs(points):.1f} points ({low:.1f} to {high:.1f}) {'below' if points < 0 else 'above'} {other}"


def _listed(texts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def next_commands(results: pd.DataFrame, folder: Path, dataset_name: str, dataset: Dataset) -> list[str]:
    """Two commands to go on with: where the best network looked, or an audit of the data; and TensorBoard.

    Args:
        results: of the table.
        folder: of the table in the run's.
        dataset_name: for ``--dataset``: a phantom lies in the layout of a real data set.
        dataset: that the run read.
    """
    free = _finished(results)["accuracy"].sort_values(ascending=False, kind="stable")
    models = [one for row in free.index for one in sorted((folder / row / LEAK_FREE).glob("*/model.keras"))[:1]]
    output = folder.parent
    first = ["mmdc-tf", "audit", "--dataset", dataset_name, "--root", dataset.root, "--output", output]
    if models:
        first = ["mmdc-tf", "explain", "--model", models[0].parent, "--output", output / "heatmaps"]
        first += _scan(models[0].parent, dataset.table)
    return [_typed(first), _typed(["tensorboard", "--logdir", output])]


def _scan(training: Path, table: pd.DataFrame) -> list[Any]:
    """The first test image with a lesion mask, or the first of all, with what is known of its patient."""
    tested = table[table["sample_id"].isin(pd.read_csv(training / PREDICTIONS)["sample_id"])]
    one = tested.sort_values("lesion_masks", key=lambda masks: masks.str.len() == 0, kind="stable").iloc[0]
    known = {name: one[name] for name in ("age", "density") if pd.notna(one[name])}
    return [*(word for name, value in known.items() for word in (f"--{name}", f"{value:g}")), one["image_path"]]


def _typed(words: list[Any]) -> str:
    """As it can be typed here: a program beside this Python, where it is not on the path, is named with its folder."""
    program, *others = map(str, words)
    if shutil.which(program) is None:
        program = os.path.relpath(Path(sys.executable).with_name(program))
    return shlex.join([program, *others])
