"""``mmdc-tf datasets lesions``: how much of each lesion the recipes for mammograms keep."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.commands import EXIT_FAILED_ROW, EXIT_OK
from mmdc_tf.commands.progress import scan_bar
from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    import pandas as pd

    from mmdc_tf.datasets.schema import Dataset
    from mmdc_tf.preprocessing.lesion_survey import LesionSurvey

DATASETS = ("mini-ddsm", "folder")
MEASURE = "share of a mask's pixels above 127 inside the region kept; a reader's outline counts by its line"


def add_lesions(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf datasets lesions``."""
    parser.set_defaults(command=_lesions)
    parser.add_argument("--dataset", choices=DATASETS, required=True)
    parser.add_argument("--root", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the table into this file, a line a mask")
    parser.add_argument("--debug", action="store_true", help="show the trace of an error")


def _lesions(options: argparse.Namespace) -> int:
    from mmdc_tf.datasets.catalogue import list_dataset
    from mmdc_tf.preprocessing.lesion_survey import survey_lesions

    dataset = list_dataset(options.dataset, options.root)
    with scan_bar() as progress:
        survey = survey_lesions(dataset, progress=progress)
    report = lesion_report(dataset, survey)
    print(json.dumps(report, indent=1, ensure_ascii=False) if options.json else format_lesions(report))
    if options.csv is not None:
        _write_csv(options.csv, survey)
    return EXIT_FAILED_ROW if len(survey.problems) else EXIT_OK


def lesion_report(dataset: Dataset, survey: LesionSurvey) -> dict[str, Any]:
    """What the command says, as ``json.dumps`` takes it.

    Returns:
        ``title``, ``root``, ``synthetic``, ``research_use``, ``measure`` (what a share is), ``masks`` (list of
        ``{"sample_id", "mask", RECIPE, …, "problem"}``, shares in [0, 1], None where there is none), ``summary``
        (recipe to ``{"masks", "kept_from", "kept", "mean_crop_with_masks", "mean_crop"}``), ``scans``,
        ``scans_with_masks`` (both: those that could be read), ``problems`` (list of ``{"path", "problem"}``) and
        ``notes``.
    """
    from mmdc_tf.errors import RESEARCH_USE

    return {
        "title": dataset.info.title,
        "root": str(dataset.root),
        "synthetic": dataset.is_phantom,
        "research_use": RESEARCH_USE,
        "measure": MEASURE,
        "masks": _records(survey.masks),
        "summary": {recipe: _summary(survey, recipe) for recipe in survey.recipes},
        "scans": survey.scans_read(),
        "scans_with_masks": survey.scans_read(with_masks=True),
        "problems": survey.problems.to_dict("records"),
        "notes": list(dataset.notes),
    }


def _summary(survey: LesionSurvey, recipe: str) -> dict[str, float | int | None]:
    from mmdc_tf.preprocessing.lesion_survey import ENOUGH

    return {
        "masks": len(survey.measured),
        "kept_from": ENOUGH,
        "kept": survey.kept(recipe),
        "mean_crop_with_masks": _known(survey.mean_crop(recipe, with_masks=True)),
        "mean_crop": _known(survey.mean_crop(recipe)),
    }


def _records(table: pd.DataFrame) -> list[dict]:
    return [{name: _known(value) for name, value in row.items()} for row in table.to_dict("records")]


def _known(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def format_lesions(report: dict[str, Any]) -> str:
    """Sets a report of ``lesion_report`` as aligned plain text, without a final line break."""
    from mmdc_tf.datasets.schema import NOTICE

    lines = [f"{'dataset':<10}{report['title']}", f"{'root':<10}{report['root']}", f"{'share':<10}{report['measure']}"]
    lines += [f"{'data':<10}{NOTICE}"] if report["synthetic"] else []
    lines += ["", *_mask_lines(report), "", *_summary_lines(report)]
    lines += _section("not measured", [f"{entry['path']}: {entry['problem']}" for entry in report["problems"]])
    return "\n".join([*lines, *_section("notes", report["notes"]), "", report["research_use"]])


def _mask_lines(report: dict[str, Any]) -> list[str]:
    recipes = list(report["summary"])
    rows = [("sample", "mask", *(f"{recipe} %" for recipe in recipes))]
    rows += [(row["sample_id"], row["mask"], *(_percent(row[name]) for name in recipes)) for row in report["masks"]]
    return _aligned(rows, words=2)


def _summary_lines(report: dict[str, Any]) -> list[str]:
    columns = list(report["summary"].values())
    first = columns[0]
    rows = [
        ("summary", *report["summary"]),
        ("masks", *(f"{column['masks']:,}" for column in columns)),
        (f"masks that keep at least {100 * first['kept_from']:g} %", *(f"{column['kept']:,}" for column in columns)),
        (
            f"mean crop, % of the scan, {report['scans_with_masks']:,} scans with masks",
            *(_percent(column["mean_crop_with_masks"]) for column in columns),
        ),
        (
            f"mean crop, % of the scan, all {report['scans']:,} scans",
            *(_percent(column["mean_crop"]) for column in columns),
        ),
    ]
    return _aligned(rows, words=1)


def _aligned(rows: list[tuple[str, ...]], words: int) -> list[str]:
    """Columns side by side: the first ``words`` of them to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", title, *(f"  - {line}" for line in lines)] if lines else []


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


def _write_csv(path: Path, survey: LesionSurvey) -> None:
    """A line a mask: sample_id, mask, a column a recipe with the share kept, problem."""
    from mmdc_tf.io import write_with

    try:
        write_with(path, lambda temporary: survey.masks.to_csv(temporary, index=False, lineterminator="\n"))
    except OSError as error:
        raise ConfigurationError(
            f"Expected a file that can be written. Received: csv={path} ({error.strerror or error}). "
            "Choose another name; the table is printed."
        ) from error
    print(f"csv: {path}", file=sys.stderr)
