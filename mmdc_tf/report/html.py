"""``report.html``: a run's tables, figures, examples and facts in one page that needs no other file and no network."""

from __future__ import annotations

import io
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.datasets.splits import LEAK_FREE, PROTOCOLS, Split
from mmdc_tf.errors import RESEARCH_USE, InputError, counted, one_line
from mmdc_tf.experiments.results import rows_that_ran, table_results
from mmdc_tf.experiments.rows import PaperTable, tables_in
from mmdc_tf.experiments.run_folder import (
    FAILED,
    OK,
    commands_of,
    finished_files,
    read_samples,
    row_predictions,
    row_status,
    run_of,
    trainings_of,
)
from mmdc_tf.io import page_templates, picture_address, read_json, write_text, write_with
from mmdc_tf.report.checklist import write_checklist
from mmdc_tf.report.conclusion import conclusion, with_marks
from mmdc_tf.report.curves import OVERVIEWS, overview, row_figure
from mmdc_tf.report.details import STATISTICS, calibrated_rows, decided
from mmdc_tf.report.figures import bars, dot_plot, write_png
from mmdc_tf.report.formatting import METRIC_TITLES, PROTOCOL_TITLES, environment_lines, interval, made_from, number
from mmdc_tf.report.tables import EXTRA, shown
from mmdc_tf.version import __version__

REPORT, FIGURES = "report.html", "figures"
CONFIDENTIAL = "This page shows images of the dataset: it is as confidential as the dataset itself."
MOST_PANELS = 8
"""Rows in one figure: two lines of panels, which stay readable on a printed page."""
Paths = Callable[[PaperTable], Mapping[str, str]]
"""From a table to the image file of each ``sample_id``; raises ``InputError`` where the images are not at hand."""


class Grid(NamedTuple):
    """A table of the page: cells are text or ``Markup``; a line of one cell spans all columns."""

    header: list[str]
    lines: list[list[str]]
    words: int = 2  # so many of the first columns


def write_report(output: Path, place: Path, paths: Paths, examples: int) -> list[str]:
    """Writes ``report.html``, and its figures as PNG and PDF into ``figures``.

    Everything is computed from the files of the run; examples are predicted again by the saved model for its heatmaps.

    Args:
        output: the run's folder.
        place: the folder to write to.
        paths: where the images are; called only where examples are asked for.
        examples: so many images that were predicted rightly, and wrongly, for each table; 0 for none.

    Returns:
        Why a table has no examples although they were asked for, a line each.

    Raises:
        InputError: no run is there, or a file of it cannot be used.
    """
    sections = [_section(table, output, place / FIGURES, paths, examples) for table in tables_in(output)]
    write_checklist([(one["table"], one["results"]) for one in sections], output, place)
    shows_patients = any(one["examples"] and not one["run"].get("synthetic") for one in sections)
    content = {
        "name": output.resolve().name,
        "sections": sections,
        "external": [path.read_text(encoding="utf-8") for path in sorted(output.rglob("external-*.md"))],
        "phantom": NOTICE if any(one["run"].get("synthetic") for one in sections) else "",
        "confidential": CONFIDENTIAL if shows_patients else "",
        "research_use": RESEARCH_USE,
        "version": __version__,
        "protocols": PROTOCOL_TITLES,
    }
    write_text(place / REPORT, page_templates("mmdc_tf.report").get_template("report.html.j2").render(content))
    return [f"{one['table'].name}: no examples: {one['no_examples']}" for one in sections if one["no_examples"]]


def _section(table: PaperTable, output: Path, figures: Path, paths: Paths, count: int) -> dict[str, Any]:
    """All that the template shows of one table."""
    folder = output / table.name
    run = run_of(folder)
    results = with_marks(table_results(table, folder), folder)
    grid, below = main_grid(table, results, run)
    pictures = table_pictures(table, results, run, output, figures)
    found, problem = _examples(table, results, folder, paths, count)
    noise = output / f"{table.name}_noise.png"  # drawn by mmdc-tf robustness
    # a phantom lies in the run's folder, in the layout of the real dataset
    dataset, root = (table.dataset, output / run["dataset"]) if run["synthetic"] else (run["dataset"], "DIR")
    return {
        "table": table,
        "run": run,
        "results": results,
        "head": made_from(run),
        "conclusion": conclusion(table, results, folder),
        "grid": grid,
        "below": below,
        "numbers": numbers_grid(results),
        "pictures": {one["kind"]: [other for other in pictures if other["kind"] == one["kind"]] for one in pictures},
        "noise": picture_address(noise.read_bytes()) if noise.is_file() else "",
        "examples": found,
        "no_examples": problem,
        "audit": audit_summary(folder, run),
        "audit_command": f"mmdc-tf audit --dataset {dataset} --root {root} --output {output}",
        "environment": environment_lines(folder),
        "commands": commands_of(folder),
        "run_text": json.dumps(run, indent=1, ensure_ascii=False),
        "files": sorted(path.name for path in output.glob(f"{table.name}[._-]*") if path.is_file()),
    }


