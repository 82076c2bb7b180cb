"""What all tables and pages of a run share: head, units, cells, and CSV lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.errors import RESEARCH_USE, counted
from mmdc_tf.experiments.results import PLAIN_METRICS
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import run_of
from mmdc_tf.io import write_table, write_text

PROTOCOL_TITLES = {"paper": "Paper protocol", "image-level": "Image-level folds", "leak-free": "Leak-free"}
PLAIN = (*PLAIN_METRICS, "nll", "temperature")  # the first word of a column: no percentage
PLAIN_DECIMALS, PERCENT_DECIMALS = 3, 2


def made_from(run: dict[str, Any]) -> list[str]:
    """What stands above every table: what it was made from, and what it is not."""
    if not run:
        return [RESEARCH_USE]
    phantom = f"{NOTICE}. Synthetic images; the numbers say that the program works, nothing else."
    return [*([phantom] if run["synthetic"] else []), _facts(run), *_frozen(run), RESEARCH_USE]


def page(title: str, run: dict[str, Any], parts: Iterable[str], below: Sequence[str] = ()) -> str:
    """A page of Markdown.

    Args:
        title: its heading.
        run: the content of ``run.json``; empty where nothing was run yet.
        parts: what stands below the head, a paragraph, heading or table each.
        below: lines of the foot.
    """
    foot = ["  \n".join(below)] if below else []
    return (
        "\n\n".join([f"# {markdown_text(title)}", "  \n".join(map(markdown_text, made_from(run))), *parts, *foot])
        + "\n"
    )


def by_protocol(results: pd.DataFrame, make: Callable[[pd.DataFrame], str]) -> list[str]:
    """A heading and what ``make`` makes of its lines, for each protocol in order of appearance."""
    parts = results.groupby("protocol", sort=False)
    return [text for name, part in parts for text in (f"## {PROTOCOL_TITLES[str(name)]}", make(part))]


def grid(header: Sequence[str], lines: Iterable[Sequence[str]], texts: int = 2) -> str:
    """A table of Markdown; the first ``texts`` columns are words, the others numbers. Cells as they are."""
    rule = ["---"] * texts + ["---:"] * (len(header) - texts)
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))


def method(line: Mapping[Any, Any]) -> list[str]:
    """The first two cells of a row, from ``label`` and ``citation``."""
    return [markdown_text(line["label"]), markdown_text(line["citation"])]


def markdown_text(text: str) -> str:
    """A text that stays in its cell and shows as it is."""
    return re.sub(r"([|*`<\\])", r"\\\1", text)


def decimals_of(name: str) -> int:
    """Three of a plain number (AUC, kappa, Brier score, …: ``PLAIN``), two of a percentage.

    Args:
        name: of a column, for example ``"auc_ci_low"`` or ``"ece_before"``.
    """
    return PLAIN_DECIMALS if name.split("_")[0] in PLAIN else PERCENT_DECIMALS


def number(value: float, decimals: int = PERCENT_DECIMALS) -> str:
    """With so many decimals; nothing where there is no number."""
    return f"{value:.{decimals}f}" if np.isfinite(value) else ""


def limits(line: Mapping[Any, Any], name: str, decimals: int) -> str:
    """`` (low–high)`` from ``NAME_ci_low`` and ``NAME_ci_high``; nothing where there is none."""
    low, high = (number(line[f"{name}_ci_{side}"], decimals) for side in ("low", "high"))
    return f" ({low}–{high})" if low and high else ""


def change(difference: float, low: float, high: float) -> str:
    """``+1.20 (-0.40 to +2.80)`` from a difference and its limits; nothing where there is no number."""
    return f"{difference:+.2f} ({low:+.2f} to {high:+.2f})" if np.isfinite(difference) else ""


def csv_lines(results: pd.DataFrame, run: dict[str, Any]) -> pd.DataFrame:
    """The lines of a CSV: a phantom named in each label, and numbers with their decimals.

    A line is copied alone, and the columns are fixed, so that the label is the place for the notice.

    Args:
        results: with the column ``label``; numbers not rounded.
        run: the content of ``run.json``.

    Returns:
        A copy: floats as text with ``decimals_of`` their column's name, NaN stays.
    """
    notice = f" ({NOTICE})" if run.get("synthetic") else ""
    floats = [str(name) for name in results.select_dtypes("float").columns]
    texts = {name: results[name].map(_fixed(decimals_of(name)), na_action="ignore").astype(object) for name in floats}
    return results.assign(label=results["label"] + notice, **texts)


def write_csv(results: pd.DataFrame, run: dict[str, Any], path: Path) -> None:
    """Writes ``csv_lines`` to a temporary name that is then renamed."""
    write_table(path, csv_lines(results, run), lineterminator="\n")


def write_variants(
    results: pd.DataFrame,
    table: PaperTable,
    output: Path,
    name: str,
    markdown: Callable[[PaperTable, pd.DataFrame, dict[str, Any]], str],
) -> Path | None:
    """Writes TABLE_NAME.csv and TABLE_NAME.md.

    Args:
        results: the lines of the CSV, as for ``csv_lines``.
        table: the paper's table.
        output: the run's folder.
        name: what was varied.
        markdown: makes the page from the table, the results and the content of ``run.json``.

    Returns:
        The CSV; None where there is no result, and nothing is written.
    """
    if results.empty:
        return None
    run, path = run_of(output / table.name), output / f"{table.name}_{name}.csv"
    write_csv(results, run, path)
    write_text(path.with_suffix(".md"), markdown(table, results, run))
    return path


def _fixed(decimals: int) -> Callable[[float], str]:
    return f"{{:.{decimals}f}}".format


def _facts(run: dict[str, Any]) -> str:
    training = run["training"]
    names = {"none": "random initialisation", "imagenet": "ImageNet weights"}
    return (
        f"Made from {run.get('dataset_title', run['dataset'])} (fingerprint {run['dataset_fingerprint']}), "
        f"{training['image_size']} pixels, "
        f"at most {counted(training['epochs'], 'epoch')}, {counted(run['folds'], 'fold')}, "
        f"{names.get(run['weights'], 'weights from a folder')}, preprocessing {run['preprocessing']!r}, "
        f"seed {run['seed']}."
    )


def _frozen(run: dict[str, Any]) -> list[str]:
    """How rows with a frozen part are trained, and in which precision where it is not the usual one."""
    training, lines = run["training"], []
    if run.get("frozen_features") and _freezes(run):
        mixed = f", mixed with α = {training['feature_mixing']:g}" if training["feature_views"] > 1 else ""
        lines.append(
            "Rows with a frozen part: trained on its features of "
            f"{counted(training['feature_views'], 'fixed view')} an image, kept as {training['feature_dtype']}{mixed}."
        )
    if run.get("precision", "float32") != "float32":
        lines.append(f"Computed in {run['precision']}.")
    return lines


def _freezes(run: dict[str, Any]) -> bool:
    """Whether a run can have rows with a frozen part: random weights have none unless a cut is asked for."""
    return run["cut"] != "none" and (run["cut"] != "auto" or run["weights"] != "none")
