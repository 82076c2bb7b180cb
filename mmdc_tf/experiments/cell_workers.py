"""Trainings in other processes: on this machine or on a cluster. What a worker does, and what it gives back."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.artifacts import require_same
from mmdc_tf.experiments.attempt import attempt
from mmdc_tf.experiments.exchange import Exchange
from mmdc_tf.experiments.grid import Cell, Plan
from mmdc_tf.experiments.learners import NetworkLearner
from mmdc_tf.experiments.tensorboard_callbacks import FOLDER, bring_together
from mmdc_tf.experiments.workshop import Workshop
from mmdc_tf.workers import Prepare, Workers
from mmdc_tf.workers.on_ray import OnRay, TaskResources
from mmdc_tf.workers.processes import Processes, available_cores


@dataclass(frozen=True)
class CellWorkers:
    """Where trainings are run.

    Args:
        workers: processes, prepared by ``prepare_training``.
        exchange: through which the trainings' files come back; None where every worker reaches the run's folder.
    """

    workers: Workers
    exchange: Exchange | None = None


@dataclass(frozen=True)
class Task:
    """What all trainings of a run have in common."""

    plan: Plan
    weights: dict[str, Path | None]
    exchange: Exchange | None


@dataclass
class Outcome:
    """How a training ended elsewhere; told as ``Progress`` is.

    Args:
        succeeded: whether it did.
        message: how it ended, in words.
        notes: what was said on the way.
    """

    succeeded: bool = False
    message: str = ""
    notes: list[str] = field(default_factory=list)

    def callback(self, cell: Cell) -> keras.callbacks.Callback:
        """One that does nothing: epochs are not told from elsewhere."""
        return keras.callbacks.Callback()

    def phase(self, name: str, cell: Cell | None = None) -> None:
        """Nothing, for the same reason."""

    def say(self, message: str) -> None:
        """Keeps a line."""
        self.notes.append(message)

    def finish(self, cell: Cell, message: str) -> None:
        """Keeps how the training ended."""
        self.message = message


def on_this_machine(jobs: int) -> CellWorkers:
    """Processes that share out the cores.

    Args:
        jobs: how many, at least 1.
    """
    threads = max(1, available_cores() // jobs)
    return CellWorkers(Processes(jobs, "jobs", functools.partial(prepare_training, threads)))


def on_ray(address: str | None, resources: TaskResources, exchange: Exchange | None) -> CellWorkers:
    """A Ray cluster; arguments as ``mmdc_tf.workers.on_ray.OnRay`` and ``CellWorkers``."""
    prepare: Prepare = functools.partial(prepare_training, resources.cpus)
    return CellWorkers(OnRay(address, resources, prepare), exchange)


def prepare_training(threads: int) -> None:
    """In each process before its first training: it takes these cores, and of a GPU only what it needs.

    Args:
        threads: of TensorFlow, OpenCV and the libraries of linear algebra.
    """
    import tensorflow as tf
    from threadpoolctl import threadpool_limits

    from mmdc_tf.datasets.opencv import cv2

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for device in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(device, True)  # others may have a share of it
    cv2.setNumThreads(threads)
    threadpool_limits(threads)


def without_devices() -> None:
    """Leaves the GPUs to the workers: where this process computes (heatmaps of the report), it uses the cores."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # TensorFlow has begun to use them, in a notebook
        tf.config.set_visible_devices([], "GPU")


def outcomes(where: CellWorkers, task: Task, cells: list[Cell]) -> Iterator[tuple[Cell, Outcome]]:
    """Runs trainings elsewhere and gives each as it ends, its files in place.

    Args:
        where: the workers.
        task: of the run whose folder is prepared.
        cells: trainings that need nothing from one another.

    Raises:
        InputError: what ends the whole command; the other trainings are given up.
    """
    exchange = where.exchange
    if exchange is not None:  # where all workers share a folder, they share out its parts among themselves
        for _ in where.workers.results(fill_features, task, _one_for_each_frozen_part(task, cells)):
            pass
    # a cell names all its images: all cells go to a process together, once, and share those names
    for number, outcome in where.workers.results(_train_cell_of, (task, cells), range(len(cells))):
        cell = cells[number]
        if exchange is not None:
            exchange.fetch(_place(task.plan, cell), cell.folder)
            bring_together(cell.folder)
        yield cell, outcome


