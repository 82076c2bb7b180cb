"""A run's table as CSV for programs, Markdown and LaTeX for people."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.phantom_folder import NOTICE
from mmdc_tf.experiments.artifacts import read_json, write_text
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.report.footnotes import Footnotes
from mmdc_tf.whole_files import write_with

RESEARCH_USE = "Research use only, not a medical device."
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
        The results, as in ``mmdc_tf.experiments.results.table_results``.
    """
    results = table_results(table, output / table.name)
    run = read_json(output / table.name / "run.json") or {}
    lines = _csv_lines(results, run)
    write_with(output / f"{table.name}.csv", lambda path: lines.to_csv(path, index=False, float_format="%.2f"))
    write_text(output / f"{table.name}.md", markdown(table, results, run))
    write_text(output / f"{table.name}.tex", latex(table, results, run))
    return results


def markdown(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> str:
    """The table for reading: one line a row; the best of each column in bold.

    Args:
        table: its title is the heading.
        results: as from ``table_results``.
        run: the content of ``run.json``; empty where nothing was run yet.
    """
    footnotes = Footnotes(table, results, run)
    rule = ["---", "---", *["---:"] * (len(HEADER) - 2)]
    lines = [HEADER, rule, *_cells(table, results, footnotes, _markdown_text, lambda text: f"**{text}**")]
    body = ["| " + " | ".join(line) + " |" for line in lines]
    below = [*legend(run), *table.notes, *footnotes.lines()]
    return "\n\n".join([f"# {table.title}", "  \n".join(made_from(run)), "\n".join(body), "  \n".join(below)]) + "\n"


def latex(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> str:
    """The same as a ``table*`` environment; needs the package ``graphicx``."""
    footnotes = Footnotes(table, results, run)
    titles = [_latex_text(title) for title in HEADER]
    lines = [titles, *_cells(table, results, footnotes, _latex_text, lambda text: rf"\textbf{{{text}}}")]
    header, *body = [" & ".join(line) + r" \\" for line in lines]
    texts = [table.title + ".", *made_from(run), *legend(run), *table.notes, *footnotes.lines()]
    caption = _latex_text(" ".join(texts))
    return "\n".join(
        [
            r"\begin{table*}",
            rf"\caption{{{caption}}}",
            r"\resizebox{\textwidth}{!}{%",
            r"\begin{tabular}{ll" + "r" * (len(HEADER) - 2) + "}",
            r"\hline",
            header,
            r"\hline",
            *body,
            r"\hline",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )


def made_from(run: dict[str, Any]) -> list[str]:
    """What stands above every table: what it was made from, and what it is not."""
    if not run:
        return [RESEARCH_USE]
    phantom = f"{NOTICE}. Synthetic images; the numbers say that the program works, nothing else."
    return [*([phantom] if run["synthetic"] else []), _facts(run), RESEARCH_USE]


def legend(run: dict[str, Any]) -> list[str]:
    """How to read the columns."""
    unit = run.get("group_unit", "group")
    return [
        "Paper protocol: one image-level 80/20 split; the 20 % choose the epoch and give the score.",
        f"Leak-free: group folds, no {unit} on two sides; a separate validation part chooses the epoch.",
        "Interval: 95 % bootstrap over groups. Precision, recall and F1 are macro averages. All in per cent.",
    ]


def _facts(run: dict[str, Any]) -> str:
    training = run["training"]
    names = {"none": "random initialisation", "imagenet": "ImageNet weights"}
    return (
        f"Made from {run['dataset']} (fingerprint {run['dataset_fingerprint']}), {training['image_size']} pixels, "
        f"at most {training['epochs']} epochs, {run['folds']} folds, "
        f"{names.get(run['weights'], 'weights from a folder')}, preprocessing {run['preprocessing']!r}, "
        f"seed {run['seed']}."
    )


def _csv_lines(results: pd.DataFrame, run: dict[str, Any]) -> pd.DataFrame:
    """The columns are fixed, so that a phantom is named in the label: it goes wherever a line is copied."""
    if not run.get("synthetic"):
        return results
    return results.assign(label=results["label"] + f" ({NOTICE})")


def _cells(
    table: PaperTable, results: pd.DataFrame, footnotes: Footnotes, plain: Markup, bold: Markup
) -> list[list[str]]:
    """The lines in the order of ``HEADER``: each text through ``plain``, the best of a column also through ``bold``."""
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
    texts = {(side, name): _number(sides[side][name]) for side, name in COMPARED}
    is_best = {(side, name): sides[side][name] == best[side, name] for side, name in COMPARED}
    texts["paper", "accuracy"] = texts["paper", "accuracy"] or paper["status"]
    texts["leak-free", "accuracy"] = (texts["leak-free", "accuracy"] or free["status"]) + _spread(free)
    numbers = [(texts[column], is_best[column]) for column in COMPARED]
    change = free["accuracy"] - paper["accuracy"]
    difference = (f"{change:+.2f}" if np.isfinite(change) else "", False)
    return [(paper["label"], False), (paper["citation"], False), *numbers[:3], difference, *numbers[3:]]


def _number(value: float) -> str:
    """Two decimals like the paper's; nothing where there is no number."""
    return f"{value:.2f}" if np.isfinite(value) else ""


def _spread(line: dict[Any, Any]) -> str:
    if not np.isfinite(line["accuracy"]):
        return ""
    deviation = f" ± {line['accuracy_std']:.2f}" if np.isfinite(line["accuracy_std"]) else ""
    return f"{deviation} ({line['accuracy_ci_low']:.2f}–{line['accuracy_ci_high']:.2f})"


def _markdown_text(text: str) -> str:
    """A text that stays in its cell and shows as it is."""
    return re.sub(r"([|*`<\\])", r"\\\1", text)


def _latex_text(text: str) -> str:
    """A text with LaTeX's special characters and the symbols of these tables as commands."""
    commands = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    symbols = {
        "−": "$-$",
        "–": "--",
        "±": r"$\pm$",
        "×": r"$\times$",
        "…": r"\ldots{}",
        "α": r"$\alpha$",
        "β": r"$\beta$",
        "γ": r"$\gamma$",
    }
    escaped = {character: "\\" + character for character in "%&_#${}"}
    return "".join({**commands, **symbols, **escaped}.get(character, character) for character in text)
