"""``mmdc-tf datasets list``, ``check`` and ``lesions``: which there are, and a look at one before using it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.commands import EXIT_BAD_INPUT, EXIT_FAILED, EXIT_OK, scan_bar
from mmdc_tf.commands.arguments import DATASETS, add_debug
from mmdc_tf.errors import RESEARCH_USE

if TYPE_CHECKING:
    from mmdc_tf.datasets.schema import Dataset
    from mmdc_tf.preprocessing.lesions import LesionSurvey

WITH_MASKS = ("mini-ddsm", "folder")
"""Datasets of mammograms, whose recipes cut."""
MEASURE = "share of a mask's pixels above 127 inside the region kept; a reader's outline counts by its line"


def add_datasets(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of ``mmdc-tf datasets``."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the published data sets that can be read")
    listing.set_defaults(command=_list)
    add_debug(listing)
    check = actions.add_parser("check", help="count and verify")
    lesions = actions.add_parser("lesions", help="how much of each lesion the recipes for mammograms keep")
    words = "also write the table into this file, a line a mask"
    lesions.add_argument("--csv", type=Path, metavar="FILE", help=words)
    for action, command, known in ((check, _check, DATASETS), (lesions, _lesions, WITH_MASKS)):
        action.set_defaults(command=command)
        action.add_argument("--dataset", choices=known, required=True)
        action.add_argument("--root", type=Path, required=True, help="the dataset's folder")
        action.add_argument("--json", action="store_true", help="for programs")
        add_debug(action)


def _list(_options: argparse.Namespace) -> int:
    from mmdc_tf.datasets.catalogue import format_catalogue

    print(format_catalogue())
    return EXIT_OK


def _check(options: argparse.Namespace) -> int:
    from mmdc_tf.datasets.catalogue import check_dataset, format_report

    report = check_dataset(options.dataset, options.root)
    print(json.dumps(report, indent=1, ensure_ascii=False) if options.json else format_report(report))
    return EXIT_OK if report["usable"] else EXIT_BAD_INPUT


def _lesions(options: argparse.Namespace) -> int:
    from mmdc_tf.datasets.catalogue import list_dataset
    from mmdc_tf.io import write_table
    from mmdc_tf.preprocessing.lesions import survey_lesions

    dataset = list_dataset(options.dataset, options.root)
    with scan_bar() as progress:
        survey = survey_lesions(dataset, progress=progress)
    report = _lesion_report(dataset, survey)
    print(json.dumps(report, indent=1, ensure_ascii=False) if options.json else _lesion_text(report, survey))
    if options.csv is not None:
        write_table(options.csv, survey.masks, lineterminator="\n")
        print(f"csv: {options.csv}", file=sys.stderr)
    return EXIT_FAILED if report["problems"] else EXIT_OK


def _lesion_report(dataset: Dataset, survey: LesionSurvey) -> dict[str, Any]:
    """What ``--json`` prints: shares in [0, 1], None where there is none; scans are those that could be read."""
    from mmdc_tf.preprocessing.lesions import ENOUGH

    def known(share: float) -> float | None:
        return share if share == share else None  # JSON has no NaN

    masks = survey.masks.astype(object)
    summary = {
        recipe: {
            "masks": len(survey.measured),
            "kept_from": ENOUGH,
            "kept": survey.kept(recipe),
            "mean_crop_with_masks": known(survey.mean_crop(recipe, with_masks=True)),
            "mean_crop": known(survey.mean_crop(recipe)),
        }
        for recipe in survey.recipes
    }
    return {
        "title": dataset.info.title,
        "root": str(dataset.root),
        "synthetic": dataset.is_phantom,
        "research_use": RESEARCH_USE,
        "measure": MEASURE,
        "masks": masks.where(masks.notna(), None).to_dict("records"),
        "summary": summary,
        "scans": survey.scans_read(),
        "scans_with_masks": survey.scans_read(with_masks=True),
        "problems": survey.problems.to_dict("records"),
        "notes": list(dataset.notes),
    }


def _lesion_text(report: dict[str, Any], survey: LesionSurvey) -> str:
    import pandas as pd

    from mmdc_tf.datasets.schema import NOTICE

    def told(value: float | int | None) -> str:
        return "-" if pd.isna(value) else f"{value:,}" if isinstance(value, int) else f"{100 * value:.2f}"

    recipes = list(survey.recipes)
    titles = ["sample", "mask", *(f"{recipe} %" for recipe in recipes)]
    masks = survey.masks[["sample_id", "mask", *recipes]]
    masks = masks.assign(**{recipe: masks[recipe].map(told) for recipe in recipes})
    labels = {
        "masks": "masks",
        "kept": f"masks that keep at least {100 * report['summary'][recipes[0]]['kept_from']:g} %",
        "mean_crop_with_masks": f"mean crop, % of the scan, {report['scans_with_masks']:,} scans with masks",
        "mean_crop": f"mean crop, % of the scan, all {report['scans']:,} scans",
    }
    cells = {recipe: [told(numbers[name]) for name in labels] for recipe, numbers in report["summary"].items()}
    summary = pd.DataFrame(cells, index=list(labels.values()))
    lines = [f"{'dataset':<10}{report['title']}", f"{'root':<10}{report['root']}", f"{'share':<10}{MEASURE}"]
    lines += [f"{'data':<10}{NOTICE}"] if report["synthetic"] else []
    lines += ["", masks.to_string(index=False, header=titles), "", summary.to_string()]
    problems = [f"{entry['path']}: {entry['problem']}" for entry in report["problems"]]
    for title, some in (("not measured", problems), ("notes", report["notes"])):
        lines += ["", title, *(f"  - {line}" for line in some)] if some else []
    return "\n".join([*lines, "", RESEARCH_USE])
