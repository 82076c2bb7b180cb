"""Runs the trainings of a plan, one folder each; a failed one does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from mmdc_tf import io
from mmdc_tf.errors import counted
from mmdc_tf.experiments import artifacts
from mmdc_tf.experiments.attempt import attempt
from mmdc_tf.experiments.cell_workers import CellWorkers, Task, outcomes
from mmdc_tf.experiments.command_log import remember_command
from mmdc_tf.experiments.grid import AUTOMATIC_CUT, NO_CUT, Cell, Plan
from mmdc_tf.experiments.progress import Progress
from mmdc_tf.experiments.run_folder import OK, PREDICTIONS
from mmdc_tf.experiments.samples import FILE_NAME as SAMPLES
from mmdc_tf.experiments.samples import write_samples
from mmdc_tf.experiments.workshop import Workshop
from mmdc_tf.models import resolve_weights


def run_cells(
    plan: Plan,
    cells: list[Cell],
    after_cell: Callable[[], object],
    progress: Progress | None = None,
    fresh: bool = False,
    where: CellWorkers | None = None,
) -> int:
    """Trains and scores every cell that is not finished yet.

    Args:
        plan: what the cells were made from.
        cells: in the order in which they run.
        after_cell: called after each cell, to bring the tables up to date.
        progress: the bar of the whole run; None for one of the trainings alone.
        fresh: start over; an earlier result is renamed.
        where: other processes that train; None for this one.

    Returns:
        The number of cells that failed.

    Raises:
        InputError: a weight file, model, cut or run folder that does not fit; found before anything is trained, and
            the first three before anything is written, so that the corrected command starts from a clean folder.
    """
    if progress is None:
        with Progress() as progress:
            return run_cells(plan, cells, after_cell, progress, fresh, where)
    workshop = _checked_workshop(plan, cells)
    _prepare_folder(plan, cells, fresh)
    open_cells = [cell for cell in cells if not _is_finished(cell)]
    progress.begin(len(open_cells), plan.profile.recipe.epochs)
    if finished := len(cells) - len(open_cells):
        progress.say(f"{finished} of {counted(len(cells), 'training')} already finished in {plan.folder}")
    failures = 0
    for succeeded in _attempts(plan, open_cells, workshop, progress, where):
        failures += not succeeded
        after_cell()
    return failures


def _attempts(
    plan: Plan, cells: list[Cell], workshop: Workshop, progress: Progress, where: CellWorkers | None
) -> Iterator[bool]:
    """Runs the cells; a row that is the mean of others comes after all that are trained elsewhere."""
    if where is not None:
        elsewhere = [cell for cell in cells if not cell.row.members]
        progress.phase(f"{counted(len(elsewhere), 'training')} in other processes")
        for cell, outcome in outcomes(where, Task(plan, _weight_files(plan), where.exchange), elsewhere):
            for note in outcome.notes:
                progress.say(note)
            progress.finish(cell, outcome.message)
            yield outcome.succeeded
        cells = [cell for cell in cells if cell.row.members]
    for cell in cells:
        yield attempt(plan, cell, workshop, progress)


def _checked_workshop(plan: Plan, cells: list[Cell]) -> Workshop:
    """Looks for the weights and, where one was asked for by name, the cut of every row."""
    workshop = Workshop(plan, _weight_files(plan))
    if plan.cut not in (AUTOMATIC_CUT, NO_CUT):
        for cell in {cell.row.name: cell for cell in cells if cell.row.model is not None}.values():
            workshop.network(cell)  # a layer's name fits some backbones only, which is seen by building them
        workshop.clear()
    return workshop


def _prepare_folder(plan: Plan, cells: list[Cell], fresh: bool) -> None:
    """Writes what the run and its trainings are made with, or finds the same there."""
    if fresh and (earlier := artifacts.set_aside(plan.folder)) is not None:
        print(f"the earlier result is now {earlier}")
    artifacts.require_same(plan.folder / "run.json", plan.shared_config())
    if not (plan.folder / SAMPLES).is_file():  # its content is held by the fingerprint in run.json
        write_samples(plan.dataset, plan.folder)
    for cell in cells:
        artifacts.require_same(cell.folder / "config.json", cell.config(plan))
    if plan.command:
        remember_command(plan.folder, plan.command, plan.dataset.root)


def _is_finished(cell: Cell) -> bool:
    status = io.read_json(cell.folder / "status.json")
    return status is not None and status["status"] == OK and (cell.folder / PREDICTIONS).is_file()


def _weight_files(plan: Plan) -> dict[str, Path | None]:
    names = {row.arguments["backbone"] for row in plan.rows if "backbone" in row.arguments}
    return {name: resolve_weights(name, plan.weights) for name in sorted(names)}
