"""``mmdc-tf preprocess``: a folder of scans into a mirrored folder of PNG."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_FAILED, EXIT_OK, scan_bar
from mmdc_tf.commands.arguments import add_debug, add_executor, executor, positive, require_executor
from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    from mmdc_tf.preprocessing.batch import BatchResult

SCAN_MEMORY = 10**9
"""Bytes that Ray keeps for a scan."""


def add_preprocess(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf preprocess``."""
    parser.set_defaults(command=_preprocess, continues=True)
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder of PNG, JPEG, TIFF, BMP and DICOM files, at any depth")
    add("--output", type=Path, required=True, help="folder for the PNG files and manifest.csv; may exist: continues")
    add("--recipe", required=True, help="lesion-safe or paper for mammograms; ultrasound, plain or brint")
    add("--size", type=positive, default=224, help="height and width of the PNG files in pixels; default: 224")
    add("--workers", type=positive, help="processes of this machine; default: 1")
    add("--contact-sheet", type=Path, metavar="FILE.png", help="also draw scans beside their results into this file")
    add("--contact-count", type=positive, default=12, help="scans on the contact sheet; default: 12")
    add_executor(add)
    add_debug(parser)


def _preprocess(options: argparse.Namespace) -> int:
    from mmdc_tf.preprocessing.batch import preprocess_folder

    sheet = options.contact_sheet
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ConfigurationError(
            f"Expected a file that ends in .png. Received: contact_sheet={sheet}. Give such a name."
        )
    require_executor(options)
    workers = executor(options, "workers", SCAN_MEMORY)
    with scan_bar() as progress:
        result = preprocess_folder(options.input, options.output, options.recipe, options.size, workers, progress)
    _print_result(result, options)
    rows = [row for row in result.rows if not row.failed][: options.contact_count]
    if sheet is not None and rows:
        from mmdc_tf.preprocessing.contact_sheet import write_contact_sheet

        for problem in write_contact_sheet(sheet, rows, options.input, options.output, result.lesion_masks):
            print(f"note: lesion mask, not drawn: {problem}")
        print(f"contact sheet: {sheet}")
    return EXIT_FAILED if result.failed else EXIT_OK


def _print_result(result: BatchResult, options: argparse.Namespace) -> None:
    from mmdc_tf.datasets.files import kinds

    for row in result.failed:
        print(f"{row.flags}: {row.source}: {row.reason}", file=sys.stderr)
    left_out = {
        "links that leave the input, not followed": result.outside_links,
        "lesion masks, left out": result.lesion_masks,
    }
    for what, some in left_out.items():
        if some:
            print(f"note: {what}: {len(some):,}, for example {some[0]}")
    if result.others:
        print(f"note: files that are no scans, left out: {len(result.others):,} ({kinds(result.others)})")
    written = len(result.rows) - len(result.failed) - result.unchanged
    print(
        f"{len(result.rows):,} scans: {written:,} written, {result.unchanged:,} unchanged, {len(result.failed):,} "
        f"without result; recipe {options.recipe}, {options.size} pixels; manifest: {options.output / 'manifest.csv'}"
    )
