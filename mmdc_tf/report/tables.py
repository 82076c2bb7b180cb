"""A run's table as CSV for programs, Markdown and LaTeX for people."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.phantom_folder import NOTICE
from mmdc_tf.experiments.artifacts import write_text
from mmdc_tf.experiments.results import rows_that_ran, table_results
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import run_of
from mmdc_tf.report import marks
from mmdc_tf.report.footnotes import Footnotes
from mmdc_tf.report.formatting import (
    PERCENT_DECIMALS,
    grid,
    limits,
    made_from,
    markdown_text,
    number,
    page,
    write_csv,
)

HEADER = (
    "Method",
    "Source",
    "Accuracy: published",
    "ours, paper protocol",
    "ours, leak-free (mean ± sd, 95 % interval)",
    "leak-free − paper protocol",
    "Macro F1: published",
    "ours, paper protocol",
    "ours, leak-free",
)
COMPARED = (  # the columns of numbers of which the best is in bold: (protocol, name in the results)
    ("paper", "paper_accuracy"),
    ("paper", "accuracy"),
    ("leak-free", "accuracy"),
    ("paper", "paper_f1"),
    ("paper", "f1"),
    ("leak-free", "f1"),
)
EXTRA = "Extra rows, in no table of the paper"
Markup = Callable[[str], str]


def write_tables(table: PaperTable, output: Path) -> pd.DataFrame:
    """Computes a table from the run's predictions files and writes NAME.csv, NAME.md and NAME.tex.

    Args:
        table: the paper's table.
        output: the run's folder.

    Returns:
        The results, as in ``mmdc_tf.experiments.results.table_results``, with the column
        ``distinguishable_from_best`` (``mmdc_tf.report.marks``).
    """
    results = marks.with_marks(table_results(table, output / table.name), output / table.name)
    run = run_of(output / table.name)
    write_csv(results, run, output / f"{table.name}.csv")
    write_text(output / f"{table.name}.md", markdown(table, results, run))
    write_text(output / f"{table.name}.tex", latex(table, results, run))
    return results


def markdown(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> str:
    """The table for reading: one line a row; the best of each column in bold.

    Args:
        table: its title is the heading.
        results: as from ``table_results``; as from ``write_tables``, rows like the best one are marked.
        run: the content of ``run.json``; empty where nothing was run yet.
    """
    footnotes = Footnotes(table, results, run)
    body = grid(HEADER, table_cells(table, results, footnotes, markdown_text, lambda text: f"**{text}**"))
    return page(table.title, run, [body], below(table, results, run, footnotes))


def latex(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> str:
    """The rows that ran as a ``table*`` environment; its first line names the packages that it needs."""
    results = rows_that_ran(results)
    footnotes = Footnotes(table, results, run)
    cells = table_cells(table, results, footnotes, _latex_text, lambda text: rf"\textbf{{{text}}}")
    titles = [r"\shortstack{" + r" \\ ".join(textwrap.wrap(_latex_text(title), 17)) + "}" for title in HEADER]
    header, *body = [" & ".join(line) + r" \\" for line in (titles, *cells)]
    in_paper, _, subject = table.title.partition(": ")
    caption = f"{subject[:1].upper()}{subject[1:]} ({in_paper} of the paper), published and ours"
    notice = f"; {NOTICE}" if run.get("synthetic") else ""
    notes = [_latex_text(line) + r"\par" for line in (*made_from(run), *below(table, results, run, footnotes))]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs,graphicx}.",
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{_latex_text(caption + notice)}.}}",
            rf"\label{{tab:{table.name}}}",
            r"\resizebox{\textwidth}{!}{%",
            r"\begin{tabular}{ll" + "r" * (len(HEADER) - 2) + "}",
            r"\toprule",
            header,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\par\medskip\begin{minipage}{\textwidth}\scriptsize",
            *notes,
            r"\end{minipage}",
            r"\end{table*}",
            "",
        ]
    )


def legend(run: dict[str, Any]) -> list[str]:
    """How to read the columns."""
    unit = run.get("group_unit", "group")
    return [
        "Paper protocol: one image-level 80/20 split; the 20 % choose the epoch and give the score.",
        f"Leak-free: group folds, no {unit} on two sides; a separate validation part chooses the epoch.",
        "Interval: 95 % bootstrap over groups within each fold, of the mean over folds and seeds. "
        "Precision, recall and F1 are macro averages. All in per cent.",
        "With few groups a fold, intervals of macro F1 cover less than 95 % (docs/integrity.md).",
    ]


def below(table: PaperTable, results: pd.DataFrame, run: dict[str, Any], footnotes: Footnotes) -> list[str]:
    """The lines below a table: how to read it, its marks, its notes and footnotes; arguments as for ``markdown``."""
    return [*legend(run), *marks.legend(results), *table.notes, *footnotes.lines()]


def table_cells(
    table: PaperTable, results: pd.DataFrame, footnotes: Footnotes, plain: Markup, bold: Markup
) -> list[list[str]]:
    """The lines in the order of ``HEADER``; what is above the extra rows has a text in its first cell only.

    Args:
        table: the paper's table.
        results: as from ``table_results``.
        footnotes: of the table.
        plain: each text goes through it.
        bold: the best of a column goes through this too.
    """
    lines = results.set_index(["row", "protocol"]).to_dict("index")
    best = {(protocol, name): results.loc[results["protocol"] == protocol, name].max() for protocol, name in COMPARED}
    extra = {row.name for row in table.rows if row.extra}
    cells: list[list[str]] = []
    for row in dict.fromkeys(results["row"]):
        if row in extra and EXTRA not in [line[0] for line in cells]:
            cells.append([EXTRA, *[""] * (len(HEADER) - 1)])
        (label, _), *others = _line(lines[row, "paper"], lines[row, "leak-free"], best)
        texts = [(label + footnotes.marks(row), False), *others]
        cells.append([bold(plain(text)) if is_best else plain(text) for text, is_best in texts])
    return cells


def _line(paper: dict[Any, Any], free: dict[Any, Any], best: dict[tuple[str, str], float]) -> list[tuple[str, bool]]:
    """A row's texts, each with whether it is the best of its column."""
    sides = {"paper": paper, "leak-free": free}
    texts = {(side, name): number(sides[side][name]) for side, name in COMPARED}
    is_best = {(side, name): sides[side][name] == best[side, name] for side, name in COMPARED}
    texts["paper", "accuracy"] = texts["paper", "accuracy"] or paper["status"]
    texts["leak-free", "accuracy"] = (
        (texts["leak-free", "accuracy"] or free["status"]) + _spread(free) + marks.mark(free)
    )
    numbers = [(texts[column], is_best[column]) for column in COMPARED]
    change = free["accuracy"] - paper["accuracy"]
    difference = (f"{change:+.2f}" if np.isfinite(change) else "", False)
    return [(paper["label"], False), (paper["citation"], False), *numbers[:3], difference, *numbers[3:]]


def _spread(line: dict[Any, Any]) -> str:
    if not np.isfinite(line["accuracy"]):
        return ""
    deviation = f" ± {number(line['accuracy_std'])}" if np.isfinite(line["accuracy_std"]) else ""
    return deviation + limits(line, "accuracy", PERCENT_DECIMALS)


def _latex_text(text: str) -> str:
    """A text with LaTeX's special characters and the symbols of these tables as commands; other symbols become "?"."""
    commands = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    symbols = {
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
    }
    escaped = {character: "\\" + character for character in "%&_#${}"}
    known = {**commands, **symbols, **escaped}
    return "".join(known.get(one, one if one.isascii() or one.isalpha() else "?") for one in text)
