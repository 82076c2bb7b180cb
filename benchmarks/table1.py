"""How long the whole of Table I takes: 15 rows, both protocols, five folds, and where the time goes.

    python benchmarks/table1.py [--root BUSI] [--rows NAMES | --all] [--minutes N] [--epochs N] [--folds N]
        [--image-size PIXELS] [--images N] [--cache-dir FOLDER]

BUSI is the folder ``Dataset_BUSI_with_GT`` or the one around it; without it phantom images are drawn, and the table
says "phantom". ImageNet's weights are not used: files of random numbers under the official names are written, so that
rows have their frozen parts. Accuracies mean nothing, and none is printed; a step takes as long as with real weights.

1. Every row is trained twice on 64 of the images, for two epochs, in a process of its own: the first training traces,
   the second gives the seconds of a step, a validation, a prediction, a view through the frozen part, and of what each
   training costs once. From these the whole of the row is extrapolated: tracing + filling the feature cache (8 views of
   each image, once for all rows of one frozen part) + trainings × (building + epochs × (steps + validation) + scoring +
   saving). Rows of the same network are measured once.
2. Some rows are really run, by default three of different cost (``--all``: all of them), on a feature cache of their
   own, and compared with what was extrapolated for the same trainings: the error of the extrapolation. A row that
   would take longer than ``--minutes`` is run with one training, and no more views and epochs than fit into that time.
   Early stopping ends none.

Where fewer than 780 images are found, times that grow with the images are scaled to 780, and the table says so.
Compared with: the goal of two hours on two cores. Memory is the largest of the row's process on the few images.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import machine_lines

from mmdc_tf.commands.arguments import names, positive
from mmdc_tf.experiments.native_log import native_messages_to

if TYPE_CHECKING:
    from table1_rows import Rates
    from table1_tables import Check, Frozen

    from mmdc_tf.datasets.schema import Dataset
    from mmdc_tf.experiments.grid import Cell, Plan

COMPLETE = 780
DEFAULT_ROWS = ["bcdnet_alpha", "uzen_vgg16", "moon_densenet40"]  # cheap rest, costly rest, no frozen part


def main() -> None:
    options = parse_options()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as scratch, native_messages_to(Path(scratch, "tensorflow.log")):
        report(options, Path(scratch))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--root", type=Path, help="BUSI's folder; default: phantom images")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--rows", type=names, default=DEFAULT_ROWS, help=f"really run; default: {','.join(DEFAULT_ROWS)}"
    )
    which.add_argument("--all", action="store_true", help="run all rows, whole; takes hours")
    add("--minutes", type=positive, default=6, help="at most, of each row that is really run; default: 6")
    add("--epochs", type=positive, default=20, help="of each training; default: 20")
    add("--folds", type=positive, default=5, help="of the leak-free protocol; default: 5")
    add("--image-size", type=positive, default=224, help="height and width in pixels; default: 224")
    add("--images", type=positive, default=COMPLETE, help="at most so many, spread over the dataset; default: 780")
    add("--cache-dir", type=Path, help="of the feature cache, for the rows really run; default: a temporary folder")
    return parser.parse_args()


def report(options: argparse.Namespace, scratch: Path) -> None:
    """Measures and prints."""
    from table1_tables import print_tables

    plan, cells, loading = prepare(options, scratch)
    scale = COMPLETE / len(plan.dataset.table)
    print(describe(plan, cells, scale, loading), flush=True)
    rates = all_rates(plan, cells)
    checks = run_rows(options, plan, cells, rates)
    print_tables(plan, cells, rates, checks, scale, loading)


def prepare(options: argparse.Namespace, scratch: Path) -> tuple[Plan, dict[str, list[Cell]], float]:
    """The plan of the whole table, its trainings by row, and seconds of loading the data and splitting them."""
    from random_weights import write_weights

    from mmdc_tf.datasets.splits import PROTOCOLS
    from mmdc_tf.experiments.grid import Plan, make_cells
    from mmdc_tf.experiments.rows import choose_rows, load_table
    from mmdc_tf.preprocessing.recipes import recipe_for
    from mmdc_tf.training.feature_store import CacheSettings
    from mmdc_tf.training.recipe import load_profile

    table = load_table("table1")
    rows = choose_rows(table, None)
    backbones = {row.arguments["backbone"] for row in rows if "backbone" in row.arguments}
    alone(write_weights, backbones, scratch / "weights")
    overrides = {name: getattr(options, name) for name in ("epochs", "folds", "image_size")}
    profile = load_profile("full", early_stopping_patience=options.epochs, **overrides)
    began = time.perf_counter()
    dataset = images(options, scratch)
    preprocessing = recipe_for(dataset.info.modality, None).name
    cache = CacheSettings(options.cache_dir or scratch / "features")
    facts: dict[str, Any] = {"weights": str(scratch / "weights"), "cut": "auto", "protocols": PROTOCOLS}
    facts |= {"seed": 0, "seeds": 1, "output": scratch / "run", "cache": cache}
    plan = Plan(table, rows, dataset, preprocessing, profile, **facts)
    cells = make_cells(plan)
    loading = time.perf_counter() - began
    return plan, {row.name: [cell for cell in cells if cell.row is row] for row in rows}, loading


def images(options: argparse.Namespace, scratch: Path) -> Dataset:
    """BUSI or the phantom, at most so many images as were asked for."""
    from mmdc_tf.datasets.catalogue import load_dataset
    from mmdc_tf.datasets.phantom import phantom_ultrasound

    if options.root is None:
        dataset = phantom_ultrasound(scratch / "phantom", images=options.images, size=256)
    else:
        dataset = load_dataset("busi", options.root)
    step = -(-len(dataset.table) // options.images)
    return replace(dataset, table=dataset.table.iloc[::step].reset_index(drop=True))


def describe(plan: Plan, cells: dict[str, list[Cell]], scale: float, loading: float) -> str:
    """What is measured and where."""
    recipe = plan.profile.recipe
    kind = "phantom images: not a reproduction" if plan.dataset.info.synthetic else "images of BUSI"
    trainings = len(next(iter(cells.values())))
    scaled = "" if scale == 1 else f"; times scaled to {COMPLETE} images (× {scale:.2f})"
    return (
        f"{plan.table.title}: {len(cells)} rows, both protocols, {plan.profile.folds} folds: {trainings} trainings a "
        f"row\n{len(plan.dataset.table)} {kind}, {recipe.image_size}×{recipe.image_size}, batches of "
        f"{recipe.batch_size}, {recipe.epochs} epochs, {recipe.feature_views} views in float16{scaled}\n"
        f"random numbers in files of weights: only time is measured, accuracy would mean nothing\n{machine_lines()}\n"
        f"loading the images' table (with the search for near-twins) and splitting it: {loading:.1f} s\n"
    )


def all_rates(plan: Plan, cells: dict[str, list[Cell]]) -> dict[str, Rates]:
    """The rates of each row; those of one network are measured once."""
    from table1_rows import measure_rates
    from table1_tables import frozen_part

    known: dict[tuple[str, str], Rates] = {}
    fills: dict[Frozen | None, float] = {}
    found = {}
    for name, row_cells in cells.items():
        key = (row_cells[0].architecture, row_cells[0].preprocessing)
        if key not in known:
            began = time.perf_counter()
            known[key] = alone(measure_rates, plan_for(plan, name, "rates"), row_cells[0])
            print(f"rates of {name} measured in {time.perf_counter() - began:.0f} s", flush=True)
        # what an earlier row has stored was not computed again
        fill = fills.setdefault(frozen_part(row_cells[0]), known[key].images["fill"])
        found[name] = replace(known[key], images={**known[key].images, "fill": fill})
    return found


def plan_for(plan: Plan, name: str, folder: str) -> Plan:
    """The same with an output folder, made, of this row and purpose."""
    output = plan.output / folder / name
    output.mkdir(parents=True)
    return replace(plan, output=output)


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """The work in a fresh process, so that memory and traces of one row are no part of another."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def run_rows(
    options: argparse.Namespace, plan: Plan, cells: dict[str, list[Cell]], rates: dict[str, Rates]
) -> list[Check]:
    """Runs the rows of the options, whole or in part, and sets beside them what was extrapolated for the same."""
    from table1_rows import extrapolated, limited, run_row
    from table1_tables import Check

    checks = []
    for name in cells if options.all else options.rows:
        most = float("inf") if options.all else 60.0 * options.minutes
        shorter, few = limited(rates[name], plan_for(plan, name, "rows"), cells[name], most)
        measured = alone(run_row, shorter, few)
        whole = shorter.profile == plan.profile and few == cells[name]
        checks.append(Check(name, run_in_words(shorter, few), whole, measured, extrapolated(rates[name], shorter, few)))
        print(f"{name} run in {measured.total / 60:.1f} minutes: {checks[-1].run}", flush=True)
    return checks


def run_in_words(plan: Plan, cells: list[Cell]) -> str:
    recipe = plan.profile.recipe
    views = f"; views: {recipe.feature_views}" if cells[0].cut else ""
    return f"trainings: {len(cells)}; epochs: {recipe.epochs}{views}"


if __name__ == "__main__":
    main()
