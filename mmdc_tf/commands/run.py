"""``mmdc-tf run``: train, score and tabulate the rows of a table or figure of the paper."""

from __future__ import annotations

import argparse
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_FAILED, EXIT_OK, arguments, import_tensorflow
from mmdc_tf.commands.report import write_after_run
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, counted
from mmdc_tf.experiments.rows import TABLES, PaperTable, Row, choose_rows, load_table

if TYPE_CHECKING:
    import pandas as pd

    from mmdc_tf.datasets.jobs import Executor
    from mmdc_tf.datasets.schema import Dataset
    from mmdc_tf.experiments.plan import Plan, Training
    from mmdc_tf.training.feature_store import CacheSettings

PHANTOM_PATIENTS = 84
PHANTOM_IMAGES = 192
TRAINING_MEMORY = 4 * 10**9
"""Bytes that Ray keeps for a training."""
NO_CACHE = "none"
WIDTH = 110
"""Of what is printed at the end, in characters."""


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf run``."""
    parser.set_defaults(command=_run, continues=True)
    arguments.add_run_options(parser)


def _run(options: argparse.Namespace) -> int:
    number = options.table or options.figure
    chosen = None if number is None else f"{'table' if options.table else 'figure'}{number}"
    if options.list:
        for name in TABLES if chosen is None else (chosen,):
            _print_rows(load_table(name))
        return EXIT_OK
    from mmdc_tf.datasets.catalogue import recognise
    from mmdc_tf.experiments.run_folder import only_run
    from mmdc_tf.io import require_writable

    if chosen is None and options.dataset_root is None:
        raise ConfigurationError(
            "Expected --table 1, --table 2 or --figure 3, or data of your own with --dataset-root. Received: neither. "
            "See --list for the rows."
        )
    found = None if options.dataset or options.dataset_root is None else recognise(options.dataset_root)
    if chosen is None and (options.dataset or found) is None:
        arguments.require_root(options.dataset_root)
        raise ConfigurationError(
            f"Expected a folder in the layout of a known data set. Received: --dataset-root {options.dataset_root}. "
            "Name what it holds with --dataset (mmdc-tf datasets list); folder is a table of your own, samples.csv."
        )
    table = load_table(chosen or _table_of(options.dataset or found))
    rows = _rows(table, options)
    _require_fitting(table, rows, options)
    real = options.dataset_root is not None
    name = (options.dataset or found or table.dataset) if real else table.phantom
    if found not in (None, table.dataset):
        print(f"note: by its layout {options.dataset_root} is {found} (--dataset names another)")
    options.profile = options.profile or ("full" if real else "quick")
    output = options.output or Path("runs") / _run_name(name, options)
    if options.executor == arguments.RAY:  # other machines have other working folders
        output = output.expanduser().resolve()
        options.dataset_root = options.dataset_root and options.dataset_root.expanduser().resolve()
    require_writable(output)
    with only_run(output / table.name):
        import_tensorflow()
        return _train(
            _plan(table, rows, name, options, output),
            options.fresh,
            arguments.executor(options, "jobs", TRAINING_MEMORY),
        )


def _table_of(dataset: str | None) -> str:
    """The table whose rows fit the modality of a data set; Table II for what is not known to be ultrasound."""
    from mmdc_tf.datasets.catalogue import DECLARED

    return "table1" if dataset in DECLARED and DECLARED[dataset].modality == "ultrasound" else "table2"


def _run_name(name: str, options: argparse.Namespace) -> str:
    """Of the run's folder: the data (your own by their folder), the profile, and the size and epochs if others."""
    own = options.dataset_root.resolve().name if name == "folder" else name
    parts = [own, options.profile]
    parts += [f"{options.image_size}px"] if options.image_size else []
    parts += [counted(options.epochs, "epoch").replace(" ", "")] if options.epochs else []
    return "-".join(parts)


def _print_rows(table: PaperTable) -> None:
    listed: dict[bool, list[str]] = {False: [], True: []}
    for row in table.rows:
        numbers = " ".join(f"{value:6.2f}" for value in row.paper) if row.paper else " " * 27
        listed[row.extra].append(f"  {row.name:24} {numbers}  {row.label}, {row.citation}")
    print(f"{table.title} ({table.dataset})", *listed[False], sep="\n")
    print("  (accuracy, precision, recall, F1 as published, in per cent)")
    if listed[True]:
        print("extra: in no table of the paper, trained where named by --rows", *listed[True], sep="\n")


