"""``report.html``: a run's tables, figures, examples and facts in one page that needs no other file and no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.errors import RESEARCH_USE, InputError, one_line
from mmdc_tf.experiments.command_log import commands_of
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import PaperTable, tables_in
from mmdc_tf.experiments.run_folder import run_of
from mmdc_tf.io import page_templates, picture_address, write_text
from mmdc_tf.report.audit_summary import audit_summary
from mmdc_tf.report.conclusion import conclusion
from mmdc_tf.report.formatting import PROTOCOL_TITLES, made_from
from mmdc_tf.report.html_tables import four_numbers_grid, main_grid, statistics_grid
from mmdc_tf.report.marks import with_marks
from mmdc_tf.report.pictures import Picture, table_pictures
from mmdc_tf.report.run_facts import environment_lines
from mmdc_tf.version import __version__

REPORT, FIGURES = "report.html", "figures"
CONFIDENTIAL = "This page shows images of the dataset: it is as confidential as the dataset itself."
Paths = Callable[[PaperTable], Mapping[str, str]]
"""From a table to the image file of each ``sample_id``; raises ``InputError`` where the images are not at hand."""


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
        OSError: a file cannot be written.
    """
    sections = [_section(table, output, place / FIGURES, paths, examples) for table in tables_in(output)]
    content = {
        "name": output.resolve().name,
        "sections": sections,
        "phantom": NOTICE if any(section["run"].get("synthetic") for section in sections) else "",
        "confidential": CONFIDENTIAL if any(map(_shows_patients, sections)) else "",
        "research_use": RESEARCH_USE,
        "version": __version__,
        "protocols": PROTOCOL_TITLES,
    }
    text = page_templates("mmdc_tf.report").get_template("report.html.j2").render(content)
    write_text(place / REPORT, text)
    return [f"{one['table'].name}: no examples: {one['no_examples']}" for one in sections if one["no_examples"]]


def _shows_patients(section: dict[str, Any]) -> bool:
    return section["examples"] is not None and not section["run"].get("synthetic")


def _section(table: PaperTable, output: Path, figures: Path, paths: Paths, count: int) -> dict[str, Any]:
    """All that the template shows of one table."""
    folder = output / table.name
    run = run_of(folder)
    results = with_marks(table_results(table, folder), folder)
    grid, below = main_grid(table, results, run)
    found, problem = _examples(table, results, folder, paths, count)
    return {
        "table": table,
        "run": run,
        "head": made_from(run),
        "conclusion": conclusion(table, results, folder),
        "grid": grid,
        "below": below,
        "four_numbers": four_numbers_grid(results),
        "statistics": statistics_grid(results),
        "pictures": _by_kind(table_pictures(table, results, run, output, figures)),
        "noise": _noise(output / f"{table.name}_noise.png"),
        "examples": found,
        "no_examples": problem,
        "audit": audit_summary(folder, run),
        "audit_command": _audit_command(table, run, output),
        "environment": environment_lines(folder),
        "commands": commands_of(folder),
        "run_text": json.dumps(run, indent=1, ensure_ascii=False),
        "files": sorted(path.name for path in output.glob(f"{table.name}[._-]*") if path.is_file()),
    }


def _examples(table: PaperTable, results: Any, folder: Path, paths: Paths, count: int) -> tuple[Any, str]:
    """The examples, or None and the reason; both empty where none are asked for."""
    if not count:
        return None, ""
    from mmdc_tf.report.examples import find_examples  # loads TensorFlow, which nothing else here needs

    try:
        return find_examples(table, results, folder, partial(paths, table), count), ""
    except (InputError, OSError, RuntimeError) as error:
        return None, one_line(error)


def _by_kind(pictures: list[Picture]) -> dict[str, list[Picture]]:
    kinds = dict.fromkeys(["accuracy", *(picture.kind for picture in pictures)])
    return {kind: [picture for picture in pictures if picture.kind == kind] for kind in kinds}


def _noise(path: Path) -> str:
    """The address of the figure that ``mmdc-tf robustness`` drew; "" where it did not."""
    return picture_address(path.read_bytes()) if path.is_file() else ""


def _audit_command(table: PaperTable, run: dict[str, Any], output: Path) -> str:
    """What looks deeper into the data; a phantom lies in the run's folder, in the layout of the real dataset."""
    phantom = run["synthetic"]
    name, root = (table.dataset, output / run["dataset"]) if phantom else (run["dataset"], "DIR")
    return f"mmdc-tf audit --dataset {name} --root {root} --output {output}"
