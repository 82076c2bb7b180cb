"""``mmdc-tf report`` and ``robustness``: a finished run as one page, and its rows on noisy test images."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.commands import EXIT_FAILED, EXIT_OK, arguments, import_tensorflow
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, counted, one_line
from mmdc_tf.experiments.rows import TABLES, PaperTable, choose_rows, tables_in
from mmdc_tf.io import is_disk_error, read_json, require_writable

if TYPE_CHECKING:
    from mmdc_tf.datasets.schema import Dataset

EXAMPLES = 4
"""Right ones, and wrong ones, where a user does not say how many."""


def add_report(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf report``."""
    parser.set_defaults(command=_report)
    arguments.add_dataset_of_run(parser)
    words = "test images with heatmaps, so many predicted rightly and so many wrongly; default: 4, 0: none"
    parser.add_argument("--examples", type=arguments.whole, default=EXAMPLES, metavar="N", help=words)
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for report.html and figures; default: RUN")
    arguments.add_debug(parser)


def add_robustness(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf robustness``."""
    parser.set_defaults(command=_robustness, continues=True)
    arguments.add_dataset_of_run(parser)
    parser.add_argument("--table", choices=TABLES, help="default: all tables in the run")
    words = "rows by name, separated by commas; default: all that have a saved model"
    parser.add_argument("--rows", type=arguments.names, help=words)
    arguments.add_protocol(parser.add_argument, "both")
    arguments.add_debug(parser)


def write_after_run(output: Path, table: str, dataset: Dataset) -> list[str]:
    """Writes the report of a run (its folder, table and dataset) that has just ended; gives lines to print.

    What goes wrong is one of them: the trainings are finished, and the report can be made again.
    """

    def paths(wanted: PaperTable) -> Mapping[str, str]:
        return _paths_of(dataset) if wanted.name == table else _found_paths(wanted, output, None, None)

    try:
        from mmdc_tf.report.html import REPORT, write_report

        problems = write_report(output, output, paths, EXAMPLES)
    except Exception as error:  # whatever it is, it must not turn a finished run into a failed one
        if is_disk_error(error):
            raise
        return [f"note: no report ({type(error).__name__}: {one_line(error)}); try mmdc-tf report {output}"]
    return [*(f"note: {problem}" for problem in problems), f"report: {output / REPORT}"]


def _report(options: argparse.Namespace) -> int:
    tables_in(options.run)  # what is no run is refused before anything is written, or slowly imported
    arguments.require_root(options.dataset_root)
    place = options.output or options.run
    require_writable(place)
    if options.examples:
        import_tensorflow()
    from mmdc_tf.report.html import FIGURES, REPORT, write_report

    def paths(table: PaperTable) -> Mapping[str, str]:
        return _found_paths(table, options.run, options.dataset_root, options.dataset)

    for problem in write_report(options.run, place, paths, options.examples):
        print(f"note: {problem}")
    print(f"{RESEARCH_USE}\nwritten: {place / REPORT}, {place / FIGURES}")
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


def dataset_of_run(run: dict[str, Any], output: Path, root: Path | None, name: str | None) -> Dataset:
    """The dataset of a run, unchanged: in ``root``, a phantom in ``output``, the run's folder.

    Args:
        run: the content of ``run.json``.
        name: what ``root`` holds; None for what the run was made from.

    Raises:
        ConfigurationError: it is not there, or has changed since.
        DatasetError: the folder cannot be used.
    """
    from mmdc_tf.datasets.catalogue import load_dataset
    from mmdc_tf.datasets.copies import treat_near_twins
    from mmdc_tf.datasets.outlines import with_labels

    if run["synthetic"]:
        dataset = _phantom(output / run["dataset"])
    elif root is None:
        raise ConfigurationError(
            f"Expected --dataset-root for a run made from {run['dataset']}. Received: no folder. Name the dataset's."
        )
    else:
        dataset = load_dataset(name or run["dataset"], root)
    dataset = with_labels(dataset, run.get("labels", "patient"))
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
    from mmdc_tf.datasets.schema import PARAMETERS_FILE

    known = {"phantom-mammogram": phantom.phantom_mammograms, "phantom-ultrasound": phantom.phantom_ultrasound}
    parameters = read_json(folder / PARAMETERS_FILE)
    if parameters is None or folder.name not in known:
        raise ConfigurationError(
            f"Expected the run's phantom in {folder}. Received: no {PARAMETERS_FILE} there. "
            "Run the command that made the run again: it draws the phantom."
        )
    drawn = {name: value for name, value in parameters.items() if name not in ("phantom", "drawing_version")}
    return known[folder.name](folder, **drawn)


def _robustness(options: argparse.Namespace) -> int:
    tables = [table for table in tables_in(options.run) if options.table in (None, table.name)]
    arguments.require_root(options.dataset_root)
    if not tables:
        raise ConfigurationError(
            f"Expected a run with {options.table}. Received: RUN={options.run} without it. Choose another --table."
        )
    chosen = [table.rows if options.rows is None else choose_rows(table, options.rows) for table in tables]
    import_tensorflow()
    failures = [_score(table, rows, options) for table, rows in zip(tables, chosen, strict=True)]
    return EXIT_FAILED if any(failures) else EXIT_OK


def _score(table: PaperTable, rows: tuple[Any, ...], options: argparse.Namespace) -> int:
    """Scores a table's trainings and writes its noise table; returns how many could not be scored."""
    from mmdc_tf.experiments.robustness import saved_trainings, score_trainings
    from mmdc_tf.experiments.run_folder import run_of
    from mmdc_tf.report.formatting import made_from
    from mmdc_tf.report.variants import write_noise_table

    folder = options.run / table.name
    run, places = run_of(folder), saved_trainings(folder, rows, arguments.PROTOCOL_SETS[options.protocol])
    if not places:
        raise ConfigurationError(
            f"Expected finished trainings with a saved model. Received: none of the chosen rows in {folder}. "
            "Train them first (mmdc-tf run), or choose others."
        )
    print("\n".join([table.title, *made_from(run), counted(len(places), "training")]))
    dataset = dataset_of_run(run, options.run, options.dataset_root, options.dataset)
    failures = score_trainings(places, dataset.table, print)
    if not write_noise_table(table, options.run).empty:
        print(f"written: {folder}_noise (.csv, .md, .png)")
    return failures
