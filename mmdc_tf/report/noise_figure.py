"""Accuracy against the strength of noise, a panel a noise."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.preprocessing.noise import CLEAN, NOISES, Noise
from mmdc_tf.report.figures import write_png
from mmdc_tf.report.formatting import PROTOCOL_TITLES, made_from

# Okabe and Ito without yellow, which is faint on white; with the markers each of 35 rows has a look of its own
COLOURS = ("#000000", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v")
PROTOCOL_STYLES = {"leak-free": "-", "image-level": ":", "paper": "--"}


def draw_noise(table: PaperTable, results: pd.DataFrame, run: dict[str, Any], path: Path) -> None:
    """Writes ``noise_curves`` as a PNG; arguments as for ``noise_curves``."""
    write_png(noise_curves(table, results, run), path)


def noise_curves(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> Figure:
    """Four panels for each protocol, a line a row: leak-free solid, image-level folds dotted, paper protocol dashed.

    Args:
        table: its title stands above.
        results: as from ``mmdc_tf.report.noise_table.noise_results``.
        run: the content of ``run.json``.
    """
    protocols = [name for name in PROTOCOL_STYLES if name in set(results["protocol"])]
    looks = _looks(results)
    figure = Figure(figsize=(14, 2.2 + 3.8 * len(protocols) + 0.22 * len(looks) / 3), layout="constrained")
    panels = figure.subplots(len(protocols), len(NOISES), sharey=True, squeeze=False)
    for line, protocol in zip(panels, protocols, strict=True):
        for axes, (name, noise) in zip(line, NOISES.items(), strict=True):
            lines = results[(results["protocol"] == protocol) & results["noise"].isin([CLEAN, name])]
            _panel(axes, lines, noise, protocol, looks)
        line[0].set_ylabel("accuracy in per cent")
    figure.legend(handles=list(looks.values()), loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    caption = f"{' '.join(made_from(run))} Means over folds and seeds."
    title = "\n".join([f"{table.title}: accuracy under noise", *textwrap.wrap(caption, 190)])
    figure.suptitle(title, fontsize=9, linespacing=1.5, parse_math=False)
    return figure


def _looks(results: pd.DataFrame) -> dict[Any, Line2D]:
    """Colour, marker and name of each row."""
    lines = results.drop_duplicates("row").set_index("row")
    labels = lines["label"] + ", " + lines["citation"]  # labels alone are not unique
    return {
        row: Line2D(
            [],
            [],
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index // len(COLOURS) % len(MARKERS)],
            markersize=4,
            linewidth=1.2,
            label=label,
        )
        for index, (row, label) in enumerate(labels.items())
    }


def _panel(axes: Axes, lines: pd.DataFrame, noise: Noise, protocol: str, looks: dict[Any, Line2D]) -> None:
    for row, part in lines.groupby("row", sort=False):
        look = {name: getattr(looks[row], f"get_{name}")() for name in ("color", "marker", "markersize", "linewidth")}
        axes.plot(part["step"], part["accuracy"], PROTOCOL_STYLES[protocol], **look)
    axes.set_xticks(range(len(noise.levels) + 1), [CLEAN, *(f"{level:g}" for level in noise.levels)])
    axes.set_xlabel(noise.unit)
    axes.set_title(f"{PROTOCOL_TITLES[protocol]}: {noise.title}", fontsize=10, loc="left")
    axes.set_ylim(0, 100)
    axes.grid(linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)