def _rows(table: PaperTable, options: argparse.Namespace) -> tuple[Row, ...]:
    """Those asked for; else all of the paper on real data, and on the phantom the few of a first run."""
    first = list(table.first_rows) or None
    default = first if options.dataset_root is None else None
    return choose_rows(table, default if options.rows is None else options.rows)


def _require_fitting(table: PaperTable, rows: tuple[Row, ...], options: argparse.Namespace) -> None:
    """What can be refused before TensorFlow is imported or a phantom drawn."""
    from mmdc_tf.experiments.rows import require_weights
    from mmdc_tf.preprocessing.recipes import recipe_for

    arguments.require_root(options.dataset_root)
    for name, value in (("dataset", options.dataset), ("without_images", options.without_images or None)):
        if value is not None and options.dataset_root is None:
            option = "--" + name.replace("_", "-")
            raise ConfigurationError(
                f"Expected --dataset-root together with {option}. Received: {name}={value!r} without a folder. "
                f"Add --dataset-root DIR, or leave {option} out to use the built-in phantom."
            )
    if options.weights is not None:
        require_weights(options.weights, [row.arguments["backbone"] for row in rows if "backbone" in row.arguments])
    if options.recipe is not None and options.dataset in (None, table.dataset, "folder"):
        recipe_for(table.modality, options.recipe, options.fit)
    arguments.require_executor(options)
    if (options.jobs or 1) > 1 and options.devices == "all":
        raise ConfigurationError(
            f"Expected --devices all with one training at a time. Received: jobs={options.jobs}, devices='all': each "
            "of them would take every device. Leave one of them out."
        )


def _plan(table: PaperTable, rows: tuple[Row, ...], name: str, options: argparse.Namespace, output: Path) -> Plan:
    from mmdc_tf.datasets.splits import official_folds
    from mmdc_tf.experiments.plan import FULL_EVIDENCE, Plan
    from mmdc_tf.preprocessing.recipes import recipe_for
    from mmdc_tf.report.tensorboard_training import tensorboard_callbacks
    from mmdc_tf.training.recipe import load_profile

    real = options.dataset_root is not None
    dataset = _dataset(table, rows, name, options, output)
    modality = table.modality if name == "folder" else dataset.info.modality
    is_official = options.folds == arguments.OFFICIAL
    given = {one: getattr(options, one) for one in ("folds", "image_size", "epochs", "batch_size", "feature_views")}
    profile = load_profile(options.profile, **given | ({"folds": official_folds(dataset)} if is_official else {}))
    dataset = dataset if is_official else replace(dataset, official=None)
    plan = Plan(
        table=table,
        rows=rows,
        dataset=dataset,
        preprocessing=recipe_for(modality, options.recipe, options.fit).name,
        profile=profile,
        weights=options.weights or ("imagenet" if real else "none"),
        cut=options.cut,
        protocols=arguments.PROTOCOL_SETS[options.protocol or ("both" if real else "all")],
        seed=options.seed,
        seeds=options.seeds,
        output=output,
        near_twins=options.near_twins,
        labels=options.labels,
        sensitivity=options.sensitivity,
        cache=_cache(options),
        precision=options.precision,
        devices=options.devices,
        command=options.typed,
        tensorboard=FULL_EVIDENCE,
        callbacks=tensorboard_callbacks,
    )
    return replace(plan, table=table.made_from(plan.shared_config()))


def _cache(options: argparse.Namespace) -> CacheSettings | None:
    """Where features are kept, None for the usual loop."""
    from mmdc_tf.training.feature_store import CacheSettings, default_folder

    if options.cache_dir == NO_CACHE:
        return None
    given = options.cache_dir and Path(options.cache_dir).expanduser().resolve()
    return CacheSettings(given or default_folder(), options.cache_limit)


