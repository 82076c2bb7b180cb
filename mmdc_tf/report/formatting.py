"""What all tables and pages of a run share: head, units, cells, Markdown and CSV.

In this package ``table`` is the paper's table, ``output`` a run's folder, ``folder`` the table's folder in it, ``run``
the content of its ``run.json`` (empty where nothing was run yet), and ``results`` the table's numbers, as from
``mmdc_tf.experiments.results.table_results``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.errors import RESEARCH_USE, counted
from mmdc_tf.experiments.results import PLAIN_METRICS
from mmdc_tf.io import read_json, write_table

PROTOCOL_TITLES = {"paper": "Paper protocol", "image-level": "Image-level folds", "leak-free": "Leak-free"}
METRIC_TITLES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
PLAIN = (*PLAIN_METRICS, "nll", "temperature")  # the first word of a column: no percentage
PERCENT_DECIMALS = 2
FACTS = {
    "python": "Python",
    "platform": "Platform",
    "processor": "Processor",
    "cores": "Cores",
    "memory_bytes": "Memory in bytes",
    "git_revision": "Git revision",
    "dataset_fingerprint": "Dataset fingerprint",
    "written": "Trainings started",
}


def notice_of(run: Mapping[str, Any]) -> str:
    """What must stand on everything: what it is not."""
    return f"{NOTICE}. {RESEARCH_USE}" if run.get("synthetic") else RESEARCH_USE


def made_from(run: dict[str, Any]) -> list[str]:
    """What stands above every table: what it was made from, and what it is not."""
    if not run:
        return [RESEARCH_USE]
    training, weights = run["training"], {"none": "random initialisation", "imagenet": "ImageNet weights"}
    lines = [
        f"Made from {run.get('dataset_title', run['dataset'])} (fingerprint {run['dataset_fingerprint']}), "
        f"{training['image_size']} pixels, at most {counted(training['epochs'], 'epoch')}, "
        f"{counted(run['folds'], 'fold')}, {weights.get(run['weights'], 'weights from a folder')}, "
        f"preprocessing {run['preprocessing']!r}, seed {run['seed']}."
    ]
    if run["synthetic"]:
        lines.insert(0, f"{NOTICE}. Synthetic images; the numbers say that the program works, nothing else.")
    # random weights have no frozen part unless a cut is asked for
    if run.get("frozen_features") and run["cut"] != "none" and (run["cut"] != "auto" or run["weights"] != "none"):
        views = training["feature_views"]
        mixed = f", mixed with α = {training['feature_mixing']:g}" if views > 1 else ""
        lines.append(
            f"Rows with a frozen part: trained on its features of {counted(views, 'fixed view')} an image{mixed}."
        )
    if run.get("precision", "float32") != "float32":
        lines.append(f"Computed in {run['precision']}.")
    return [*lines, RESEARCH_USE]


def environment_lines(folder: Path) -> list[tuple[str, str]]:
    """Name and value of each fact in the ``environment.json`` files; where trainings differ, each value once."""
    values: dict[str, set[str]] = {}
    for path in folder.glob("*/*/fold*-seed*/environment.json"):
        facts = read_json(path) or {}
        for name, value in {**facts, **facts.get("packages", {})}.items():
            if value is not None and not isinstance(value, dict):
                values.setdefault(name, set()).add(str(value))
    started = values.get("written", set())
    values |= {"written": {f"{min(started)} to {max(started)}"}} if len(started) > 1 else {}
    return [(FACTS.get(name, name), " or ".join(sorted(found))) for name, found in values.items()]


def page(title: str, run: dict[str, Any], parts: Iterable[str], below: Sequence[str] = ()) -> str:
    """A page of Markdown: title and head; ``parts``, a paragraph, heading or table each; the lines of the foot."""
    head = [f"# {markdown_text(title)}", "  \n".join(map(markdown_text, made_from(run)))]
    return "\n\n".join([*head, *parts, *(["  \n".join(below)] if below else [])]) + "\n"


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


def decimals_of(name: str, of_percentages: int = PERCENT_DECIMALS) -> int:
    """Three of a plain number (AUC, kappa, Brier score, …: ``PLAIN``); ``name`` is a column's."""
    return 3 if name.split("_")[0] in PLAIN else of_percentages


def number(value: float, decimals: int = PERCENT_DECIMALS) -> str:
    """With so many decimals; nothing where there is no number."""
    return f"{value:.{decimals}f}" if np.isfinite(value) else ""


def limits(line: Mapping[Any, Any], name: str, decimals: int) -> str:
    """`` (low–high)`` from ``NAME_ci_low`` and ``NAME_ci_high``; nothing where there is none."""
    low, high = (number(line[f"{name}_ci_{side}"], decimals) for side in ("low", "high"))
    return f" ({low}–{high})" if low and high else ""


def interval(line: Mapping[Any, Any], name: str, percent_decimals: int = PERCENT_DECIMALS) -> str:
    """``75.00 (50.00–100.00)`` of a column, rounded as its unit asks; nothing where there is no number."""
    decimals = decimals_of(name, percent_decimals)
    return number(line[name], decimals) + limits(line, name, decimals) if np.isfinite(line[name]) else ""


def change(line: Mapping[Any, Any], names: Iterable[str], decimals: int = 2) -> str:
    """``+1.20 (-0.40 to +2.80)``; ``names``: of the columns of the difference and its limits; nothing where unknown."""
    difference, low, high = (f"{line[name]:+.{decimals}f}" for name in names)
    return "" if "nan" in difference else f"{difference} ({low} to {high})"


def write_csv(results: pd.DataFrame, run: dict[str, Any], path: Path) -> None:
    """Writes lines of results: a phantom is named in each label (a line is copied alone), numbers are rounded."""
    texts = {
        str(name): column.map(f"{{:.{decimals_of(str(name))}f}}".format, na_action="ignore").astype(object)
        for name, column in results.select_dtypes("float").items()
    }
    label = results["label"] + (f" ({NOTICE})" if run.get("synthetic") else "")
    write_table(path, results.assign(label=label, **texts), lineterminator="\n")
