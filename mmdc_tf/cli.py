"""The command line: ``mmdc-tf run`` (also ``run_experiments.py``) and ``mmdc-tf datasets check``.

TensorFlow is imported only by the commands that train, so that help and lists come at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mmdc_tf.errors import ConfigurationError, InputError
from mmdc_tf.experiments.native_log import native_messages_to
from mmdc_tf.experiments.rows import TABLES, PaperTable, choose_rows, load_table
from mmdc_tf.version import __version__

if TYPE_CHECKING:
    from mmdc_tf.datasets.schema import Dataset
    from mmdc_tf.experiments.grid import Plan

EXIT_OK, EXIT_FAILED_ROW, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130
DATASETS = ("busi", "mini-ddsm", "folder")
PHANTOM_PATIENTS = {"quick": 36, "full": 120}
PHANTOM_IMAGES = {"quick": 144, "full": 480}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line as for all bad input, where argparse would print the usage first."""
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {' '.join(message.split())}. See {self.prog} --help.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``mmdc-tf``; returns the exit code: 0, 1 (a row failed), 2 (bad input), 130 (interrupted).

    Raises:
        SystemExit: an option is unknown or its value is bad (code 2), or help was asked for (code 0).
    """
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except InputError as error:
        if options.debug:
            traceback.print_exc()
        print(f"mmdc-tf: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("mmdc-tf: interrupted; the same command continues where it stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


def run_experiments() -> int:
    """``run_experiments.py``: the same as ``mmdc-tf run``."""
    return main(["run", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mmdc-tf", description="MMDCNet and BCDNet for breast imaging. Research use only, not a medical device."
    )
    parser.add_argument("--version", action="version", version=f"mmdc-tf {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="train, score and tabulate the rows of a table of the paper"))
    datasets = commands.add_parser("datasets", help="look at a dataset before using it")
    _add_check(datasets.add_subparsers(required=True, metavar="ACTION").add_parser("check", help="count and verify"))
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_run)
    add = parser.add_argument
    add("--table", type=int, choices=TABLES, help="table of the paper: 1 (BUSI) or 2 (Mini-DDSM)")
    add("--rows", type=_names, help="rows by name, separated by commas; default: all that are built")
    add("--list", action="store_true", help="print the rows and the published numbers, and stop")
    add("--dataset-root", type=Path, help="the dataset's folder; without it the built-in phantom is used")
    add("--dataset", choices=DATASETS, help="what --dataset-root holds; default: the table's own dataset")
    add("--protocol", choices=("paper", "leak-free", "both"), default="both", help="default: both")
    add("--profile", choices=("quick", "full"), help="default: quick on the phantom, full on real data")
    add("--folds", type=_positive, help="folds of the leak-free protocol; default: the profile's")
    add("--seeds", type=_positive, default=1, help="trainings a fold, with different seeds; default: 1")
    add("--seed", type=_whole, default=0, help="seed of the splits and of the first training; default: 0")
    add("--image-size", type=_positive, help="height and width in pixels; default: the profile's")
    add("--epochs", type=_positive, help="at most; default: the profile's")
    add("--batch-size", type=_positive, help="default: the profile's")
    add(
        "--weights",
        help="imagenet, none, or a folder with the official *_notop.h5 files; default: none on the phantom, "
        "imagenet on real data",
    )
    add(
        "--cut",
        default="auto",
        help="freeze the backbone up to this layer; auto: the row's cut with pretrained weights, "
        "no freezing with random ones; none: no freezing; default: auto",
    )
    add("--output", type=Path, help="the run's folder; default: runs/DATASET-PROFILE")
    resume = parser.add_mutually_exclusive_group()
    resume.add_argument("--resume", action="store_true", help="continue an interrupted run (the default)")
    resume.add_argument("--fresh", action="store_true", help="start over; an earlier result is renamed, not deleted")
    add("--debug", action="store_true", help="show the trace of an error")


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_check)
    parser.add_argument("--dataset", choices=DATASETS, required=True)
    parser.add_argument("--root", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--debug", action="store_true", help="show the trace of an error")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _positive(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, received {text!r}")
    return number


def _whole(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number, received {text!r}")
    return number


def _check(options: argparse.Namespace) -> int:
    from mmdc_tf.datasets.check import check_dataset, format_report

    report = check_dataset(options.dataset, options.root)
    print(json.dumps(report, indent=1, ensure_ascii=False) if options.json else format_report(report))
    return EXIT_OK if report["usable"] else EXIT_BAD_INPUT


def _run(options: argparse.Namespace) -> int:
    if options.list:
        for number in TABLES if options.table is None else (options.table,):
            _print_rows(load_table(number))
        return EXIT_OK
    if options.table is None:
        raise ConfigurationError("Expected --table 1 or --table 2. Received: no table. See --list for their rows.")
    table = load_table(options.table)
    choose_rows(table, options.rows)
    if options.dataset is not None and options.dataset_root is None:
        raise ConfigurationError(
            f"Expected --dataset-root together with --dataset. Received: dataset={options.dataset!r} without a folder. "
            "Add --dataset-root DIR, or leave --dataset out to use the built-in phantom."
        )
    plan = _plan(table, options)
    with native_messages_to(plan.output / "tensorflow.log"):
        return _train(plan, options.fresh)


def _print_rows(table: PaperTable) -> None:
    print(f"{table.title} ({table.dataset})")
    for row in table.rows:
        state = "" if row.model is not None else "  not built"
        numbers = " ".join(f"{value:6.2f}" for value in row.paper)
        print(f"  {row.name:22} {numbers}  {row.label}, {row.citation}{state}")
    print("  (accuracy, precision, recall, F1 as published, in per cent)")


def _plan(table: PaperTable, options: argparse.Namespace) -> Plan:
    from mmdc_tf.datasets.splits import PROTOCOLS
    from mmdc_tf.experiments.artifacts import require_writable
    from mmdc_tf.experiments.grid import Plan
    from mmdc_tf.preprocessing.recipes import default_recipe
    from mmdc_tf.training.recipe import load_profile

    real = options.dataset_root is not None
    profile = load_profile(
        options.profile or ("full" if real else "quick"),
        folds=options.folds,
        image_size=options.image_size,
        epochs=options.epochs,
        batch_size=options.batch_size,
    )
    name = (options.dataset or table.dataset) if real else table.phantom
    output = options.output or Path("runs") / f"{name}-{profile.name}"
    require_writable(output)
    dataset = _dataset(name, options, output, profile.name)
    return Plan(
        table=table,
        rows=choose_rows(table, options.rows),
        dataset=dataset,
        preprocessing=default_recipe(table.modality if name == "folder" else dataset.info.modality).name,
        profile=profile,
        weights=options.weights or ("imagenet" if real else "none"),
        cut=options.cut,
        protocols=PROTOCOLS if options.protocol == "both" else (options.protocol,),
        seed=options.seed,
        seeds=options.seeds,
        output=output,
    )


def _dataset(name: str, options: argparse.Namespace, output: Path, profile: str) -> Dataset:
    """The real dataset, or the phantom written into the run's folder."""
    from mmdc_tf.datasets.catalogue import load_dataset
    from mmdc_tf.datasets.check import require_readable
    from mmdc_tf.datasets.phantom import phantom_mammograms, phantom_ultrasound

    if options.dataset_root is not None:
        dataset = load_dataset(name, options.dataset_root)
        require_readable(dataset)
    elif name == "phantom-mammogram":
        dataset = phantom_mammograms(output / name, patients=PHANTOM_PATIENTS[profile], seed=options.seed)
    else:
        dataset = phantom_ultrasound(output / name, images=PHANTOM_IMAGES[profile], seed=options.seed)
    for note in dataset.notes:
        print(f"note: {note}")
    return dataset


