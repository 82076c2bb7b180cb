"""Whether the probabilities of a table's rows can be trusted: reliability diagrams, decision curves, their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator

from mmdc_tf.datasets.phantom_folder import NOTICE
from mmdc_tf.datasets.splits import PROTOCOLS
from mmdc_tf.errors import RESEARCH_USE
from mmdc_tf.evaluation.calibration import BINS, COUNTS, SHARES, decision_curve, reliability_bins
from mmdc_tf.experiments.calibration import SCORES, CalibratedRow, calibrated_row
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import run_of
from mmdc_tf.report.figures import write_png
from mmdc_tf.report.formatting import made_from, write_csv
from mmdc_tf.report.panels import panel_title, panels_figure, style_axes

COLUMNS = (
    "row",
    "label",
    "protocol",
    "fitted_on",
    "n",
    "temperature",
    *(f"{score}_{when}" for score in SCORES for when in ("before", "after")),
    "positive_class",
    "sensitivity_asked",
    *SHARES,
    *COUNTS,
    "notice",
)
BEFORE, AFTER, ALL = "#e69f00", "#0072b2", "#009e73"  # Okabe and Ito: told apart by colour-blind readers too
RELIABILITY_HEIGHT, DECISION_HEIGHT = 3.7, 2.9  # of a panel, inches
RELIABILITY = (
    f"Highest probability in {BINS} bins of equal width, test folds pooled. T: temperature, mean over folds and "
    "seeds, each fitted on its training's validation part. ECE: expected calibration error, a fraction. Bins with few "
    "predictions scatter."
)
DECISION = (
    "Net benefit: true positives minus false positives weighted by the odds of the threshold, per image (Vickers and "
    "Elkin 2006), test folds pooled, after temperature scaling. Above the panels: at each training's threshold, which "
    "reaches the sensitivity asked for on the validation part."
)


def write_calibration(table: PaperTable, output: Path) -> list[Path]:
    """Writes NAME_calibration.csv, NAME_reliability.png and NAME_decision.png beside a run's tables.

    All are computed from the predictions files and the ``calibration.json`` of each training. A row counts where all
    its trainings under a protocol are finished and calibrated; those of an earlier version are not. The figures show
    the leak-free protocol.

    Args:
        table: the paper's table.
        output: the run's folder.

    Returns:
        The files written: none where no row counts, and no decision curve where the dataset has no malignant class.
        A file of these names from an earlier run that is not written again is removed.

    Raises:
        ConfigurationError: a JSON file of the run is broken.
        InputError: a predictions file lacks a column.
    """
    found = {protocol: calibrated_rows(table, protocol, output) for protocol in PROTOCOLS}
    run = run_of(output / table.name)
    free = found["leak-free"]
    decided = [row for row in free if row.positive is not None]
    lines = calibration_lines(found, run)
    writers: dict[str, Callable[[Path], object] | None] = {
        "calibration.csv": (lambda path: write_csv(lines, run, path)) if len(lines) else None,
        "reliability.png": (lambda path: write_png(reliability_figure(table, free, run), path)) if free else None,
        "decision.png": (lambda path: write_png(decision_figure(table, decided, run), path)) if decided else None,
    }
    places = {output / f"{table.name}_{name}": write for name, write in writers.items()}
    for path, write in places.items():
        if write is None:
            path.unlink(missing_ok=True)
        else:
            write(path)
    return [path for path, write in places.items() if write is not None]


def calibrated_rows(table: PaperTable, protocol: str, output: Path) -> list[CalibratedRow]:
    """The rows of which all trainings under a protocol are finished and calibrated, in the paper's order.

    Args:
        table: the paper's table.
        protocol: one of ``splits.PROTOCOLS``.
        output: the run's folder.

    Raises:
        ConfigurationError, InputError: as ``write_calibration``.
    """
    found = [calibrated_row(row, output / table.name / row.name / protocol) for row in table.rows]
    return [row for row in found if row is not None]


def calibration_lines(found: dict[str, list[CalibratedRow]], run: dict[str, Any]) -> pd.DataFrame:
    """One line a protocol and row, columns ``COLUMNS``.

    Args:
        found: the calibrated rows of each protocol.
        run: the content of ``run.json``.

    Returns:
        ``n`` counts predictions: each image once a seed. ``temperature`` is the mean over folds and seeds; ``nll``,
        ``ece`` and ``brier`` (plain numbers) are of the pooled test parts, and so are the counts and shares (per cent)
        at each training's stored threshold; those are empty where there is no threshold: no malignant class, or
        probabilities of 0 and 1 alone.
    """
    notice = f"{NOTICE}. {RESEARCH_USE}" if run.get("synthetic") else RESEARCH_USE
    lines = [{**_line(row), "protocol": protocol, "notice": notice} for protocol, rows in found.items() for row in rows]
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype(dict.fromkeys(COUNTS, "Int64"))


def reliability_figure(table: PaperTable, rows: Sequence[CalibratedRow], run: dict[str, Any]) -> Figure:
    """A reliability diagram a row, before and after temperature scaling, with the number of predictions in each bin.

    Args:
        table: its title stands above.
        rows: at least one.
        run: the content of ``run.json``.
    """
    texts = (f"{table.title}: reliability", " ".join([*made_from(run), RELIABILITY]))
    return panels_figure(rows, RELIABILITY_HEIGHT, _draw_reliability, *texts)


def decision_figure(table: PaperTable, rows: Sequence[CalibratedRow], run: dict[str, Any]) -> Figure:
    """A decision curve a row, with treating all and treating none.

    Args:
        table: its title stands above.
        rows: at least one; each has a positive class.
        run: the content of ``run.json``.
    """
    title = f"{table.title}: decision curves, {rows[0].positive} against the rest"
    return panels_figure(rows, DECISION_HEIGHT, _draw_decision, title, " ".join([*made_from(run), DECISION]))


def _line(row: CalibratedRow) -> dict[str, Any]:
    first = row.files[0]
    return {
        "row": row.row.name,
        "label": row.row.label,
        "fitted_on": first["fitted_on"],
        "n": len(row.after),
        "temperature": row.temperature,
        **row.scores,
        "positive_class": row.positive,
        **({} if row.positive is None else {"sensitivity_asked": 100.0 * first["sensitivity_asked"], **_decided(row)}),
    }


def _decided(row: CalibratedRow) -> dict[str, Any]:
    """Counts, and shares in per cent."""
    shares = {name: None if (share := row.reached[name]) is None else 100.0 * share for name in SHARES}
    return {**row.reached, **shares}


def _draw_reliability(figure: SubFigure, place: SubplotSpec, row: CalibratedRow, is_left: bool) -> None:
    grid = place.subgridspec(2, 1, height_ratios=(3, 1))
    upper = figure.add_subplot(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    parts = {"before": (row.before, BEFORE, "s--"), "after temperature scaling": (row.after, AFTER, "o-")}
    for index, (label, (part, colour, style)) in enumerate(parts.items()):
        _draw_bins(upper, lower, reliability_bins(part), colour, style, label, (index - 0.5) * 0.42)
    upper.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":", label="confidence = accuracy")
    upper.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy (fraction)" if is_left else "")
    upper.tick_params(labelbottom=False)
    lower.set(ylabel="predictions" if is_left else "", xlabel="confidence (fraction)")
    lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    before, after = (f"{row.scores[name]:.3f}" for name in ("ece_before", "ece_after"))
    panel_title(upper, row.row, f"T {row.temperature:.2f}, ECE {before} → {after}")
    style_axes(upper)
    style_axes(lower)


def _draw_bins(upper: Axes, lower: Axes, bins: pd.DataFrame, colour: str, style: str, label: str, shift: float) -> None:
    """Accuracy over confidence above, the number of predictions below; ``shift`` in bins."""
    filled = bins[bins["n"] > 0]
    upper.plot(filled["confidence"], filled["accuracy"], style, color=colour, markersize=3, linewidth=1, label=label)
    lower.bar((bins["low"] + bins["high"]) / 2 + shift / len(bins), bins["n"], 0.42 / len(bins), color=colour)


def _draw_decision(figure: SubFigure, place: SubplotSpec, row: CalibratedRow, is_left: bool) -> None:
    axes = figure.add_subplot(place)
    truth, _ = row.decisions()
    curve = decision_curve(truth, row.after[f"p_{row.positive}"].to_numpy())
    axes.plot(curve["threshold"], curve["model"], color=AFTER, linewidth=1.4, label="model")
    axes.plot(curve["threshold"], curve["treat_all"], color=ALL, linewidth=1, linestyle="--", label="treat all")
    axes.plot(curve["threshold"], curve["treat_none"], color="black", linewidth=1, linestyle=":", label="treat none")
    share = truth.mean()
    axes.set(xlim=(0, 1), ylim=(-0.3 * share, 1.1 * share))  # treating all falls without limit
    axes.set(ylabel="net benefit per image" if is_left else "", xlabel="threshold probability")
    reached, asked = _decided(row), 100.0 * row.files[0]["sensitivity_asked"]
    texts = [f"{name} {'n/a' if reached[name] is None else f'{reached[name]:.1f} %'}" for name in SHARES[:2]]
    panel_title(axes, row.row, f"{texts[0]} (asked {asked:g} %), {texts[1]}")
    style_axes(axes)
