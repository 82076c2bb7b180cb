"""``mmdc-tf run``: train, score and tabulate the rows of a table or figure of the paper."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_FAILED_ROW, EXIT_OK
from mmdc_tf.commands.arguments import PROTOCOL_SETS, require_root
from mmdc_tf.commands.machines import RAY, absolute_paths, require_fitting, training_workers
from mmdc_tf.commands.report import write_after_run
from mmdc_tf.commands.run_events import next_commands, tell_table
from mmdc_tf.commands.run_options import add_options
from mmdc_tf.errors import ConfigurationError, counted
from mmdc_tf.experiments.native_log import native_messages_to
from mmdc_tf.experiments.rows import TABLES, PaperTable, Row, choose_rows, load_table
from mmdc_tf.weight_files import official_files, require_weights

if TYPE_CHECKING:
    from mmdc_tf.datasets.schema import Dataset
    from mmdc_tf.experiments.cell_workers import CellWorkers
    from mmdc_tf.experiments.grid import Cell, Plan
    from mmdc_tf.training.feature_store import CacheSettings

PHANTOM_PATIENTS = 96
PHANTOM_IMAGES = 192


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf run``."""
    parser.set_defaults(command=_run, continues=True)
    add_options(parser)


def _run(options: argparse.Namespace) -> int:
    from mmdc_tf.experiments.run_lock import clear_run, only_run

    chosen = _chosen_table(options)
    if options.list:
        for name in TABLES if chosen is None else (chosen,):
            _print_rows(load_table(name))
        return EXIT_OK
    if chosen is None:
        raise ConfigurationError(
            "Expected --table 1, --table 2 or --figure 3. Received: no table. See --list for their rows."
        )
    table = load_table(chosen)
    _require_usable(table, _rows(table, options), options)
    require_fitting(options)
    if options.executor == RAY:
        absolute_paths(options)
    output = _output(table, options)
    # TensorFlow talks from the moment it is imported
    with only_run(output / table.name), native_messages_to(output / "tensorflow.log"):
        clear_run(output, table.name)
        return _train(_plan(table, options, output), options.fresh, training_workers(options))


def _chosen_table(options: argparse.Namespace) -> str | None:
    if options.figure is not None:
        return f"figure{options.figure}"
    return None if options.table is None else f"table{options.table}"


def _require_usable(table: PaperTable, rows: tuple[Row, ...], options: argparse.Namespace) -> None:
    """What can be refused before TensorFlow is imported or a phantom drawn."""
    _require_root(options)
    if options.weights is not None:
        backbones = [row.arguments["backbone"] for row in rows if "backbone" in row.arguments]
        require_weights(options.weights, official_files(backbones))
    if options.recipe is not None and options.dataset in (None, table.dataset, "folder"):
        from mmdc_tf.preprocessing.recipes import recipe_for

        recipe_for(table.modality, options.recipe)


def _require_root(options: argparse.Namespace) -> None:
    """The dataset's folder, and options that only make sense with one."""
    require_root(options.dataset_root)
    given = {"dataset": options.dataset, "without_images": options.without_images or None}
    for name, value in given.items():
        if value is not None and options.dataset_root is None:
            option = "--" + name.replace("_", "-")
            raise ConfigurationError(
                f"Expected --dataset-root together with {option}. Received: {name}={value!r} without a folder. "
                f"Add --dataset-root DIR, or leave {option} out to use the built-in phantom."
            )


def _print_rows(table: PaperTable) -> None:
    print(f"{table.title} ({table.dataset})")
    for row in table.rows:
        if not row.extra:
            print(_listed(row))
    print("  (accuracy, precision, recall, F1 as published, in per cent)")
    extra = [row for row in table.rows if row.extra]
    if extra:
        print("extra: in no table of the paper, trained where named by --rows")
        print("\n".join(map(_listed, extra)))


