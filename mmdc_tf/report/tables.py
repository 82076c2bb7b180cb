"""A run's table as CSV for programs, Markdown and LaTeX for people."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.datasets.splits import CONTROL, LEAK_FREE, PAPER
from mmdc_tf.experiments.results import rows_that_ran, table_results
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import run_of
from mmdc_tf.io import write_text
from mmdc_tf.report import marks
from mmdc_tf.report.footnotes import Footnotes
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
        spread = _spread(line) + marks.mark(line) if protocol != PAPER else ""
        return (number(line["accuracy"]) or line["status"]) + spread

    return text


def _protocol_difference(sides: Sides) -> str:
    difference = sides[LEAK_FREE]["accuracy"] - sides[PAPER]["accuracy"]
    return f"{difference:+.2f}" if np.isfinite(difference) else ""


def _leak_worth(sides: Sides) -> str:
    line = sides[LEAK_FREE]
    return change(*(line[f"leak_worth{part}"] for part in ("", "_ci_low", "_ci_high")))


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
    body = grid(header(results), table_cells(table, results, footnotes, markdown_text, lambda text: f"**{text}**"))
    return page(table.title, run, [body], below(table, results, run, footnotes))


def latex(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> str:
    """The rows that ran as a ``table*`` environment; its first line names the packages that it needs."""
    results = rows_that_ran(results)
    footnotes = Footnotes(table, results, run)
    cells = table_cells(table, results, footnotes, _latex_text, lambda text: rf"\textbf{{{text}}}")
    titles = [r"\shortstack{" + r" \\ ".join(textwrap.wrap(_latex_text(title), 17)) + "}" for title in header(results)]
    heads, *body = [" & ".join(line) + r" \\" for line in (titles, *cells)]
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
            r"\begin{tabular}{ll" + "r" * (len(titles) - 2) + "}",
            r"\toprule",
            heads,
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


def header(results: pd.DataFrame) -> tuple[str, ...]:
    """The titles of the columns; those of the control only where it was run."""
    return tuple(column.title for column in _columns(results))


def _columns(results: pd.DataFrame) -> list[Column]:
    return [column for column in COLUMNS if column.needs in set(results["protocol"])]


def legend(run: dict[str, Any], results: pd.DataFrame) -> list[str]:
    """How to read the columns."""
    unit = run.get("group_unit", "group")
    control = (
        "Image-level folds: as many images of each class as leak-free in each part, drawn without regard to groups; "
        "each image is tested once. Leak-free less these is what the leak is worth; its interval draws groups for both "
        "at once."
    )
    return [
        "Paper protocol: one image-level 80/20 split; the 20 % choose the epoch and give the score. It trains on more "
        "images than leak-free, so that their difference is not the leak alone.",
        *([control] if CONTROL in set(results["protocol"]) else []),
        f"Leak-free: group folds, no {unit} on two sides; a separate validation part chooses the epoch.",
        "Interval: 95 % bootstrap over groups within each fold, of the mean over folds and seeds. "
        "Precision, recall and F1 are macro averages. All in per cent.",
        "With few groups a fold, intervals of macro F1 cover less than 95 % (docs/integrity.md).",
    ]


def below(table: PaperTable, results: pd.DataFrame, run: dict[str, Any], footnotes: Footnotes) -> list[str]:
    """The lines below a table: how to read it, its marks, its notes and footnotes; arguments as for ``markdown``."""
    return [*legend(run, results), *marks.legend(results), *table.notes, *footnotes.lines()]


def table_cells(
    table: PaperTable, results: pd.DataFrame, footnotes: Footnotes, plain: Markup, bold: Markup
) -> list[list[str]]:
    """The lines in the order of ``header``; what is above the extra rows has a text in its first cell only.

    Args:
        table: the paper's table.
        results: as from ``table_results``.
        footnotes: of the table.
        plain: each text goes through it.
        bold: the best of a column goes through this too.
    """
    columns = _columns(results)
    best = {
        (protocol, name): results.loc[results["protocol"] == protocol, name].max()
        for protocol, name in filter(None, (column.best for column in columns))
    }
    extra = {row.name for row in table.rows if row.extra}
    cells: list[list[str]] = []
    for row, part in results.groupby("row", sort=False):
        if row in extra and EXTRA not in [line[0] for line in cells]:
            cells.append([EXTRA, *[""] * (len(columns) - 1)])
        sides = {line["protocol"]: line for line in part.to_dict("records")}
        texts = [plain(column.text(sides)) for column in columns]
        texts[0] = plain(columns[0].text(sides) + footnotes.marks(str(row)))
        is_best = [column.best and sides[column.best[0]][column.best[1]] == best[column.best] for column in columns]
        cells.append([bold(text) if first else text for text, first in zip(texts, is_best, strict=True)])
    return cells


def _spread(line: Mapping[Any, Any]) -> str:
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