def _train(plan: Plan, fresh: bool) -> int:
    """Runs the plan; the tables are brought up to date after each fold and printed at the end."""
    from mmdc_tf.experiments.grid import make_cells
    from mmdc_tf.experiments.runner import run_cells
    from mmdc_tf.report.tables import markdown, write_tables

    cells = make_cells(plan)
    print(_introduction(plan, len(cells)))
    failures = run_cells(plan, cells, after_cell=lambda: write_tables(plan.table, plan.output), fresh=fresh)
    results = write_tables(plan.table, plan.output)
    print(markdown(plan.table, results, plan.shared_config()))
    print(f"written: {plan.output / plan.table.name}.csv, .md, .tex; curves: tensorboard --logdir {plan.output}")
    return EXIT_FAILED_ROW if failures else EXIT_OK


def _introduction(plan: Plan, trainings: int) -> str:
    from mmdc_tf.report.tables import notes

    counts = ", ".join(f"{count} {name}" for name, count in plan.dataset.found_counts.items())
    groups = plan.dataset.table["group_id"].nunique()
    lines = [
        *notes(plan.shared_config()),
        f"{len(plan.dataset.table)} images ({counts}), {groups} {plan.dataset.info.group_unit}s",
    ]
    return "\n".join([plan.table.title, *lines, f"{len(plan.rows)} rows, {trainings} trainings"])


with contextlib.suppress(AttributeError, ValueError):  # a terminal that cannot print α shows a stand-in, not a trace
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]

if __name__ == "__main__":
    sys.exit(main())