def _dataset(table: PaperTable, rows: tuple[Row, ...], name: str, options: argparse.Namespace, output: Path) -> Dataset:
    """The real dataset, or the phantom written into the run's folder."""
    from mmdc_tf.datasets.catalogue import load_dataset, load_table_alone, require_readable
    from mmdc_tf.datasets.copies import treat_near_twins
    from mmdc_tf.datasets.outlines import with_labels
    from mmdc_tf.datasets.phantom import phantom_mammograms, phantom_ultrasound
    from mmdc_tf.datasets.values import with_positive_class
    from mmdc_tf.experiments.plan import row_inputs

    if options.without_images:
        if seeing := [row.name for row in rows if "image" in row_inputs(row, table)]:
            raise ConfigurationError(
                f"Expected rows that take no image with --without-images. Received: row={seeing[0]!r}. "
                "Name others with --rows (metadata_only), or leave --without-images out."
            )
        dataset = load_table_alone(name, options.dataset_root)
    elif options.dataset_root is not None:
        dataset = load_dataset(name, options.dataset_root)
        require_readable(dataset)
    elif name == "phantom-mammogram":
        dataset = phantom_mammograms(output / name, patients=PHANTOM_PATIENTS, seed=options.seed)
    else:
        dataset = phantom_ultrasound(output / name, images=PHANTOM_IMAGES, seed=options.seed)
    dataset = treat_near_twins(with_labels(dataset, options.labels), options.near_twins)
    dataset = with_positive_class(dataset, options.positive_class)
    for note in dataset.notes:
        print(f"note: {note}")
    return dataset


def _train(plan: Plan, fresh: bool, executor: Executor) -> int:
    """Runs the plan; the tables are brought up to date after each fold, and their end is printed last."""
    from tqdm import tqdm

    from mmdc_tf.experiments.plan import make_trainings
    from mmdc_tf.experiments.progress import Progress
    from mmdc_tf.experiments.run import run_trainings
    from mmdc_tf.report.conclusion import next_commands
    from mmdc_tf.report.details import write_calibration, write_details
    from mmdc_tf.report.figures import bars, write_png
    from mmdc_tf.report.model_card import write_model_cards
    from mmdc_tf.report.tables import write_tables
    from mmdc_tf.report.tensorboard import write_test_evidence
    from mmdc_tf.report.variants import write_metadata_table

    def bring_up_to_date(is_over: bool = False) -> pd.DataFrame:
        results = write_tables(plan.table, plan.output)
        write_model_cards(plan.folder, tqdm.write)
        write_test_evidence(plan.table, plan.output, plan.dataset.table, unfinished=is_over, say=tqdm.write)
        return results

    cells = make_trainings(plan)
    print(_introduction(plan, cells))
    with Progress() as progress:
        failures = run_trainings(plan, cells, bring_up_to_date, progress, fresh=fresh, executor=executor)
        progress.phase("tables")
        progress.say(f"writing tables, figures and the report into {plan.output}")
        results = bring_up_to_date(is_over=True)
        if plan.table.figure:
            write_png(bars(plan.table, results, plan.shared_config()), plan.output / f"{plan.table.name}.png")
        write_details(plan.table, plan.output, results)
        write_metadata_table(plan.table, plan.output)
        write_calibration(plan.table, plan.output)
        progress.phase("report")
        report = write_after_run(plan.output, plan.table.name, plan.dataset)
    lines = next_commands(results, plan.folder, plan.table.dataset, plan.dataset)
    print("\n".join([_conclusion(plan, results), *report, "next:"]), *lines, sep="\n  ")
    return EXIT_FAILED if failures else EXIT_OK


def _introduction(plan: Plan, cells: list[Training]) -> str:
    from mmdc_tf.report.formatting import made_from

    counts = ", ".join(f"{count} {name}" for name, count in plan.dataset.found_counts.items())
    groups = counted(plan.dataset.table["group_id"].nunique(), plan.dataset.info.group_unit)
    asked, rows = plan.profile.recipe.image_size, {cell.row.name: cell.image_size for cell in cells}
    other = [f"{name} {size}" for name, size in rows.items() if size != asked]
    lines = [
        plan.table.title,
        *made_from(plan.shared_config()),
        f"{counted(len(plan.dataset.table), 'image')} ({counts}), {groups}",
        f"{counted(len(plan.rows), 'row')}, {counted(len(cells), 'training')}",
    ]
    lines += [f"in pixels, not {asked}, as the networks need it: {', '.join(other)}"] if other else []
    return "\n".join(lines)


def _conclusion(plan: Plan, results: pd.DataFrame) -> str:
    """The finished table, what follows from it, and the files that hold it."""
    from mmdc_tf.datasets.schema import NOTICE
    from mmdc_tf.report.conclusion import conclusion, terminal_table

    parts = [
        plan.table.title + (f" ({NOTICE})" if plan.dataset.info.synthetic else ""),
        terminal_table(results),
        "\n".join(textwrap.fill(text, WIDTH) for text in conclusion(plan.table, results, plan.folder)),
        RESEARCH_USE,
        f"files: {plan.output}/{plan.table.name}.md, .csv, .tex and more",
    ]
    return "\n" + "\n\n".join(parts)
