"""A run's table as CSV for programs, Markdown and LaTeX for people, with its footnotes."""

from __future__ import annotations

import itertools
import string
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmdc_tf.datasets.phantom_folder import NOTICE
from mmdc_tf.datasets.splits import CONTROL, LEAK_FREE, PAPER
from mmdc_tf.experiments.results import rows_that_ran, table_results
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import run_of
from mmdc_tf.io import write_text
from mmdc_tf.report.conclusion import mark, marks_legend, with_marks
from mmdc_tf.report.formatting import (
    PERCENT_DECIMALS,
    change,
    grid,
    limits,
    made_from,
    markdown_text,
    number,
    page,
    write_csv,
)

Sides = Mapping[str, Mapping[Any, Any]]
"""A row's lines of the results by protocol."""
Markup = Callable[[str], str]
EXTRA = "Extra rows, in no table of the paper"


class Column(NamedTuple):
    """A column of the table.

    Args:
        title: its head.
        text: of a row's lines.
        best: protocol and name, in the results, of the number of which the best is in bold.
        needs: the protocol without which the column is left out.
    """

    title: str
    text: Callable[[Sides], str]
    best: tuple[str, str] | None = None
    needs: str = PAPER


def _ours(protocol: str, name: str) -> Callable[[Sides], str]:
    return lambda sides: number(sides[protocol][name])


def _accuracy(protocol: str) -> Callable[[Sides], str]:
    """The accuracy, or else why there is none; of several folds with spread, interval and mark."""

    def text(sides: Sides) -> str:
        line = sides[protocol]
        if not np.isfinite(line["accuracy"]):
            return line["status"]
        spread = f" ± {number(line['accuracy_std'])}" if np.isfinite(line["accuracy_std"]) else ""
        folds = spread + limits(line, "accuracy", PERCENT_DECIMALS) + mark(line)
        return number(line["accuracy"]) + (folds if protocol != PAPER else "")

    return text


def _protocol_difference(sides: Sides) -> str:
    difference = sides[LEAK_FREE]["accuracy"] - sides[PAPER]["accuracy"]
    return f"{difference:+.2f}" if np.isfinite(difference) else ""


def _leak_worth(sides: Sides) -> str:
    return change(*(sides[LEAK_FREE][f"leak_worth{part}"] for part in ("", "_ci_low", "_ci_high")))


COLUMNS = (
    Column("Method", lambda sides: sides[PAPER]["label"]),
    Column("Source", lambda sides: sides[PAPER]["citation"]),
    Column("Accuracy: published", _ours(PAPER, "paper_accuracy"), (PAPER, "paper_accuracy")),
    Column("ours, paper protocol", _accuracy(PAPER), (PAPER, "accuracy")),
    Column("ours, image-level folds (mean ± sd, 95 % interval)", _accuracy(CONTROL), (CONTROL, "accuracy"), CONTROL),
    Column("ours, leak-free (mean ± sd, 95 % interval)", _accuracy(LEAK_FREE), (LEAK_FREE, "accuracy")),
    Column("the leak's worth: leak-free − image-level folds (95 % interval)", _leak_worth, needs=CONTROL),
    Column("difference of protocols: leak-free − paper (training sizes differ)", _protocol_difference),
    Column("Macro F1: published", _ours(PAPER, "paper_f1"), (PAPER, "paper_f1")),
    Column("ours, paper protocol", _ours(PAPER, "f1"), (PAPER, "f1")),
    Column("ours, leak-free", _ours(LEAK_FREE, "f1"), (LEAK_FREE, "f1")),
)


def write_tables(table: PaperTable, output: Path) -> pd.DataFrame:
    """Computes a table from the run's predictions files and writes NAME.csv, NAME.md and NAME.tex.

    Returns:
        As ``table_results``, with the column ``distinguishable_from_best`` (``conclusion.with_marks``).
    """
    folder, path = output / table.name, output / f"{table.name}.csv"
    results, run = with_marks(table_results(table, folder), folder), run_of(folder)
    write_csv(results, run, path)
    write_text(path.with_suffix(".md"), markdown(table, results, run))
    write_text(path.with_suffix(".tex"), latex(table, results, run))
    return results


def markdown(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> str:
    """The table for reading: one line a row; the best of each column in bold."""
    header, cells, below = shown(table, results, run, markdown_text, "**{}**".format)
    return page(table.title, run, [grid(header, cells)], below)


def latex(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> str:
    """The rows that ran as a ``table*`` environment, whose first line names the packages that it needs."""
    header, cells, below = shown(table, rows_that_ran(results), run, _latex_text, r"\textbf{{{}}}".format)
    heads = [r"\shortstack{" + r" \\ ".join(textwrap.wrap(_latex_text(title), 17)) + "}" for title in header]
    body = pd.DataFrame(cells, columns=heads).style.hide(axis="index")
    in_paper, _, subject = table.title.partition(": ")
    caption = f"{subject[:1].upper()}{subject[1:]} ({in_paper} of the paper), published and ours"
    notice = f"; {NOTICE}" if run.get("synthetic") else ""
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs,graphicx}.",
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{_latex_text(caption + notice)}.}}",
            rf"\label{{tab:{table.name}}}",
            r"\resizebox{\textwidth}{!}{%",
            body.to_latex(hrules=True, column_format="ll" + "r" * (len(heads) - 2)).strip() + "}",
            r"\par\medskip\begin{minipage}{\textwidth}\scriptsize",
            *(_latex_text(line) + r"\par" for line in (*made_from(run), *below)),
            r"\end{minipage}",
            r"\end{table*}",
            "",
        ]
    )


