"""``mmdc-tf robustness``: how the finished rows of a run hold up when their test images are noisy."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.commands import EXIT_FAILED_ROW, EXIT_OK
from mmdc_tf.commands.arguments import add_debug, names, protocols_of
from mmdc_tf.commands.datasets import DATASETS
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.native_log import native_messages_to
from mmdc_tf.experiments.rows import TABLES, PaperTable, choose_rows, load_table

if TYPE_CHECKING:
    from mmdc_tf.datasets.schema import Dataset


def add_robustness(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf robustness``."""
    parser.set_defaults(command=_robustness, continues=True)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run's folder, as given to mmdc-tf run --output")
    add("--table", choices=TABLES, help="default: all tables in the run")
    add("--rows", type=names, help="rows by name, separated by commas; default: all that have a saved model")
    add("--protocol", choices=("paper", "leak-free", "both"), default="both", help="default: both")
    add("--dataset-root", type=Path, help="the dataset's folder; a phantom lies in the run and needs none")
    add("--dataset", choices=DATASETS, help="what --dataset-root holds; default: what the run was made from")
    add_debug(parser)


def _robustness(options: argparse.Namespace) -> int:
    tables = [name for name in TABLES if options.table in (None, name) and (options.run / name / "run.json").is_file()]
    if not tables:
        raise ConfigurationError(
            f"Expected the folder of a run, with {options.table or ' or '.join(TABLES)}. Received: RUN={options.run}. "
            "Name what mmdc-tf run wrote (--output)."
        )
    with native_messages_to(options.run / "tensorflow.log"):
        failures = [_score(load_table(name), options) for name in tables]
    return EXIT_FAILED_ROW if any(failures) else EXIT_OK


def _score(table: PaperTable, options: argparse.Namespace) -> int:
    """Scores a table's trainings and writes its noise table; returns how many could not be scored."""
    from mmdc_tf.experiments.robustness import saved_trainings, score_trainings
    from mmdc_tf.experiments.run_folder import run_of
    from mmdc_tf.report.formatting import made_from
    from mmdc_tf.report.noise_table import write_noise_table

    folder = options.run / table.name
    run = run_of(folder)
    rows = table.rows if options.rows is None else choose_rows(table, options.rows)
    places = saved_trainings(folder, rows, protocols_of(options.protocol))
    if not places:
        raise ConfigurationError(
            f"Expected finished trainings with a saved model. Received: none of the chosen rows in {folder}. "
            "Train them first (mmdc-tf run), or choose others."
        )
    print("\n".join([table.title, *made_from(run), f"{len(places)} trainings"]))
    failures = score_trainings(places, _dataset(run, options).table, print)
    if not write_noise_table(table, options.run).empty:
        print(f"written: {options.run / table.name}_noise (.csv, .md, .png)")
    return failures


def _dataset(run: dict[str, Any], options: argparse.Namespace) -> Dataset:
    """What the run was made from, unchanged."""
    from mmdc_tf.datasets.catalogue import load_dataset
    from mmdc_tf.datasets.deduplicate import treat_near_twins

    if run["synthetic"]:
        dataset = _phantom(options.run / run["dataset"])
    elif options.dataset_root is None:
        raise ConfigurationError(
            f"Expected --dataset-root for a run made from {run['dataset']}. Received: no folder. Name the dataset's."
        )
    else:
        dataset = load_dataset(options.dataset or run["dataset"], options.dataset_root)
    dataset = treat_near_twins(dataset, run.get("near_twins", "keep"))  # runs of earlier versions do not say
    if dataset.fingerprint != run["dataset_fingerprint"]:
        raise ConfigurationError(
            f"Expected the dataset that the run was made from (fingerprint {run['dataset_fingerprint']}). "
            f"Received: {dataset.root} (fingerprint {dataset.fingerprint}). Name the folder that it was trained on."
        )
    return dataset


def _phantom(folder: Path) -> Dataset:
    """The phantom in the run's folder, as it was drawn."""
    from mmdc_tf.datasets import phantom
    from mmdc_tf.datasets.phantom_folder import PARAMETERS_FILE
    from mmdc_tf.experiments.artifacts import read_json

    known = {"phantom-mammogram": phantom.phantom_mammograms, "phantom-ultrasound": phantom.phantom_ultrasound}
    parameters = read_json(folder / PARAMETERS_FILE)
    if parameters is None or folder.name not in known:
        raise ConfigurationError(
            f"Expected the run's phantom in {folder}. Received: no {PARAMETERS_FILE} there. "
            "Run the command that made the run again: it draws the phantom."
        )
    drawn = {name: value for name, value in parameters.items() if name not in ("phantom", "drawing_version")}
    return known[folder.name](folder, **drawn)