def _train_cell_of(shared: tuple[Task, list[Cell]], number: int) -> Outcome:
    task, cells = shared
    return train_cell(task, cells[number])


def train_cell(task: Task, cell: Cell) -> Outcome:
    """In a worker: one training, whose files are in its folder, or in the exchange, afterwards.

    Raises:
        ConfigurationError: this machine does not reach the dataset or the run's folder.
    """
    _require_dataset(task.plan)
    if task.exchange is None:
        _require_folder(cell)
        return _train(task, cell)
    place, config = _place(task.plan, cell), cell.config(task.plan)
    if task.exchange.has_finished(place, config):
        return Outcome(True, f"was finished in {task.exchange.url}")
    with tempfile.TemporaryDirectory(prefix="mmdc_tf-") as scratch:
        here = replace(cell, folder=Path(scratch, cell.folder.name))
        require_same(here.folder / "config.json", config)
        outcome = _train(task, here, Path(scratch))
        if (shown := here.folder.parent / FOLDER).is_dir():
            shown.rename(here.folder / FOLDER)  # with what is sent
        task.exchange.send(here.folder, place)
    return outcome


def fill_features(task: Task, cell: Cell) -> None:
    """In a worker: sees to it that the features of a cell's frozen part lie in the exchange."""
    _require_dataset(task.plan)
    bench = _bench(task)
    NetworkLearner(task.plan, cell, bench.workshop, Outcome()).open()
    bench.workshop.clear()


def _train(task: Task, cell: Cell, output: Path | None = None) -> Outcome:
    bench, outcome = _bench(task), Outcome()
    plan = task.plan if output is None else replace(task.plan, output=output)
    outcome.succeeded = attempt(plan, cell, bench.workshop, outcome)
    outcome.notes = [*bench.notes, *outcome.notes]
    bench.notes.clear()
    return outcome


@dataclass
class _Bench:
    """A worker's networks, kept between its trainings: those of one architecture share one compiled network."""

    key: tuple[str, ...]
    workshop: Workshop
    notes: list[str]


_kept: list[_Bench] = []


def _bench(task: Task) -> _Bench:
    plan = task.plan
    key = (str(plan.folder), json.dumps(plan.shared_config()), plan.tensorboard)
    if not _kept or _kept[0].key != key:
        notes: list[str] = []
        _kept[:] = [_Bench(key, Workshop(plan, task.weights, notes.append), notes)]
    return _kept[0]


def _place(plan: Plan, cell: Cell) -> str:
    return cell.folder.relative_to(plan.output).as_posix()


def _one_for_each_frozen_part(task: Task, cells: list[Cell]) -> list[Cell]:
    """Random weights differ from seed to seed."""
    if task.plan.cache is None:
        return []
    frozen = [cell for cell in cells if cell.cut is not None]
    return list(
        {(*_frozen_part(cell), cell.seed if _is_random(task, cell) else None): cell for cell in frozen}.values()
    )


def _frozen_part(cell: Cell) -> tuple[Any, ...]:
    return cell.row.arguments.get("backbone"), cell.cut, cell.image_size, cell.preprocessing, cell.row.augmented


def _is_random(task: Task, cell: Cell) -> bool:
    return task.weights.get(cell.row.arguments.get("backbone", "")) is None


def _require_dataset(plan: Plan) -> None:
    if not plan.dataset.root.is_dir():
        raise ConfigurationError(
            f"Expected the dataset under the same path on every node. Received: dataset_root={plan.dataset.root}, "
            f"which node {platform.node()} does not have. Mount or copy it there."
        )


def _require_folder(cell: Cell) -> None:
    if not (cell.folder / "config.json").is_file():
        raise ConfigurationError(
            f"Expected a run folder that every node reaches under the same path. Received: {cell.folder}, which node "
            f"{platform.node()} does not have. Put --output on a shared disk, or give --exchange a folder or object "
            "store (s3://…, gs://…) that all nodes reach."
        )
