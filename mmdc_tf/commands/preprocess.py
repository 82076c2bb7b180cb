"""``mmdc-tf preprocess``: a folder of scans into a mirrored folder of PNG."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_FAILED_ROW, EXIT_OK
from mmdc_tf.commands.arguments import add_debug, positive
from mmdc_tf.commands.machines import LOCAL, SCAN_MEMORY, add_executor, require_fitting
from mmdc_tf.commands.progress import scan_bar
from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    from mmdc_tf.datasets.jobs import Executor
    from mmdc_tf.preprocessing.batch import BatchResult


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
    add_executor(parser, SCAN_MEMORY)
    add_debug(parser)


def _preprocess(options: argparse.Namespace) -> int:
    from mmdc_tf.preprocessing.batch import preprocess_folder

    _require_png(options.contact_sheet)
    require_fitting(options)
    with scan_bar() as progress:
        result = preprocess_folder(
            options.input, options.output, options.recipe, options.size, _executor(options), progress
        )
    _print_result(result, options)
    _draw(result, options)
    return EXIT_FAILED_ROW if result.failed else EXIT_OK


def _executor(options: argparse.Namespace) -> Executor:
    from mmdc_tf.datasets.jobs import Executor

    if options.executor == LOCAL:
        return Executor(options.workers or 1, "workers")
    cpus, gpus, memory = options.task_cpus or 1, options.task_gpus or 0.0, options.task_memory or 10**9
    return Executor(ray=True, address=options.ray_address, cpus=cpus, gpus=gpus, memory=memory)


def _require_png(path: Path | None) -> None:
    if path is not None and path.suffix.lower() != ".png":
        raise ConfigurationError(
            f"Expected a file that ends in .png. Received: contact_sheet={path}. Give such a name."
        )


def _print_result(result: BatchResult, options: argparse.Namespace) -> None:
    from mmdc_tf.datasets.files import kinds

    for row in result.failed:
        print(f"{row.flags}: {row.source}: {row.reason}", file=sys.stderr)
    if result.outside_links:
        example = result.outside_links[0]
        print(f"note: links that leave the input, not followed: {len(result.outside_links):,}, for example {example}")
    if result.lesion_masks:
        print(f"note: lesion masks, left out: {len(result.lesion_masks):,}, for example {result.lesion_masks[0]}")
    if result.others:
        print(f"note: files that are no scans, left out: {len(result.others):,} ({kinds(result.others)})")
    written = len(result.rows) - len(result.failed) - result.unchanged
    manifest = options.output / "manifest.csv"
    print(
        f"{len(result.rows):,} scans: {written:,} written, {result.unchanged:,} unchanged, "
        f"{len(result.failed):,} without result; recipe {options.recipe}, {options.size} pixels; manifest: {manifest}"
    )


def _draw(result: BatchResult, options: argparse.Namespace) -> None:
    from mmdc_tf.preprocessing.contact_sheet import write_contact_sheet

    rows = [row for row in result.rows if not row.failed][: options.contact_count]
    if options.contact_sheet is None or not rows:
        return
    try:
        problems = write_contact_sheet(options.contact_sheet, rows, options.input, options.output, result.lesion_masks)
    except OSError as error:
        raise ConfigurationError(
            f"Expected a file that can be written. Received: contact_sheet={options.contact_sheet} "
            f"({error.strerror}). Choose another name; the PNG files are done."
        ) from error
    for problem in problems:
        print(f"note: lesion mask, not drawn: {problem}")
    print(f"contact sheet: {options.contact_sheet}")