def _examples(table: PaperTable, results: pd.DataFrame, folder: Path, paths: Paths, count: int) -> tuple[Any, str]:
    """The examples, or None and the reason; both empty where none are asked for."""
    if not count:
        return None, ""
    from mmdc_tf.report.examples import find_examples  # loads TensorFlow, which nothing else here needs

    try:
        return find_examples(table, results, folder, partial(paths, table), count), ""
    except (InputError, OSError, RuntimeError) as error:
        return None, one_line(error)


def main_grid(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> tuple[Grid, list[str]]:
    """The rows of the table that ran, the best of each column in bold, and the lines that stand below it."""

    def cell(text: str) -> Markup:
        """The reason of a failure is as long as a library likes."""
        reason = textwrap.shorten(text, 160, placeholder=" …")
        return Markup('<span class="reason">{}</span>').format(reason) if text.startswith(FAILED) else escape(text)

    ran = rows_that_ran(results)
    header, cells, below = shown(table, ran, run, cell, Markup("<b>{}</b>").format)
    others = results["row"].nunique() - ran["row"].nunique()
    absent = [f"Not run: {counted(others, 'other row')}; {table.name}.md has the published numbers."] if others else []
    return Grid(header, [line[:1] if line[0] == EXTRA else line for line in cells]), [*absent, *below]


def numbers_grid(results: pd.DataFrame) -> Grid:
    """All numbers of the finished rows with their intervals: the published ones, then a line a protocol."""
    titles = {**METRIC_TITLES, **STATISTICS}
    header = ["Method", "Source", "Protocol", *(title[0].upper() + title[1:] for title in titles.values())]
    lines = []
    for _, part in results[results["status"] == OK].groupby("row", sort=False):
        first, *_ = records = part.to_dict("records")
        sides = {"published": [number(first[f"paper_{name}"]) for name in METRIC_TITLES] + [""] * len(STATISTICS)}
        sides |= {PROTOCOL_TITLES[one["protocol"]].lower(): [interval(one, name) for name in titles] for one in records}
        for side, texts in sides.items():
            lines += [[first["label"], first["citation"], side, *(text or "–" for text in texts)]] if any(texts) else []
    return Grid(header, lines, 3)


def table_pictures(
    table: PaperTable, results: pd.DataFrame, run: dict[str, Any], output: Path, place: Path
) -> list[dict[str, Any]]:
    """Draws all figures of a table that have something to show, and writes them as ``TABLE-KIND.png`` and ``.pdf``.

    Figures of this table in the folder ``place`` that are not drawn again are removed.

    Returns:
        What the template shows of each: ``kind`` ("accuracy", "bars", "row" or one of ``OVERVIEWS``), ``title``,
        ``alt``, ``address`` (``data:``) and ``width`` (inches).
    """
    pictures, names = [], set()
    for kind, part, title, alt, figure in _drawn(table, results, run, output):
        path = place / f"{'-'.join(filter(None, (table.name, kind, part)))}.png"
        write_png(figure, path)
        write_with(path.with_suffix(".pdf"), figure.savefig)
        facts = {"kind": kind, "title": title, "alt": alt}
        pictures.append({**facts, "address": _address(path), "width": figure.get_figwidth()})
        names.add(path.stem)
    own = re.compile(rf"{table.name}-(accuracy|bars|row|{'|'.join(OVERVIEWS)})(-.+)?\.(png|pdf)")
    for path in place.glob(f"{table.name}-*"):
        if own.fullmatch(path.name) and path.stem not in names:
            path.unlink()
    return pictures


def _drawn(
    table: PaperTable, results: pd.DataFrame, run: dict[str, Any], output: Path
) -> Iterator[tuple[str, str, str, str, Figure]]:
    """Kind, rest of the name, title and what it shows, for each figure."""
    if not (results["status"] == OK).any():
        return
    alt = "Accuracy of each row: published, under the paper protocol and leak-free, with intervals"
    yield "accuracy", "", "Published, paper protocol, leak-free", alt, dot_plot(table, results, run)
    if table.figure:
        alt = "Bars: accuracy, precision, recall and F1 of each row under each protocol"
        yield "bars", "", "The paper's four numbers as bars", alt, bars(table, results, run)
    folder, free = output / table.name, LEAK_FREE
    scored = []
    for row in table.rows:
        finished = [name for name in PROTOCOLS if row_status(folder, row.name, name) == OK]
        scored.append((row, {name: row_predictions(folder, row.name, name) for name in finished}))
    pooled = [(row, parts[free]) for row, parts in scored if free in parts]
    calibrated = calibrated_rows(table, free, output)
    overviews: list[tuple[str, str, list[Any]]] = [
        *((kind, free, pooled) for kind in ("confusion", "roc", "precision-recall")),
        ("reliability", free, calibrated),
        ("decision", free, decided(calibrated)),
        *(("learning", protocol, _histories(table, folder, protocol)) for protocol in PROTOCOLS[::-1]),
    ]
    for kind, protocol, rows in overviews:
        words = OVERVIEWS[kind].title
        title = f"{words[0].upper()}{words[1:]}, {PROTOCOL_TITLES[protocol].lower()}"
        for start in range(0, len(rows), MOST_PANELS):
            part = rows[start : start + MOST_PANELS]
            place = str(start // MOST_PANELS + 1) if len(rows) > MOST_PANELS else ""
            name = "-".join(filter(None, (protocol if kind == "learning" else "", place)))
            alt = f"{title}: {', '.join(row.label for row, _ in part)}"
            yield kind, name, title, alt, overview(kind, table, part, run, protocol)
    for row, parts in scored:
        if parts:
            title = f"{row.label}, {row.citation}"
            alt = f"{title}: confusion matrix, ROC and precision-recall curves under each protocol"
            yield "row", row.name, title, alt, row_figure(row, parts, run)


def _histories(table: PaperTable, folder: Path, protocol: str) -> list[tuple[Any, list[pd.DataFrame]]]:
    """The ``history.csv`` of each training of the finished networks."""
    networks = [row for row in table.rows if row.model is not None]
    files = [finished_files(trainings_of(folder / row.name / protocol), "history.csv") for row in networks]
    return [(row, [*map(pd.read_csv, paths)]) for row, paths in zip(networks, files, strict=True) if paths]


def _address(path: Path) -> str:
    """In 64 colours, in which a drawing looks the same and takes a third of the space: a page holds dozens."""
    few = Image.open(path).convert("RGB").quantize(64, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, "png")
    return picture_address(buffer.getvalue())


def audit_summary(folder: Path, run: dict[str, Any]) -> dict[str, Any] | None:
    """What a run's own files say of its data: labels, groups, and how many test images have a relative in training.

    Returns:
        What the template shows; ``found`` is the content of an ``audit.json`` of the same data in the run's folder.
        None where the run has no ``samples.csv``, as those of older versions.

    Raises:
        ConfigurationError: ``samples.csv`` lacks a column, or an ``audit.json`` is no JSON.
        SplitError: a split was changed after it was written.
    """
    samples = read_samples(folder)
    if samples is None:
        return None
    groups, known = samples.groupby("group_id"), samples.set_index("sample_id")["group_id"]
    leaks = []
    for protocol in PROTOCOLS:
        files = folder.glob(f"*/{protocol}/fold*-seed*/split.json")
        splits = {one.hash: one for one in (Split.from_json(path.read_text(encoding="utf-8")) for path in files)}
        related = [known[list(one.test)].isin(set(known[list(one.train)])) for one in splits.values()]
        if related:
            leaks.append({"protocol": protocol, "images": sum(map(len, related)), "related": sum(map(sum, related))})
    audits = [read_json(folder.parent / name) or {} for name in ("audit.json", "audit/audit.json")]
    return {
        "labels": samples["label"].value_counts(sort=False).to_dict(),
        "unit": run["group_unit"],
        "groups": len(groups),
        "of_several": int((groups.size() > 1).sum()),
        "largest": int(groups.size().max()),
        "several_labels": int((groups["label"].nunique() > 1).sum()),
        "leaks": leaks,
        "found": next((one for one in audits if one.get("fingerprint") == run["dataset_fingerprint"]), None),
    }