def _listed(row: Row) -> str:
    numbers = " ".join(f"{value:6.2f}" for value in row.paper) if row.paper else " " * 27
    return f"  {row.name:24} {numbers}  {row.label}, {row.citation}"


def _rows(table: PaperTable, options: argparse.Namespace) -> tuple[Row, ...]:
    """Those asked for; else all of the paper on real data, and on the phantom the few of a first run."""
    first = list(table.first_rows) or None
    default = first if options.dataset_root is None else None
    return choose_rows(table, default if options.rows is None else options.rows)


def _source(table: PaperTable, options: argparse.Namespace) -> str:
    """The name of the dataset: the user's, or the table's phantom."""
    return table.phantom if options.dataset_root is None else options.dataset or table.dataset


def _profile_name(options: argparse.Namespace) -> str:
    return options.profile or ("quick" if options.dataset_root is None else "full")


def _output(table: PaperTable, options: argparse.Namespace) -> Path:
    """The run's folder, made."""
    from mmdc_tf.io import require_writable

    output = options.output or Path("runs") / f"{_source(table, options)}-{_profile_name(options)}"
    require_writable(output)
    return output


def _plan(table: PaperTable, options: argparse.Namespace, output: Path) -> Plan:
    from mmdc_tf.experiments.grid import Plan
    from mmdc_tf.preprocessing.recipes import recipe_for
    from mmdc_tf.training.recipe import load_profile

    real = options.dataset_root is not None
    profile = load_profile(
        _profile_name(options),
        folds=options.folds,
        image_size=options.image_size,
        epochs=options.epochs,
        batch_size=options.batch_size,
        feature_views=options.feature_views,
        feature_dtype=options.feature_dtype,
    )
    name = _source(table, options)
    rows = _rows(table, options)
    if options.without_images:
        _require_no_image(rows, table)
    dataset = _dataset(name, options, output)
    plan = Plan(
        table=table,
        rows=rows,
        dataset=dataset,
        preprocessing=recipe_for(table.modality if name == "folder" else dataset.info.modality, options.recipe).name,
        profile=profile,
        weights=options.weights or ("imagenet" if real else "none"),
        cut=options.cut,
        protocols=PROTOCOL_SETS[options.protocol or ("both" if real else "all")],
        seed=options.seed,
        seeds=options.seeds,
        output=output,
        near_twins=options.near_twins,
        sensitivity=options.sensitivity,
        cache=_cache(options),
        precision=options.precision,
        jit=options.jit,
        devices=options.devices,
        command=options.typed,
        tensorboard=options.tensorboard,
    )
    return replace(plan, table=table.made_from(plan.shared_config()))


def _cache(options: argparse.Namespace) -> CacheSettings | None:
    """Where features are kept, None for the usual loop."""
    from mmdc_tf.training.feature_store import CacheSettings, default_folder

    if options.no_cache:
        return None
    return CacheSettings(options.cache_dir or default_folder(), options.cache_limit)


def _require_no_image(rows: tuple[Row, ...], table: PaperTable) -> None:
    from mmdc_tf.experiments.grid import row_inputs

    for row in rows:
        if "image" in row_inputs(row, table):
            raise ConfigurationError(
                f"Expected rows that take no image with --without-images. Received: row={row.name!r}. "
                "Name others with --rows (metadata_only), or leave --without-images out."
            )


def _dataset(name: str, options: argparse.Namespace, output: Path) -> Dataset:
    """The real dataset, or the phantom written into the run's folder."""
    from mmdc_tf.datasets.copies import treat_near_twins
    from mmdc_tf.datasets.phantom import phantom_mammograms, phantom_ultrasound
    from mmdc_tf.datasets.values import with_positive_class

    if options.dataset_root is not None:
        dataset = _real_dataset(name, options.dataset_root, options.without_images)
    elif name == "phantom-mammogram":
        dataset = phantom_mammograms(output / name, patients=PHANTOM_PATIENTS, seed=options.seed)
    else:
        dataset = phantom_ultrasound(output / name, images=PHANTOM_IMAGES, seed=options.seed)
    dataset = with_positive_class(treat_near_twins(dataset, options.near_twins), options.positive_class)
    for note in dataset.notes:
        print(f"note: {note}")
    return dataset


