"""``mmdc-tf datasets check`` and ``lesions``: look at a dataset before using it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmdc_tf.commands import EXIT_BAD_INPUT, EXIT_OK
from mmdc_tf.commands.arguments import add_debug
from mmdc_tf.commands.lesions import add_lesions

DATASETS = ("busi", "mini-ddsm", "folder")


def add_datasets(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of ``mmdc-tf datasets``."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="count and verify")
    check.set_defaults(command=_check)
    check.add_argument("--dataset", choices=DATASETS, required=True)
    check.add_argument("--root", type=Path, required=True, help="the dataset's folder")
    check.add_argument("--json", action="store_true", help="for programs")
    add_debug(check)
    add_lesions(actions.add_parser("lesions", help="how much of each lesion the recipes for mammograms keep"))


def _check(options: argparse.Namespace) -> int:
    from mmdc_tf.datasets.catalogue import check_dataset, format_report

    report = check_dataset(options.dataset, options.root)
    print(json.dumps(report, indent=1, ensure_ascii=False) if options.json else format_report(report))
    return EXIT_OK if report["usable"] else EXIT_BAD_INPUT
