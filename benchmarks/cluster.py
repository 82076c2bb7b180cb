"""What a task costs beyond its work, and how much faster a folder and a grid of trainings are on more processes.

    python benchmarks/cluster.py [--only tasks,folder,grid] [--workers 1,2,4] [--tasks N] [--images N] [--scans N]

needs ``pip install "mmdc-tf[ray]"`` and a machine that does nothing else. Everything is a phantom: not a reproduction.
``processes`` are those of ``--workers`` and ``--jobs``; ``ray`` is a cluster on this machine: a head node without cores
for tasks, and nodes of one core each. More nodes than the machine has cores cannot be faster.

- tasks: so many that do nothing, which share nothing, or the table of as many images as ``--images`` says; each task of
  the second kind looks at the table's length. "Start" is the time to the first result, with the start of the processes.
- folder: ``preprocess_folder``, recipe lesion-safe, 224 pixels, of phantom scans enlarged to the size of film scans, as
  in ``preprocessing.py``; on Ray as many a task as ``mmdc-tf preprocess`` gives it. Scans a second are those between
  the first and the last result.
- grid: whole commands ``mmdc-tf run`` of ``--rows`` on the phantom (``--profile quick``, 64 pixels), by the clock, with
  the start of TensorFlow in each process and the report.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from cluster_work import Timed, grid_seconds, nodes, of_folder, of_tasks, on_ray, processes
from machine import PACKAGES, machine_lines
from preprocessing import enlarged_phantom

from mmdc_tf.commands.arguments import names, positive
from mmdc_tf.preprocessing.batch import SCANS_A_TASK
from mmdc_tf.workers.processes import available_cores

PARTS = ("tasks", "folder", "grid")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--only", type=names, default=list(PARTS), help="of tasks, folder, grid, separated by commas; default: all")
    add("--workers", type=counts, default=[1, 2, 4], help="one-core workers, separated by commas; default: 1,2,4")
    add("--tasks", type=positive, default=2_000, help="that do nothing; default: 2000")
    add("--images", type=positive, default=480_000, help="lines of the shared table; default: 480000")
    add("--scans", type=positive, default=1_500, help="of the folder; default: 1500")
    add("--rows", default="metadata_only,kacher_mobilenet", help="of the grid; default: metadata_only,kacher_mobilenet")
    add("--seeds", type=positive, default=2, help="of the grid; default: 2")
    options = parser.parse_args()
    print(f"phantom: not a reproduction\n{machine_lines((*PACKAGES, 'ray'))}, {available_cores()} cores", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for part in options.only:
            {"tasks": report_tasks, "folder": report_folder, "grid": report_grid}[part](options, Path(scratch))


def counts(text: str) -> list[int]:
    """Numbers of workers."""
    return [positive(number) for number in text.split(",")]


def report_tasks(options: argparse.Namespace, scratch: Path) -> None:
    """Overhead a task."""
    head(f"{options.tasks:,} tasks that do nothing", "start, s", "ms a task")
    for name, images in (("nothing shared", 0), (f"a table of {options.images:,} images shared", options.images)):
        for count in options.workers:
            line(f"{name}, {count} processes", of_tasks(processes(count), options.tasks, images))
            with nodes(count):
                line(f"{name}, ray, {count} nodes", of_tasks(on_ray(), options.tasks, images))


def report_folder(options: argparse.Namespace, scratch: Path) -> None:
    """Speed-up of preprocessing."""
    scans = enlarged_phantom(scratch)
    head(f"preprocess_folder, {options.scans:,} scans", "start, s", "scans/s", "× one process")
    alone = None
    for count in options.workers:
        timed = of_folder(scans, options.scans, processes(count))
        alone = alone or timed
        line(f"{count} processes", timed, alone)
        with nodes(count):
            line(f"ray, {count} nodes", of_folder(scans, options.scans, on_ray(SCANS_A_TASK)), alone)


def report_grid(options: argparse.Namespace, scratch: Path) -> None:
    """Speed-up of trainings."""
    command = ["--table", "2", "--rows", options.rows, "--seeds", str(options.seeds), "--tensorboard", "curves"]
    head(f"mmdc-tf run {' '.join(command)}", "trainings", "s", "× one process")
    alone, trainings = grid_seconds(command, scratch / "alone")
    cells("one process, all cores", f"{trainings}", f"{alone:.0f}", "1.00")
    for count in options.workers:
        with nodes(count) as address:
            executors = {
                f"--jobs {count}": ["--jobs", str(count)],
                f"--executor ray, {count} nodes": [
                    "--executor",
                    "ray",
                    "--ray-address",
                    address,
                    "--task-memory",
                    "1GB",
                ],
            }
            for name, more in executors.items():
                seconds, _ = grid_seconds([*command, *more], scratch / name)
                cells(name, f"{trainings}", f"{seconds:.0f}", f"{alone / seconds:.2f}")


def head(title: str, *columns: str) -> None:
    """The first two lines of a table."""
    print()
    cells(title, *columns)
    cells("---", *["---:"] * len(columns))


def line(name: str, timed: Timed, alone: Timed | None = None) -> None:
    """A line of a table; with what one process needed, in scans a second."""
    if alone is None:
        cells(name, f"{timed.start:.1f}", f"{1000 * timed.each:.2f}")
    else:
        cells(name, f"{timed.start:.1f}", f"{1 / timed.each:.1f}", f"{alone.each / timed.each:.2f}")


def cells(*texts: str) -> None:
    print(f"| {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
