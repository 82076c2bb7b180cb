"""A run's table as CSV for programs, Markdown and LaTeX for people, with its footnotes."""

from __future__ import annotations

import itertools
import string
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.datasets.splits import CONTROL, LEAK_FREE, PAPER
from mmdc_tf.experiments.results import LEAK_WORTH, rows_that_ran, table_results
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

Markup = Callable[[str], str]
EXTRA = "Extra rows, in no table of the paper"
DIFFERENCE = "difference of protocols: leak-free − paper (training sizes differ)"
LEAK = "the leak's worth: leak-free − image-level folds (95 % interval)"


def write_tables(table: PaperTable, output: Path) -> pd.DataFrame:
    """Computes a table from the run's predictions files and writes NAME.csv, NAME.md and NAME.tex.

    Returns:
        As ``table_results``, with the column ``distinguishable_from_best`` (``conclusion.with_marks``).
    """
    folder, path = output / table.name, output / f"{table.name}.csv"
    results, run = with_marks(table_results(table, folder), folder), run_of(folder)
    write_csv(results, run, path)
    header, cells, below = shown(table, results, run, markdown_text, "**{}**".format)
    write_text(path.with_suffix(".md"), page(table.title, run, [grid(header, cells)], below))
    write_text(path.with_suffix(".tex"), latex(table, results, run))
    return results


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
    marks, notes = footnotes(table, results, run)
    rows = {str(row): _cells(part, marks[str(row)]) for row, part in results.groupby("row", sort=False)}
    best = pd.DataFrame([[value for _, _, value in cells] for cells in rows.values()]).max()
    header = [title for title, _, _ in next(iter(rows.values()))]
    extra = {row.name for row in table.rows if row.extra}
    lines: list[list[str]] = []
    for row, cells in rows.items():
        if row in extra and EXTRA not in [line[0] for line in lines]:
            lines.append([EXTRA, *[""] * (len(header) - 1)])
        texts = ((plain(text), value == most) for (_, text, value), most in zip(cells, best, strict=True))
        lines.append([bold(text) if is_best else text for text, is_best in texts])
    return header, lines, [*_legend(run, results), *table.notes, *notes]


def _cells(part: pd.DataFrame, footnote: str) -> list[tuple[str, str, float]]:
    """Title and text of a row's cells, and the number of which the best in its column is in bold, NaN for none."""
    sides = part.set_index("protocol").to_dict("index")
    paper, free, none = sides[PAPER], sides[LEAK_FREE], np.nan
    difference = free["accuracy"] - paper["accuracy"]
    cells = [
        ("Method", paper["label"] + footnote, none),
        ("Source", paper["citation"], none),
        ("Accuracy: published", number(paper["paper_accuracy"]), paper["paper_accuracy"]),
        ("ours, paper protocol", number(paper["accuracy"]) or paper["status"], paper["accuracy"]),
        ("ours, leak-free (mean ± sd, 95 % interval)", _accuracy(free), free["accuracy"]),
        (DIFFERENCE, f"{difference:+.2f}" if np.isfinite(difference) else "", none),
        ("Macro F1: published", number(paper["paper_f1"]), paper["paper_f1"]),
        ("ours, paper protocol", number(paper["f1"]), paper["f1"]),
        ("ours, leak-free", number(free["f1"]), free["f1"]),
    ]
    if CONTROL in sides:
        cells.insert(5, (LEAK, change(free, LEAK_WORTH), none))
        control, title = sides[CONTROL], "ours, image-level folds (mean ± sd, 95 % interval)"
        cells.insert(4, (title, _accuracy(control), control["accuracy"]))
    return cells


def _accuracy(line: dict[Any, Any]) -> str:
    """Mean over folds with spread, interval and mark, or else why there is none."""
    if not np.isfinite(line["accuracy"]):
        return line["status"]
    spread = f" ± {number(line['accuracy_std'])}" if np.isfinite(line["accuracy_std"]) else ""
    return number(line["accuracy"]) + spread + limits(line, "accuracy", PERCENT_DECIMALS) + mark(line)


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
