"""What a run says, for people: its table for a terminal, and two or three sentences computed from its numbers."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmdc_tf.datasets.splits import CONTROL, LEAK_FREE, PAPER
from mmdc_tf.errors import counted
from mmdc_tf.experiments.results import rows_that_ran
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import OK, compare_in_folder, run_of, trainings_of
from mmdc_tf.report.formatting import PROTOCOL_TITLES, number
from mmdc_tf.report.tensorboard_trial import inputs_of

LONGEST_LABEL, LONGEST_STATUS, NAMED = 34, 24, 3


def terminal_table(results: pd.DataFrame) -> str:
    """The accuracies of the rows that ran, a line a row, less than 120 columns wide.

    Args:
        results: as from ``mmdc_tf.experiments.results.table_results``.
    """
    ran = rows_that_ran(results)
    names = ran.drop_duplicates("row").set_index("row")[["label", "citation"]]
    twice = names["label"].duplicated(keep=False)
    labels = names["label"].where(~twice, names["label"] + ", " + names["citation"])
    protocols = list(dict.fromkeys(ran["protocol"]))
    lines = []
    for _, part in ran.groupby("row", sort=False):
        sides = part.set_index("protocol").to_dict("index")
        free = sides[LEAK_FREE]
        interval = "–".join(number(free[f"accuracy_ci_{end}"], 1) for end in ("low", "high"))
        change = free["accuracy"] - sides[PAPER]["accuracy"]
        worth = {"leak's worth": _with_limits(free, "leak_worth")} if CONTROL in protocols else {}
        lines.append(
            {
                "published": number(free["paper_accuracy"], 1),
                **{PROTOCOL_TITLES[name].lower(): _accuracy(sides[name]) for name in protocols},
                "95 % interval": interval if free["status"] == OK else "",
                **(worth or {"less paper": f"{change:+.1f}" if np.isfinite(change) else ""}),
            }
        )
    table = pd.DataFrame(lines, index=[textwrap.shorten(text, LONGEST_LABEL, placeholder=" …") for text in labels])
    wide = [len(str(name)) + 1 for name in table]  # two spaces between columns
    return table.rename_axis(columns="accuracy (per cent)").to_string(col_space=wide)


def conclusion(table: PaperTable, results: pd.DataFrame, folder: Path) -> list[str]:
    """A few sentences: what is lost without the leak, and what the paper's network is worth.

    A difference is claimed where its interval leaves out 0 (of two networks, and McNemar's test agrees). A fall from
    the paper's protocol, which scores other images, is claimed where the two intervals do not overlap.

    Args:
        table: the paper's table.
        results: as from ``mmdc_tf.experiments.results.table_results``.
        folder: the table's, as ``OUT/table1``.
    """
    lines = {row: part.set_index("protocol").to_dict("index") for row, part in results.groupby("row", sort=False)}
    free = results[(results["protocol"] == LEAK_FREE) & (results["status"] == OK)].set_index("row")
    if free.empty:
        return ["No row has a finished leak-free result."]
    best = free.sort_values("accuracy", ascending=False, kind="stable").iloc[0]
    limits = f"{best['accuracy_ci_low']:.1f} to {best['accuracy_ci_high']:.1f}"
    highest = f"Best leak-free accuracy: {best['label']}, {best['accuracy']:.1f} % ({limits})."
    unit = run_of(folder).get("group_unit", "group")
    finished = [sides for row, sides in lines.items() if row in free.index]
    return [*_falls(finished, unit), *_papers(finished), *(_worth(table, free, folder) or [highest])]


def _accuracy(line: dict[Any, Any]) -> str:
    return number(line["accuracy"], 1) or textwrap.shorten(line["status"], LONGEST_STATUS, placeholder=" …")


def _falls(rows: list[dict[Any, dict[Any, Any]]], unit: str) -> list[str]:
    """What happens to the accuracy where the images of a group stay together; of each row its lines by protocol."""
    found = [fall for sides in rows if (fall := _fall(sides)) is not None]
    sure = sorted((fall for fall in found if fall.is_sure), key=lambda fall: fall.points, reverse=True)
    texts = [f"by {fall.points:.1f} points for {fall.label} ({fall.before:.1f} → {fall.after:.1f})" for fall in sure]
    if len(texts) > NAMED:
        texts[NAMED:] = [f"less for {counted(len(texts) - NAMED, 'other row')}"]
    sentences = [f"When {unit}s stay together, accuracy falls {_listed(texts)}."] if texts else []
    unsure = [fall.label for fall in found if not fall.is_sure]
    if unsure:
        which = _listed(unsure) if len(unsure) <= NAMED else counted(len(unsure), "row")
        sentences.append(f"No fall can be claimed for {which}: the intervals leave room for none.")
    return sentences


def _papers(rows: list[dict[Any, dict[Any, Any]]]) -> list[str]:
    """How much higher the paper's protocol stands, of rows whose fall was taken from the image-level folds."""
    both = [
        (sides[PAPER], sides[LEAK_FREE]) for sides in rows if np.isfinite(sides[LEAK_FREE].get("leak_worth", np.nan))
    ]
    above = [(paper["accuracy"] - free["accuracy"], free["label"]) for paper, free in both if _is_above(paper, free)]
    if not above:
        return []
    texts = [f"{points:.1f} points higher for {label}" for points, label in sorted(above, reverse=True)[:NAMED]]
    return [
        f"The paper protocol stands {_listed(texts)}: it trains on more images too, and chooses the epoch by the "
        "images that it scores."
    ]


def _is_above(paper: dict[Any, Any], free: dict[Any, Any]) -> bool:
    return paper["status"] == OK and paper["accuracy_ci_low"] > free["accuracy_ci_high"]


class _Fall(NamedTuple):
    """Of one row's accuracy, in per cent, from a split of images to one of groups."""

    label: str
    before: float
    after: float
    is_sure: bool

    @property
    def points(self) -> float:
        return self.before - self.after


def _fall(sides: dict[Any, dict[Any, Any]]) -> _Fall | None:
    """From the image-level folds, which score the same images, or else from the paper's protocol, which does not."""
    free = sides[LEAK_FREE]
    if np.isfinite(free.get("leak_worth", np.nan)):
        leaking, is_sure = sides[CONTROL], free["leak_worth_ci_high"] < 0
    elif PAPER in sides and sides[PAPER]["status"] == OK:
        leaking, is_sure = sides[PAPER], _is_above(sides[PAPER], free)
    else:
        return None
    return _Fall(free["label"], leaking["accuracy"], free["accuracy"], is_sure)


def _with_limits(line: dict[Any, Any], name: str) -> str:
    """``-10.3 (-12.1 to -8.6)``, nothing where it was not measured."""
    value, low, high = (line[name + end] for end in ("", "_ci_low", "_ci_high"))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})" if np.isfinite(value) else ""


def _worth(table: PaperTable, free: pd.DataFrame, folder: Path) -> list[str]:
    """The best of the rows that have a plainer one beside them, compared with that and with age and density alone."""
    rows = [row for row in table.rows if row.name in free.index]
    inputs = {row.name: set(inputs_of(trainings_of(folder / row.name / LEAK_FREE)[0])) for row in rows}
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
    if points < 0:
        points, low, high, side = -points, -high, -low, "below"
    else:
        side = "above"
    return f"{points:.1f} points ({low:.1f} to {high:.1f}) {side} {other}"


def _listed(texts: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
