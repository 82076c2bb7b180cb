"""Figures of a run, drawn from its table."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdc_tf.evaluation.metrics import METRICS
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import OK
from mmdc_tf.io import write_with
from mmdc_tf.report.formatting import made_from

NAMES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")  # Okabe and Ito: told apart by colour-blind readers too
TITLES = {
    "paper": "Paper protocol: one image-level 80/20 split",
    "image-level": "Image-level folds of the same sizes as leak-free's, mean",
    "leak-free": "Leak-free: folds, mean; no {unit} on two sides",
}


def draw_bars(table: PaperTable, results: pd.DataFrame, run: dict[str, Any], path: Path) -> None:
    """Writes ``bars`` as a PNG; arguments as for ``bars``."""
    write_png(bars(table, results, run), path)


def write_png(figure: Figure, path: Path) -> None:
    """Writes a figure to a temporary name that is then renamed."""
    write_with(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))


def bars(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> Figure:
    """Grouped bars as in Fig. 3 of the paper: four numbers a row, with 95 % intervals, a panel a protocol.

    Args:
        table: its title stands above.
        results: as from ``table_results``; rows without a result are left out.
        run: the content of ``run.json``.
    """
    protocols = list(dict.fromkeys(results["protocol"]))
    figure = Figure(figsize=(11, 4 * len(protocols)), layout="constrained")
    panels = figure.subplots(len(protocols), 1, sharey=True, squeeze=False)[:, 0]
    for axes, protocol in zip(panels, protocols, strict=True):
        lines = results[(results["protocol"] == protocol) & (results["status"] == OK)]
        _panel(axes, lines, TITLES[protocol].format(unit=run["group_unit"]), len(run["class_names"]))
    panels[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=len(METRICS) + 1, frameon=False)
    figure.suptitle(table.title, fontsize=13, parse_math=False)
    caption = f"{' '.join(made_from(run))} Bars: our runs; whiskers: 95 % bootstrap over groups within each fold."
    figure.supxlabel("\n".join(textwrap.wrap(caption, 150)), fontsize=8, parse_math=False)
    return figure


def _panel(axes: Axes, lines: pd.DataFrame, title: str, classes: int) -> None:
    places = np.arange(len(lines))
    width = 0.8 / len(METRICS)
    for index, (metric, colour) in enumerate(zip(METRICS, COLOURS, strict=True)):
        middle = places + (index - (len(METRICS) - 1) / 2) * width
        axes.bar(middle, lines[metric], width * 0.92, color=colour, label=NAMES[metric])
        axes.vlines(middle, lines[f"{metric}_ci_low"], lines[f"{metric}_ci_high"], color="black", linewidth=1)
    axes.axhline(100 / classes, color="grey", linewidth=0.8, linestyle="--", label="1 / classes")
    axes.set_xticks(places, lines["label"])
    axes.set_ylim(0, 100)
    axes.set_ylabel("per cent")
    axes.set_title(title, fontsize=10, loc="left")
    axes.grid(axis="y", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