def _real_dataset(name: str, root: Path, without_images: bool) -> Dataset:
    from mmdc_tf.datasets.catalogue import load_dataset, load_table_alone, require_readable

    if without_images:
        return load_table_alone(name, root)
    dataset = load_dataset(name, root)
    require_readable(dataset)
    return dataset


def _train(plan: Plan, fresh: bool, where: CellWorkers | None) -> int:
    """Runs the plan; the tables are brought up to date after each fold, and their end is printed last."""
    from mmdc_tf.experiments.grid import make_cells
    from mmdc_tf.experiments.progress import Progress
    from mmdc_tf.experiments.runner import run_cells
    from mmdc_tf.report.calibration_figures import write_calibration
    from mmdc_tf.report.details import write_details
    from mmdc_tf.report.figures import draw_bars
    from mmdc_tf.report.metadata_table import write_metadata_table
    from mmdc_tf.report.tables import write_tables

    def bring_up_to_date() -> None:
        write_tables(plan.table, plan.output)
        _show_in_tensorboard(plan, is_over=False)

    cells = make_cells(plan)
    print(_introduction(plan, cells))
    with Progress() as progress:
        failures = run_cells(plan, cells, bring_up_to_date, progress, fresh=fresh, where=where)
        progress.phase("tables")
        progress.say(f"writing tables, figures and the report into {plan.output}")
        results = write_tables(plan.table, plan.output)
        _show_in_tensorboard(plan, is_over=True)
        if plan.table.figure:
            draw_bars(plan.table, results, plan.shared_config(), plan.output / f"{plan.table.name}.png")
        write_details(plan.table, plan.output, results)
        write_metadata_table(plan.table, plan.output)
        write_calibration(plan.table, plan.output)
        progress.phase("report")
        report, notes = write_after_run(plan.output, plan.table.name, plan.dataset)
    tell_table(plan, results)
    for note in notes:
        print(note)
    if report is not None:
        print(f"report: {report}")
    print("next:", *next_commands(plan, results), sep="\n  ")
    return EXIT_FAILED_ROW if failures else EXIT_OK


def _show_in_tensorboard(plan: Plan, is_over: bool) -> None:
    """Writes what TensorBoard shows of the test parts, where that was asked for."""
    from tqdm import tqdm

    from mmdc_tf.experiments.grid import FULL_EVIDENCE
    from mmdc_tf.report.tensorboard import write_test_evidence

    if plan.tensorboard == FULL_EVIDENCE:
        write_test_evidence(plan.table, plan.output, plan.dataset.table, unfinished=is_over, say=tqdm.write)


def _introduction(plan: Plan, cells: list[Cell]) -> str:
    from mmdc_tf.report.formatting import made_from

    counts = ", ".join(f"{count} {name}" for name, count in plan.dataset.found_counts.items())
    groups = plan.dataset.table["group_id"].nunique()
    lines = [
        *made_from(plan.shared_config()),
        f"{counted(len(plan.dataset.table), 'image')} ({counts}), {counted(groups, plan.dataset.info.group_unit)}",
    ]
    asked, rows = plan.profile.recipe.image_size, {cell.row.name: cell.image_size for cell in cells}
    other = [f"{name} {size}" for name, size in rows.items() if size != asked]
    sizes = [f"in pixels, not {asked}, as the networks need it: {', '.join(other)}"] if other else []
    counts_line = f"{counted(len(plan.rows), 'row')}, {counted(len(cells), 'training')}"
    return "\n".join([plan.table.title, *lines, counts_line, *sizes])
