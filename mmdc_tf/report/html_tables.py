"""A run's numbers as tables for HTML: the same cells as in the Markdown, escaped."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from mmdc_tf.errors import counted
from mmdc_tf.evaluation.metrics import METRICS
from mmdc_tf.experiments.results import rows_that_ran
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import FAILED, OK
from mmdc_tf.report.details import STATISTICS
from mmdc_tf.report.figures import NAMES
from mmdc_tf.report.footnotes import Footnotes
from mmdc_tf.report.formatting import PROTOCOL_TITLES, decimals_of, limits, number
from mmdc_tf.report.tables import EXTRA, below, header, table_cells

NONE = "–"
LONGEST_REASON = 160


@dataclass(frozen=True)
class Grid:
    """A table of a page.

    Args:
        header: a title a column.
        lines: cells, plain text or ``Markup``; a line of one cell spans all columns.
        words: so many of the first columns are words, the others numbers.
    """

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    words: int = 2


def main_grid(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> tuple[Grid, list[str]]:
    """The rows of the table that ran, the best of each column in bold, and the lines that stand below it.

    Args:
        table: the paper's table.
        results: as from ``mmdc_tf.report.tables.write_tables``.
        run: the content of ``run.json``.
    """
    shown = rows_that_ran(results)
    footnotes = Footnotes(table, shown, run)
    cells = table_cells(table, shown, footnotes, _cell, lambda text: Markup("<b>{}</b>").format(text))
    lines = tuple((EXTRA,) if line[0] == EXTRA else tuple(line) for line in cells)
    others = results["row"].nunique() - shown["row"].nunique()
    absent = [f"Not run: {counted(others, 'other row')}; {table.name}.md has the published numbers."] if others else []
    return Grid(header(results), lines), [*absent, *below(table, shown, run, footnotes)]


def four_numbers_grid(results: pd.DataFrame) -> Grid:
    """Accuracy, precision, recall and F1 of the finished rows: published, then ours with intervals.

    Args:
        results: as from ``mmdc_tf.experiments.results.table_results``.
    """
    protocols = list(dict.fromkeys(results["protocol"]))
    sides = ("published", *(PROTOCOL_TITLES[name].lower() for name in protocols))
    header = ("Method", "Source", *(f"{NAMES[name].capitalize()}: {side}" for name in METRICS for side in sides))
    return Grid(header, tuple(_four_numbers(part) for _, part in _finished(results).groupby("row", sort=False)))


def statistics_grid(results: pd.DataFrame) -> Grid:
    """The numbers that the paper does not give, a line a row and protocol; argument as ``four_numbers_grid``."""
    header = ("Method", "Source", "Protocol", *STATISTICS.values())
    lines = _finished(results).to_dict("records")
    return Grid(header, tuple(_statistics(line) for line in lines if line["status"] == OK), words=3)


def _cell(text: str) -> Markup:
    """Escaped; the reason of a failure is as long as a library likes."""
    if not text.startswith(FAILED):
        return escape(text)
    reason = textwrap.shorten(text, LONGEST_REASON, placeholder=" …")
    return Markup('<span class="reason">{}</span>').format(reason)


def _finished(results: pd.DataFrame) -> pd.DataFrame:
    """All lines of each row that has a result under at least one protocol."""
    return results[results["row"].isin(results.loc[results["status"] == OK, "row"])]


def _four_numbers(part: pd.DataFrame) -> tuple[str, ...]:
    sides = part.set_index("protocol").to_dict("index")
    first = sides["paper"]
    cells = [
        cell
        for name in METRICS
        for cell in (number(first[f"paper_{name}"]), *(_interval(line, name) for line in sides.values()))
    ]
    return (first["label"], first["citation"], *(cell or NONE for cell in cells))


def _statistics(line: dict[Any, Any]) -> tuple[str, ...]:
    names = (line["label"], line["citation"], PROTOCOL_TITLES[line["protocol"]].lower())
    return (*names, *(_interval(line, name) or NONE for name in STATISTICS))


def _interval(line: dict[Any, Any], name: str) -> str:
    """Rounded as in the table; nothing where there is no number."""
    value = line[name]
    decimals = decimals_of(name)
    return number(value, decimals) + limits(line, name, decimals) if np.isfinite(value) else ""
