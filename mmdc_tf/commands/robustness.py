"""``mmdc-tf robustness``: how the finished rows of a run hold up when their test images are noisy."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmdc_tf.commands import EXIT_FAILED_ROW, EXIT_OK
from mmdc_tf.commands.arguments import PROTOCOL_SETS, add_debug, add_protocol, names, require_root
from mmdc_tf.commands.datasets import DATASETS
from mmdc_tf.commands.run_dataset import dataset_of_run
from mmdc_tf.errors import ConfigurationError, counted
from mmdc_tf.experiments.native_log import native_messages_to
from mmdc_tf.experiments.rows import TABLES, PaperTable, choose_rows, tables_in


def add_robustness(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf robustness``."""
    parser.set_defaults(command=_robustness, continues=True)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run's folder, as given to mmdc-tf run --output")
    add("--table", choices=TABLES, help="default: all tables in the run")
    add("--rows", type=names, help="rows by name, separated by commas; default: all that have a saved model")
    add_protocol(parser, "both")
    add("--dataset-root", type=Path, help="the dataset's folder; a phantom lies in the run and needs none")
    add("--dataset", choices=DATASETS, help="what --dataset-root holds; default: what the run was made from")
    add_debug(parser)


def _robustness(options: argparse.Namespace) -> int:
    tables = [table for table in tables_in(options.run) if options.table in (None, table.name)]
    require_root(options.dataset_root)
    if not tables:
        raise ConfigurationError(
            f"Expected a run with {options.table}. Received: RUN={options.run} without it. Choose another --table."
        )
    with native_messages_to(options.run / "tensorflow.log"):
        failures = [_score(table, options) for table in tables]
    return EXIT_FAILED_ROW if any(failures) else EXIT_OK


def _score(table: PaperTable, options: argparse.Namespace) -> int:
    """Scores a table's trainings and writes its noise table; returns how many could not be scored."""
    from mmdc_tf.experiments.robustness import saved_trainings, score_trainings
    from mmdc_tf.experiments.run_folder import run_of
    from mmdc_tf.report.formatting import made_from
    from mmdc_tf.report.variants import write_noise_table

    folder = options.run / table.name
    run = run_of(folder)
    rows = table.rows if options.rows is None else choose_rows(table, options.rows)
    places = saved_trainings(folder, rows, PROTOCOL_SETS[options.protocol])
    if not places:
        raise ConfigurationError(
            f"Expected finished trainings with a saved model. Received: none of the chosen rows in {folder}. "
            "Train them first (mmdc-tf run), or choose others."
        )
    print("\n".join([table.title, *made_from(run), counted(len(places), "training")]))
    dataset = dataset_of_run(run, options.run, options.dataset_root, options.dataset)
    failures = score_trainings(places, dataset.table, print)
    if not write_noise_table(table, options.run).empty:
        print(f"written: {options.run / table.name}_noise (.csv, .md, .png)")
    return failures