def shown(
    table: PaperTable, results: pd.DataFrame, run: dict[str, Any], plain: Markup, bold: Markup
) -> tuple[list[str], list[list[str]], list[str]]:
    """What people see of a table, in any format.

    Args:
        table, results, run: as everywhere; ``results`` may be some of the rows.
        plain: each cell's text goes through it.
        bold: the best of a column goes through this too.

    Returns:
        The titles of the columns, those of the control only where it was run; the lines, of which the one above the
        extra rows is ``EXTRA`` and empty cells; and, not marked up, the lines that stand below.
    """
    columns = [column for column in COLUMNS if column.needs in set(results["protocol"])]
    marks, notes = footnotes(table, results, run)
    best = {
        column.best: results.loc[results["protocol"] == column.best[0], column.best[1]].max()
        for column in columns
        if column.best
    }
    extra = {row.name for row in table.rows if row.extra}
    cells: list[list[str]] = []
    for row, part in results.groupby("row", sort=False):
        if row in extra and EXTRA not in [line[0] for line in cells]:
            cells.append([EXTRA, *[""] * (len(columns) - 1)])
        sides = {line["protocol"]: line for line in part.to_dict("records")}
        first, *texts = [column.text(sides) for column in columns]
        is_best = [column.best and sides[column.best[0]][column.best[1]] == best[column.best] for column in columns]
        line = [plain(text) for text in (first + marks[str(row)], *texts)]
        cells.append([bold(text) if of_best else text for text, of_best in zip(line, is_best, strict=True)])
    return [column.title for column in columns], cells, [*_legend(run, results), *table.notes, *notes]


def footnotes(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """What was assumed where nothing is published, and where a row was fed otherwise than the head of the table says.

    Returns:
        What stands behind each row's label, `` [a, b]`` or nothing; and the notes, each once: ``[a] …``.
    """
    present = set(results["row"])
    finished = results.dropna(subset="image_size").drop_duplicates("row").set_index("row")
    made = finished[["image_size", "preprocessing", "layer_cut"]].to_dict("index")
    rows = [row for row in table.rows if row.name in present]
    cuts = {bool(made[row.name]["layer_cut"]) for row in rows if row.model is not None and row.name in made}
    differ = bool(run.get("frozen_features")) and len(cuts) > 1
    notes = {
        row.name: [*row.notes, *(_otherwise(row, made[row.name], run, differ) if run and row.name in made else [])]
        for row in rows
    }
    letters = [*string.ascii_lowercase, *map("".join, itertools.product(string.ascii_lowercase, repeat=2))]
    texts = dict(zip(dict.fromkeys(itertools.chain(*notes.values())), letters, strict=False))
    marks = {row: f" [{', '.join(texts[text] for text in own)}]" if own else "" for row, own in notes.items()}
    return marks, [f"[{letter}] {text}" for text, letter in texts.items()]


def _otherwise(row: Row, made: dict[Any, Any], run: dict[str, Any], differ: bool) -> list[str]:
    """What a row's training images were; ``differ``: how they were varied is not the same in all rows of the table."""
    training, notes = run["training"], []
    if made["image_size"] != training["image_size"]:
        notes.append(f"Images of {made['image_size']} pixels.")
    if made["preprocessing"] != run["preprocessing"]:
        notes.append(f"Preprocessing {made['preprocessing']!r}.")
    if differ and row.model is not None and row.augmented and made["layer_cut"]:
        mixed = f"mixed with α = {training['feature_mixing']:g}" if training["feature_views"] > 1 else "not mixed"
        notes.append(
            f"Trained on features of a frozen part: {training['feature_views']} fixed view(s) an image (mirror, shift, "
            f"zoom, rotation, brightness), {mixed}. Rows without a frozen part are varied otherwise."
        )
    elif differ and row.model is not None and row.augmented:
        notes.append(
            "Trained on images, moved anew in each step (mirror, shift, zoom) and not mixed: no part is frozen."
        )
    return notes


def _legend(run: dict[str, Any], results: pd.DataFrame) -> list[str]:
    """How to read the columns and marks."""
    control = (
        "Image-level folds: as many images of each class as leak-free in each part, drawn without regard to groups; "
        "each image is tested once. Leak-free less these is what the leak is worth; its interval draws groups for both "
        "at once."
    )
    return [
        "Paper protocol: one image-level 80/20 split; the 20 % choose the epoch and give the score. It trains on more "
        "images than leak-free, so that their difference is not the leak alone.",
        *([control] if CONTROL in set(results["protocol"]) else []),
        f"Leak-free: group folds, no {run.get('group_unit', 'group')} on two sides; a separate validation part chooses "
        "the epoch.",
        "Interval: 95 % bootstrap over groups within each fold, of the mean over folds and seeds. "
        "Precision, recall and F1 are macro averages. All in per cent.",
        "With few groups a fold, intervals of macro F1 cover less than 95 % (docs/integrity.md).",
        *marks_legend(results),
    ]


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "…": r"\ldots{}",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "•": r"\textbullet{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: "\\" + character for character in "%&_#${}"},
}


def _latex_text(text: str) -> str:
    """A text with LaTeX's special characters and the symbols of these tables as commands; other symbols become "?"."""
    return "".join(_LATEX.get(one, one if one.isascii() or one.isalpha() else "?") for one in text)
