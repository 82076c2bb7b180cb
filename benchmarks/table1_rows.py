"""Runs rows of a table with a stopwatch, and extrapolates what the whole of a row would take."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from machine import peak_memory
from stopwatch import PARTS, Times, timing

from mmdc_tf.datasets.splits import Split
from mmdc_tf.experiments.grid import Cell, Plan
from mmdc_tf.experiments.runner import run_cells
from mmdc_tf.report.tables import write_tables
from mmdc_tf.training.feature_store import FILL_BATCH

PART = 64
FEW_TRAINING, FEW_VALIDATION, FEW_TEST, FEW_EPOCHS, FEW_VIEWS = 40, 24, 20, 2, 2
Seconds = dict[str, float]
"""Of each of ``PARTS``."""


@dataclass(frozen=True)
class Measured:
    """What a run of one row took: seconds by part, their sum, and the largest memory of its process in MB."""

    seconds: Seconds
    memory: float

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Rates:
    """What a row costs, measured on a few images.

    Args:
        once: seconds of tracing and of building for the first time, for the whole row.
        training: seconds by part that each training costs, whatever its images and epochs.
        load: seconds an image of the training part, in the first epoch of each training.
        starts: seconds of each pass over images, by kind: ``train``, ``validate``, ``score``.
        images: seconds an image in such a pass; for ``fill`` an image and view, 0 where no features are stored.
        memory: the largest of the process in MB.
    """

    once: float
    training: Seconds
    load: float
    starts: Seconds
    images: Seconds
    memory: float


def run_row(plan: Plan, cells: list[Cell]) -> Measured:
    """Runs all cells of one row; for a process of its own."""
    with _quiet(plan.output), timing() as times:
        total = _run(plan, cells)
    seconds = dict(times.seconds)
    return Measured(_with_rest(seconds, total), peak_memory())


def measure_rates(plan: Plan, cell: Cell) -> Rates:
    """Trains a row twice on a few images; for a process of its own.

    The first training traces, the second shows what every further one costs.
    """
    few, cells = few_images(plan, cell)
    with _quiet(few.output), timing() as times:
        total = _run(few, cells[:1])
        first = _with_rest(dict(times.seconds), total)
        total = _run(few, cells[1:])
    second = _with_rest({part: value - first[part] for part, value in times.seconds.items()}, total)
    return _rates(times, first, second, few.profile.recipe.batch_size)


def few_images(plan: Plan, cell: Cell) -> tuple[Plan, list[Cell]]:
    """The plan for a few images of its dataset, all classes among them, and two cells that train on them."""
    table = plan.dataset.table
    turns = table.groupby("label").cumcount().sort_values(kind="stable").index  # one of each class, and again
    few = table.loc[turns[:PART]]
    ids = tuple(few["sample_id"])
    train, validation = ids[:FEW_TRAINING], ids[FEW_TRAINING : FEW_TRAINING + FEW_VALIDATION]
    recipe = replace(plan.profile.recipe, epochs=FEW_EPOCHS, feature_views=FEW_VIEWS)
    output = Path(tempfile.mkdtemp(dir=plan.output))
    dataset = replace(plan.dataset, table=few.sort_values("sample_id").reset_index(drop=True))
    small = replace(plan, dataset=dataset, output=output, profile=replace(plan.profile, recipe=recipe))
    split = Split("leak-free", 0, 2, plan.seed, dataset.info.name, train, validation, validation[:FEW_TEST])
    places = [small.folder / cell.row.name / "leak-free" / f"fold{fold}-seed{plan.seed}" for fold in range(2)]
    return small, [
        replace(cell, split=replace(split, fold=fold), seed=plan.seed, folder=place)
        for fold, place in enumerate(places)
    ]


def extrapolated(rates: Rates, plan: Plan, cells: Sequence[Cell], scale: float = 1.0) -> Seconds:
    """What these cells of one row would take, the filling of the feature cache included.

    Args:
        rates: of the row.
        plan, cells: the trainings.
        scale: images of the complete dataset for each of this one.
    """
    recipe = plan.profile.recipe
    seconds = {part: len(cells) * rates.training[part] for part in PARTS}
    seconds["trace"] += rates.once
    seconds["open"] *= recipe.feature_views / FEW_VIEWS
    seconds["fill"] += rates.images["fill"] * recipe.feature_views * scale * len(plan.dataset.table)
    for cell in cells:
        split = cell.split
        seconds["train"] += rates.load * scale * len(split.train)
        scored = [split.test] if split.test == split.validation else [split.test, split.validation]
        passes = [("train", split.train), ("validate", split.validation)] * recipe.epochs
        for kind, images in [*passes, *(("score", part) for part in scored)]:
            seconds[kind] += rates.starts[kind] + rates.images[kind] * scale * len(images)
    return seconds


def limited(rates: Rates, plan: Plan, cells: list[Cell], most: float) -> tuple[Plan, list[Cell]]:
    """All trainings of a row where they take at most so many seconds, else one, with the views and epochs that fit."""
    if sum(extrapolated(rates, plan, cells).values()) <= most:
        return plan, cells
    views, epochs = plan.profile.recipe.feature_views, plan.profile.recipe.epochs
    for fewer in [(epochs // 4, views), (epochs // 4, views // 4), (epochs // 10, views // 4), (1, 1)]:
        recipe = replace(plan.profile.recipe, epochs=max(fewer[0], 1), feature_views=max(fewer[1], 1))
        shorter = replace(plan, profile=replace(plan.profile, recipe=recipe))
        if sum(extrapolated(rates, shorter, cells[:1]).values()) <= most:
            break
    return shorter, cells[:1]


def _run(plan: Plan, cells: list[Cell]) -> float:
    """Seconds of running these cells, as the command does."""
    began = time.perf_counter()
    failures = run_cells(plan, cells, after_cell=lambda: write_tables(plan.table, plan.output))
    if failures:
        traces = "\n".join(path.read_text() for path in plan.output.rglob("error.txt"))
        raise RuntimeError(f"Expected trainings that succeed. Received: {failures} that failed.\n{traces}")
    return time.perf_counter() - began


def _with_rest(seconds: Seconds, total: float) -> Seconds:
    """All parts; the rest is what nothing else accounts for."""
    known = {part: seconds.get(part, 0.0) for part in PARTS if part != "rest"}
    return {**known, "rest": max(total - sum(known.values()), 0.0)}


def _rates(times: Times, first: Seconds, second: Seconds, batch: int) -> Rates:
    """From what both trainings took by part, and from the batches of both."""
    kinds = ("train", "validate", "score")
    epochs = [seconds for seconds, _ in times.passes["train"][-FEW_EPOCHS:]]
    fixed = {part: 0.0 if part in (*kinds, "trace", "fill") else second[part] for part in PARTS}
    images = {kind: times.batch(kind) / batch for kind in kinds} | {"fill": times.batch("fill") / FILL_BATCH}
    load = max(epochs[0] - epochs[-1], 0.0) / FEW_TRAINING
    starts = {kind: times.start(kind) for kind in kinds}
    once = first["trace"] + max(first["build"] - second["build"], 0.0)
    return Rates(once, fixed, load, starts, images, peak_memory())


@contextlib.contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """What the runner says goes to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield
