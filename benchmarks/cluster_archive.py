"""What an image, a training's files and the tables of a run cost at the size of an archive.

    python benchmarks/cluster_archive.py [--only scans,cell,tables] [--images N] [--lines N]

Everything is a phantom or made up: not a reproduction. Seconds are of the processor, all threads of a process together.

- scans: a full-field mammogram (4096×3328, 12 of 16 bits, an enlarged phantom with noise in its lowest four bits) from
  its file to a PNG of 224 pixels, recipe lesion-safe, as ``mmdc-tf preprocess`` does it, best of three.
- cell: what one leak-free training leaves behind where the dataset has ``--images`` images: the splits of all folds,
  the files that name images, and what the tables compute from its predictions.
- tables: one update of the tables of 960 trainings (20 rows, both protocols, 8 seeds), each of ``--lines`` predictions:
  from nothing, with nothing new, and with one new training.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cluster import cells, head
from cluster_archive_data import (
    FOLDS,
    RECIPE,
    SIZE,
    full_field_files,
    made_up_dataset,
    made_up_predictions,
    made_up_run,
)
from machine import PACKAGES, machine_lines

from mmdc_tf.commands.arguments import names, positive
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.splits import Split, make_splits
from mmdc_tf.evaluation.comparison import compare_rows
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.evaluation.statistics import metric_intervals
from mmdc_tf.experiments.results import PERCENT_METRICS, PLAIN_METRICS
from mmdc_tf.io import write_table, write_text
from mmdc_tf.preprocessing.one_scan import Job, process
from mmdc_tf.report.tables import write_tables

PARTS = ("scans", "cell", "tables")
ROUNDS = 3
Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--only", type=names, default=list(PARTS), help="of scans, cell, tables, separated by commas; default: all")
    add("--images", type=positive, default=480_000, help="of the dataset; default: 480000")
    add("--lines", type=positive, default=1_000, help="predictions of a training; default: 1000")
    options = parser.parse_args()
    print(f"phantom: not a reproduction\n{machine_lines((*PACKAGES, 'opencv-python'))}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        if "scans" in options.only:
            report_scans(Path(scratch))
        if "cell" in options.only:
            report_cell(Path(scratch), options.images)
        if "tables" in options.only:
            report_tables(Path(scratch), options.lines)


def report_scans(scratch: Path) -> None:
    """Full-field images by format."""
    cv2.setNumThreads(1)
    head("a full-field mammogram", "file, MB", f"PNG of {SIZE}, kB", "s an image")
    for kind, paths in full_field_files(scratch).items():
        seconds = [min(of_scan(path, scratch / "out") for _ in range(ROUNDS)) for path in paths]
        sizes = [mean_size(paths), mean_size(list((scratch / "out").iterdir()))]
        cells(kind, f"{sizes[0] / 1e6:.1f}", f"{sizes[1] / 1e3:.0f}", f"{sum(seconds) / len(seconds):.3f}")


def of_scan(path: Path, target: Path) -> float:
    """Seconds of one scan, its PNG written."""
    target.mkdir(exist_ok=True)
    row, seconds = timed(lambda: process(Job(path.parent, target, path.name, "scan.png", RECIPE, SIZE, None))[0])
    if row.failed:
        raise RuntimeError(row.reason)
    return seconds


def mean_size(paths: list[Path]) -> float:
    """Bytes of a file."""
    return sum(path.stat().st_size for path in paths) / len(paths)


def report_cell(scratch: Path, images: int) -> None:
    """What one training leaves behind, and what the tables make of it."""
    dataset = made_up_dataset(images, scratch)
    splits, seconds = timed(lambda: make_splits(dataset, "leak-free", FOLDS, 0))
    head(f"one training of {images:,} images, {FOLDS} folds", "s", "MB")
    cells("splits of all folds", f"{seconds:.1f}", "")
    file_line("split.json", lambda path: write_text(path, splits[0].to_json()), scratch)
    ours, best = (made_up_predictions(dataset, splits[0], draw) for draw in range(2))
    file_line("predictions.csv", lambda path: write_table(path, ours), scratch)
    read, seconds = timed(lambda: read_predictions([scratch / "predictions.csv"]))
    cells(f"{len(read):,} predictions, read", f"{seconds:.1f}", "")
    _, seconds = timed(lambda: metric_intervals(read, names=(*PERCENT_METRICS, *PLAIN_METRICS)))
    cells("their intervals", f"{seconds:.1f}", "")
    _, seconds = timed(lambda: compare_rows({"row": read, "best": best}, "best"))
    cells("their comparison with the best row's", f"{seconds:.1f}", "")
    _, seconds = timed(lambda: Split.from_json((scratch / "split.json").read_text()))
    cells("split.json, read", f"{seconds:.1f}", "")


def file_line(name: str, write: Callable[[Path], object], folder: Path) -> None:
    """A line on a file: how long it takes to write, and its size."""
    _, seconds = timed(lambda: write(folder / name))
    cells(name, f"{seconds:.1f}", f"{(folder / name).stat().st_size / 1e6:.1f}")


def report_tables(scratch: Path, lines: int) -> None:
    """Updates of the tables."""
    table, output = made_up_run(scratch, lines)
    trainings = list((output / table.name).glob("*/*/fold*"))
    head(f"tables of {len(trainings)} trainings, {lines:,} predictions each", "s")
    _, seconds = timed(lambda: write_tables(table, output))
    cells("from nothing", f"{seconds:.1f}")
    _, seconds = timed(lambda: write_tables(table, output))
    cells("with nothing new", f"{seconds:.1f}")
    os.utime(output / table.name / table.rows[-1].name / "leak-free" / "fold0-seed0" / "predictions.csv")
    _, seconds = timed(lambda: write_tables(table, output))
    cells("with one new training, whose row it completes", f"{seconds:.1f}")


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """What it gives, and its seconds."""
    began = time.process_time()
    result = work()
    return result, time.process_time() - began


if __name__ == "__main__":
    main()
