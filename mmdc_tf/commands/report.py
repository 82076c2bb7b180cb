"""``mmdc-tf report``: a run as one page that can be looked at without a network, and its figures."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_OK
from mmdc_tf.commands.arguments import add_debug, require_root, whole
from mmdc_tf.commands.datasets import DATASETS
from mmdc_tf.commands.run_dataset import dataset_of_run
from mmdc_tf.errors import one_line
from mmdc_tf.io import is_disk_error

if TYPE_CHECKING:
    from mmdc_tf.datasets.schema import Dataset
    from mmdc_tf.experiments.rows import PaperTable

EXAMPLES = 4
"""Right ones, and wrong ones, where a user does not say how many."""


def add_report(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf report``."""
    parser.set_defaults(command=_report)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run's folder, as given to mmdc-tf run --output")
    add(
        "--examples",
        type=whole,
        default=EXAMPLES,
        metavar="N",
        help="test images with heatmaps, so many that were predicted rightly and so many wrongly; default: 4, 0: none",
    )
    add("--output", type=Path, metavar="DIR", help="folder for report.html and figures; default: RUN")
    add("--dataset-root", type=Path, help="the dataset's folder, for the examples; default: where it lay for the run")
    add("--dataset", choices=DATASETS, help="what --dataset-root holds; default: what the run was made from")
    add_debug(parser)


def write_after_run(output: Path, table: str, dataset: Dataset) -> tuple[Path | None, list[str]]:
    """Writes the report of a run that has just ended.

    What goes wrong is one line: the trainings are finished, and the report can be made again.

    Args:
        output: the run's folder.
        table: the one that was run.
        dataset: from which.

    Returns:
        Where it is, None where it could not be written; and lines on what is missing.
    """

    def paths(wanted: PaperTable) -> Mapping[str, str]:
        return _paths_of(dataset) if wanted.name == table else _found_paths(wanted, output, None, None)

    try:
        from mmdc_tf.report.html import REPORT, write_report

        problems = write_report(output, output, paths, EXAMPLES)
    except Exception as error:  # whatever it is, it must not turn a finished run into a failed one
        if is_disk_error(error):
            raise
        return None, [f"note: no report ({type(error).__name__}: {one_line(error)}); try mmdc-tf report {output}"]
    return output / REPORT, [f"note: {problem}" for problem in problems]


def _report(options: argparse.Namespace) -> int:
    from mmdc_tf.experiments.rows import tables_in

    tables_in(options.run)  # what is no run is refused before anything is written, or slowly imported
    require_root(options.dataset_root)
    from mmdc_tf.errors import RESEARCH_USE
    from mmdc_tf.io import require_writable
    from mmdc_tf.report.html import FIGURES, REPORT, write_report

    place = options.output or options.run
    require_writable(place)
    quiet = contextlib.nullcontext()
    with quiet:
        problems = write_report(
            options.run,
            place,
            lambda table: _found_paths(table, options.run, options.dataset_root, options.dataset),
            options.examples,
        )
    print("\n".join([*(f"note: {problem}" for problem in problems), RESEARCH_USE]))
    print(f"written: {place / REPORT}, {place / FIGURES}")
    return EXIT_OK


def _found_paths(table: PaperTable, output: Path, root: Path | None, name: str | None) -> Mapping[str, str]:
    """The images of a table's dataset: the folder given, or the one that its last command used."""
    from mmdc_tf.experiments.run_folder import commands_of, run_of

    folder = output / table.name
    commands = commands_of(folder)
    if root is None and commands:
        root = Path(commands[-1]["dataset_root"])
    return _paths_of(dataset_of_run(run_of(folder), output, root, name))


def _paths_of(dataset: Dataset) -> Mapping[str, str]:
    return dict(zip(dataset.table["sample_id"], dataset.table["image_path"], strict=True))
