"""How figures look here, and those of a run's tables: accuracies, the bars of Fig. 3, noise; and examples."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmdc_tf.evaluation.predictions import CONFIDENCE
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import OK
from mmdc_tf.explain.drawing import draw_image
from mmdc_tf.io import write_with
from mmdc_tf.preprocessing.noise import CLEAN, NOISES
from mmdc_tf.report.formatting import METRIC_TITLES, PROTOCOL_TITLES, made_from

# Okabe and Ito without yellow, which is faint on white: told apart by colour-blind readers too
BLUE, ORANGE, GREEN, PURPLE, RED, SKY = COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
PUBLISHED = "#000000"
OURS = {  # colour, marker, words
    "paper": (ORANGE, "s", "ours, paper protocol (leaks)"),
    "image-level": (RED, "D", "ours, image-level folds (leak)"),
    "leak-free": (BLUE, "o", "ours, leak-free"),
}
STYLE: Any = {
    "figure.dpi": 150,
    "figure.constrained_layout.w_pad": 0.08,
    "text.parse_math": False,  # names of classes and rows are no formulas
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=["-", "--", "-.", ":", "-", "--"]),
    "grid.linewidth": 0.3,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 8,
    "legend.frameon": False,
}
ACROSS = 4  # panels beside each other


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """A function that draws in ``STYLE``; the figure is laid out here, once for all formats that it is written in."""

    @functools.wraps(draw)
    def drawn(*given: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            figure = draw(*given)
            figure.draw_without_rendering()
        figure.set_layout_engine("none")
        return figure

    return drawn


def write_png(figure: Figure, path: Path) -> None:
    """Writes a figure to a temporary name that is then renamed."""
    write_with(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))


@styled
def dot_plot(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> Figure:
    """What the split is worth: published accuracies, and ours under each protocol with intervals, a line a row that
    has a result."""
    sides = [part.set_index("protocol").to_dict("index") for _, part in results.groupby("row", sort=False)]
    rows = [row for row in sides if any(line["status"] == OK for line in row.values())]
    phantom = ["The published numbers are of real data, ours are not."] if run.get("synthetic") else []
    caption = [*made_from(run), *phantom, "Lines: 95 % bootstrap over groups within each fold."]
    figure = framed(8.6, 1.0 + 0.46 * max(len(rows), 1), table.title, caption)
    axes = figure.subplots()
    for place, row in enumerate(rows):
        axes.plot(row["paper"]["paper_accuracy"], place, "|", color=PUBLISHED, ms=13, mew=2.5)
        for (name, line), shift in zip(row.items(), np.linspace(-0.15, 0.15, len(row)), strict=True):
            if line["status"] == OK:
                colour, marker, _ = OURS[str(name)]
                axes.hlines(place + shift, line["accuracy_ci_low"], line["accuracy_ci_high"], color=colour, lw=1.2)
                axes.plot(line["accuracy"], place + shift, marker, color=colour, ms=6.5)
    axes.set_yticks(
        range(len(rows)), [named(line["label"], line["citation"]) for line in (row["paper"] for row in rows)]
    )
    axes.set(xlim=(0, 100), ylim=(max(len(rows), 1) - 0.5, -0.5), xlabel="accuracy (per cent)")
    axes.grid(visible=False, axis="y")
    looks = [Line2D([], [], color=PUBLISHED, marker="|", linestyle="", ms=13, mew=2.5, label="published")]
    looks += [
        Line2D([], [], color=colour, marker=marker, ms=6.5, lw=1.2, label=words)
        for colour, marker, words in (OURS[name] for name in dict.fromkeys(results["protocol"]))
    ]
    add_legend(figure, looks)
    return figure


@styled
def bars(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> Figure:
    """Grouped bars as in Fig. 3 of the paper: four numbers a row, with 95 % intervals, a panel a protocol."""
    protocols = list(dict.fromkeys(results["protocol"]))
    caption = [*made_from(run), "Bars: our runs; whiskers: 95 % bootstrap over groups within each fold."]
    figure = framed(11, 3.2 * len(protocols), table.title, caption)
    for axes, protocol in zip(figure.subplots(len(protocols), squeeze=False)[:, 0], protocols, strict=True):
        lines = results[(results["protocol"] == protocol) & (results["status"] == OK)]
        places, width = np.arange(len(lines)), 0.8 / len(METRIC_TITLES)
        for index, (metric, title) in enumerate(METRIC_TITLES.items()):
            middle = places + (index - (len(METRIC_TITLES) - 1) / 2) * width
            axes.bar(middle, lines[metric], 0.92 * width, color=COLOURS[index], label=title)
            axes.vlines(middle, lines[f"{metric}_ci_low"], lines[f"{metric}_ci_high"], color="black", lw=1)
        axes.axhline(100 / len(run["class_names"]), color="grey", linestyle="--", lw=0.8, label="1 / classes")
        axes.set_xticks(places, lines["label"])
        axes.set(ylim=(0, 100), ylabel="per cent", title=f"{PROTOCOL_TITLES[protocol]}: mean over folds and seeds")
    add_legend(figure, figure.axes[0].get_legend_handles_labels()[0])
    return figure


@styled
def examples_figure(examples: pd.DataFrame, images: Iterable[np.ndarray], title: str, caption: str) -> Figure:
    """A panel an image, as the network saw it, framed by whether the answer is right.

    Args:
        examples: as from ``choose_examples``, at least one.
        images: uint8 (S, S, 3) each, in the order of the examples.
        title, caption: stand above and below.
    """
    down = math.ceil(len(examples) / ACROSS)
    figure = framed(1.9 * ACROSS, 2.35 * down, title, [caption])
    panels = figure.subplots(down, ACROSS, squeeze=False).ravel()
    for axes, image, line in zip(panels, images, examples.to_dict("records"), strict=False):
        name, is_right = line["sample_id"], line["y_true"] == line["y_pred"]
        answer = f"{'right' if is_right else 'wrong'}: {line['y_pred']} {line[CONFIDENCE]:.2f}"
        short = name if len(name) <= 24 else f"…{name[-24:]}"
        draw_image(axes, image[..., 0], f"{short}\n{answer}\ntruth: {line['y_true']}", 7.5)  # grey in every recipe
        axes.grid(visible=False)
        axes.label_outer()
        axes.spines[:].set(visible=True, color=BLUE if is_right else RED, linewidth=2.5)
    [axes.remove() for axes in panels[len(examples) :]]
    return figure


@styled
def noise_curves(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> Figure:
    """Accuracy against the strength of noise, a panel a noise, a line a row, for each protocol; ``results`` as from
    ``write_noise_table``."""
    protocols = [name for name in reversed(PROTOCOL_TITLES) if name in set(results["protocol"])]
    rows = results.drop_duplicates("row").set_index("row")
    looks: dict[Any, Any] = {  # a look of its own for each of 30 rows
        row: {"color": COLOURS[index % 6], "marker": "os^Dv"[index // 6 % 5], "label": f"{label}, {source}"}
        for index, (row, label, source) in enumerate(rows[["label", "citation"]].itertuples(name=None))
    }
    caption = [*made_from(run), "Means over folds and seeds."]
    figure = framed(14, 3.4 * len(protocols) + 0.075 * len(looks), f"{table.title}: accuracy under noise", caption)
    panels = figure.subplots(len(protocols), len(NOISES), sharey=True, squeeze=False)
    for line, protocol in zip(panels, protocols, strict=True):
        for axes, (name, noise) in zip(line, NOISES.items(), strict=True):
            shown = results[(results["protocol"] == protocol) & results["noise"].isin([CLEAN, name])]
            for row, part in shown.groupby("row", sort=False):
                axes.plot(part["step"], part["accuracy"], "-", **looks[row])
            axes.set_xticks(range(len(noise.levels) + 1), [CLEAN, *(f"{level:g}" for level in noise.levels)])
            axes.set(xlabel=noise.unit, title=f"{PROTOCOL_TITLES[protocol]}: {noise.title}", ylim=(0, 100))
        line[0].set_ylabel("accuracy (per cent)")
    add_legend(figure, [Line2D([], [], **look) for look in looks.values()], across=3)
    return figure


def framed(width: float, height: float, title: str, caption: Iterable[str]) -> Figure:
    """An empty figure, so high (inches) between its title and its caption; both are wrapped here."""
    above, below = textwrap.wrap(title, int(width * 10)), textwrap.wrap(" ".join(caption), int(width * 16))
    figure = Figure(figsize=(width, height + 0.5 + 0.2 * len(above) + 0.14 * len(below)), layout="constrained")
    figure.suptitle("\n".join(above), fontsize=12)
    figure.supxlabel("\n".join(below), fontsize=8)
    return figure


def add_legend(figure: Figure, handles: Sequence[Artist], across: int = 6) -> None:
    """Above all panels, below the title, which becomes the legend's: matplotlib would lay one over the other."""
    head = {"title": figure.get_suptitle(), "title_fontsize": 12, "ncols": min(across, len(handles))}
    figure.suptitle("")
    legend = figure.legend(handles=handles, loc="outside upper center", **head)
    legend.get_title().set_multialignment("center")


def named(*names: str) -> str:
    """Label and source, a line each: labels alone are not unique."""
    return "\n".join(textwrap.shorten(name, 46, placeholder=" …") for name in names)
