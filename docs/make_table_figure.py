"""Draws a run's table for the README: ``python docs/make_table_figure.py runs/phantom-mammogram-quick/table2.csv``.

Each row that was run: the published accuracy, ours under the paper's protocol, ours leak-free with its interval.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

OUTPUT = Path(__file__).with_name("table.png")
NOTICE = " (phantom: not a reproduction)"
PUBLISHED, PAPER, FREE = "#666666", "#E69F00", "#0072B2"  # Okabe and Ito's colours


def main(csv: Path) -> None:
    """Writes ``docs/table.png``."""
    results = pd.read_csv(csv)
    phantom = results["label"].str.endswith(NOTICE).any()
    lines = results.assign(label=results["label"].str.removesuffix(NOTICE)).set_index(["row", "protocol"])
    names = [name for name in dict.fromkeys(results["row"]) if (lines.loc[name]["status"] == "ok").any()]
    figure, axes = plt.subplots(figsize=(8, 1.6 + 0.42 * len(names)), dpi=200)
    for place, name in enumerate(reversed(names)):
        _draw_row(axes, place, lines.loc[(name, "paper")], lines.loc[(name, "leak-free")])
    axes.set_yticks(range(len(names)), [lines.loc[(name, "paper"), "label"] for name in reversed(names)])
    axes.set(xlim=(0, 100), ylim=(-0.6, len(names) - 0.4), xlabel="accuracy (%)")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(_title(csv, bool(phantom)), fontsize=10, x=0.02, ha="left")
    handles, texts = axes.get_legend_handles_labels()
    unique = dict(zip(texts, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="lower center", ncols=3, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(OUTPUT)


def _draw_row(axes: plt.Axes, place: int, paper: pd.Series, free: pd.Series) -> None:
    axes.plot(paper["paper_accuracy"], place, "|", color=PUBLISHED, ms=14, mew=2.5, label="published")
    axes.plot(paper["accuracy"], place + 0.12, "s", color=PAPER, ms=7, label="ours, paper protocol (leaks)")
    interval = [[free["accuracy"] - free["accuracy_ci_low"]], [free["accuracy_ci_high"] - free["accuracy"]]]
    label = "ours, leak-free, 95 % interval"
    axes.errorbar(free["accuracy"], place - 0.12, xerr=interval, fmt="o", color=FREE, capsize=3, label=label)


def _title(csv: Path, phantom: bool) -> str:
    number = {"table1": "I", "table2": "II"}[csv.stem]
    if not phantom:
        return f"Table {number}"
    return f"Table {number} on the built-in phantom: not a reproduction (the published numbers are of real data)"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
