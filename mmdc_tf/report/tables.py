"""A run's table as CSV for programs, Markdown and LaTeX for people."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmdc_tf.experiments.artifacts import PHANTOM_NOTICE, read_json, write_text, write_with
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import PaperTable, load_table

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


def write_tables(table: PaperTable, output: Path) -> pd.DataFrame:
    """Computes a table from the run's predictions files and writes tableN.csv, tableN.md and tableN.tex.

    Args:
        table: the paper's table.
        output: the run's folder.

    Returns:
        The results, as in ``mmdc_tf.experiments.results.table_results``.
    """
    results = table_results(table, output / table.name)
    run = read_json(output / table.name / "run.json") or {}
    write_with(
        output / f"{table.name}.csv", lambda path: _csv(results, run).to_csv(path, index=False, float_format="%.2f")
    )
    write_text(output / f"{table.name}.md", markdown(table, results, run))
    write_text(output / f"{table.name}.tex", latex(table, results, run))
    return results


def markdown(table: PaperTable, results: pd.DataFrame, run: dict) -> str:
    """The table for reading: one line a row; the best of each column in bold."""
    lines = [f"# {table.title}", "", *(f"{note}  " for note in notes(run)), ""]
    lines += ["| " + " | ".join(HEADER) + " |", "|" + "|".join(["---", "---", *["---:"] * (len(HEADER) - 2)]) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in _rows(results, "**{}**".format)]
    return "\n".join([*lines, "", *(f"{note}  " for note in legend(run)), ""])


def latex(table: PaperTable, results: pd.DataFrame, run: dict) -> str:
    """The same for a paper: a ``table*`` environment that needs no package but ``graphicx``."""
    body = [" & ".join(map(_escape, cells)) + r" \\" for cells in _rows(results, r"\textbf{{{}}}".format)]
    caption = " ".join([table.title + ".", *notes(run), *legend(run)])
    return "\n".join(
        [
            r"\begin{table*}",
            rf"\caption{{{_escape(caption)}}}",
            r"\resizebox{\textwidth}{!}{%",
            r"\begin{tabular}{ll" + "r" * (len(HEADER) - 2) + "}",
            r"\hline",
            " & ".join(map(_escape, HEADER)) + r" \\",
            r"\hline",
            *body,
            r"\hline",
            r"\end{tabular}}",
            r"\end{table*}",
            "",
        ]
    )


def notes(run: dict) -> list[str]:
    """What stands above every table: what it was made from, and what it is not."""
    if not run:
        return [RESEARCH_USE]
    phantom = [f"{PHANTOM_NOTICE}. Synthetic images; the numbers say that the program works, nothing else."]
    training = run["training"]
    weights = {"none": "random initialisation", "imagenet": "ImageNet weights"}.get(
        run["weights"], "weights from a folder"
    )
    made = (
        f"Made from {run['dataset']} (fingerprint {run['dataset_fingerprint']}), {training['image_size']} pixels, "
        f"at most {training['epochs']} epochs, {run['folds']} folds, {weights}, "
        f"preprocessing {run['preprocessing']!r}, seed {run['seed']}."
    )
    return [*(phantom if run["synthetic"] else []), made, RESEARCH_USE]


def legend(run: dict) -> list[str]:
    """How to read the columns."""
    unit = run.get("group_unit", "group")
    return [
        "Paper protocol: one image-level 80/20 split; the 20 % choose the epoch and give the score.",
        f"Leak-free: group folds, no {unit} on two sides; a separate validation part chooses the epoch.",
        "Interval: 95 % bootstrap over groups. Precision, recall and F1 are macro averages. All in per cent.",
    ]


def load_and_write(number: int, output: Path) -> pd.DataFrame:
    """``write_tables`` by the table's number."""
    return write_tables(load_table(number), output)


def _csv(results: pd.DataFrame, run: dict) -> pd.DataFrame:
    """The columns are fixed, so that a phantom is named in the label: it goes wherever a line is copied."""
    if not run.get("synthetic"):
        return results
    return results.assign(label=results["label"] + f" ({PHANTOM_NOTICE})")


def _rows(results: pd.DataFrame, bold) -> list[list[str]]:
    wide = results.set_index(["row", "protocol"])
    paper, free = wide.xs("paper", level="protocol"), wide.xs("leak-free", level="protocol")
    columns = [
        paper["paper_accuracy"],
        paper["accuracy"],
        free["accuracy"],
        None,
        paper["paper_f1"],
        paper["f1"],
        free["f1"],
    ]
    best = [None if column is None else column.max() for column in columns]
    rows = []
    for name in dict.fromkeys(results["row"]):
        values = [None if column is None else column[name] for column in columns]
        texts = [_number(value, top, bold) for value, top in zip(values, best, strict=True)]
        texts[1], texts[5] = _or_status(texts[1], paper, name), _or_status(texts[5], paper, name, short=True)
        texts[2], texts[6] = _or_status(texts[2], free, name), _or_status(texts[6], free, name, short=True)
        texts[2] += _spread(free.loc[name])
        texts[3] = _difference(free["accuracy"][name], paper["accuracy"][name])
        rows.append([paper["label"][name], paper["citation"][name], *texts])
    return rows


def _number(value: float | None, best: float | None, bold) -> str:
    if value is None or pd.isna(value):
        return ""
    text = f"{value:.2f}"
    return bold(text) if value == best else text


def _or_status(text: str, lines: pd.DataFrame, name: str, short: bool = False) -> str:
    return text or ("–" if short else lines["status"][name])


def _spread(line: pd.Series) -> str:
    if pd.isna(line["accuracy"]):
        return ""
    deviation = "" if pd.isna(line["accuracy_std"]) else f" ± {line['accuracy_std']:.2f}"
    return f"{deviation} ({line['accuracy_ci_low']:.2f}–{line['accuracy_ci_high']:.2f})"


def _difference(free: float, paper: float) -> str:
    return "–" if pd.isna(free - paper) else f"{free - paper:+.2f}"


def _escape(text: str) -> str:
    escaped = text.replace("%", r"\%").replace("&", r"\&").replace("_", r"\_").replace("−", "$-$").replace("–", "--")
    return escaped.replace("±", r"$\pm$").replace("α", r"$\alpha$").replace("β", r"$\beta$").replace("γ", r"$\gamma$")
