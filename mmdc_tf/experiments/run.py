"""Runs the trainings of a plan, one folder each, here, in other processes or on a cluster; a failure stops no other."""

from __future__ import annotations

import functools
import json
import platform
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from mmdc_tf.datasets.jobs import Executor, parallel
from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.errors import ConfigurationError, InputError, counted, kind_and_line
from mmdc_tf.experiments.card import ModelCard
from mmdc_tf.experiments.learners import CHECKPOINT, LEARNERS, Learner
from mmdc_tf.experiments.plan import CUTS, Plan, Training
from mmdc_tf.experiments.progress import Lines, Progress
from mmdc_tf.experiments.run_folder import (
    CALIBRATION,
    FAILED,
    MODEL_CARD,
    OK,
    PREDICTIONS,
    RUNNING,
    SAMPLES,
    VALIDATION,
    environment,
    forget,
    remember_command,
    require_same,
    set_aside,
    write_samples,
)
from mmdc_tf.experiments.scoring import METADATA_PREDICTIONS, score
from mmdc_tf.io import is_disk_error, read_json, require_json, write_json, write_table, write_text, write_with
from mmdc_tf.preprocessing.recipes import get_recipe

HERE = Executor()
LEFTOVERS = ("error.txt", VALIDATION, CALIBRATION, METADATA_PREDICTIONS, MODEL_CARD)
"""Files that a training does not write in every case: those of an earlier attempt would stay."""


def run_trainings(
    plan: Plan,
    trainings: list[Training],
    after_each: Callable[[], object],
    progress: Progress,
    fresh: bool = False,
    executor: Executor = HERE,
) -> int:
    """Trains and scores everything that is not finished yet.

    Args:
        plan: what the trainings were made from.
        trainings: in the order in which they run.
        after_each: called after each training, to bring the tables up to date.
        progress: the bar of the whole run.
        fresh: start over; an earlier result is renamed.
        executor: where trainings run. Processes of this machine write into the run's folder and go on with what a
            killed one left; nodes of a cluster send their files back, and need the dataset under the same path.

    Returns:
        The number of trainings that failed.

    Raises:
        InputError: a weight file, model, cut or run folder that does not fit; found before anything is trained, and
            the first three before anything is written, so that the corrected command starts from a clean folder.
            Or a process of the executor was killed.
        OSError: the disk is full, read-only or gone.
    """
    if not executor.is_here:  # what this process computes for the report, it computes without the workers' GPUs
        with suppress(RuntimeError):  # TensorFlow has begun to use them, in a notebook
            tf.config.set_visible_devices([], "GPU")
    learners = _learners(plan, progress)
    if plan.cut not in CUTS:  # a layer's name fits some backbones only
        for training in {one.row.name: one for one in trainings if one.row.model}.values():
            learners["model"].build(training)
            learners["model"].clear()
    if fresh and (earlier := set_aside(plan.folder)) is not None:
        print(f"the earlier result is now {earlier}")
    _prepare_folder(plan, trainings)
    waiting = [training for training in trainings if not _is_finished(training)]
    progress.begin(len(waiting), plan.profile.recipe.epochs)
    if finished := len(trainings) - len(waiting):
        progress.say(f"{finished} of {counted(len(trainings), 'training')} already finished in {plan.folder}")
    failures = 0
    if not executor.is_here:
        elsewhere = [training for training in waiting if not training.row.members]
        waiting = [training for training in waiting if training.row.members]  # the mean of others
        progress.phase(f"{counted(len(elsewhere), 'training')} in other processes")
        work = functools.partial(_run_in_worker, plan, executor.ray)
        with closing(parallel(work, elsewhere, executor if elsewhere else HERE)) as results:
            for training, (succeeded, (*notes, message), files) in results:
                _put(files, training)
                for note in notes:
                    progress.say(note)
                progress.finish(training, message)
                failures += not succeeded
                after_each()
    for training in waiting:
        failures += not run_training(plan, training, learners[training.row.kind], progress)
        after_each()
    return failures


def run_training(plan: Plan, training: Training, learner: Learner, progress: Lines) -> bool:
    """Trains, scores and saves; writes how it ended and returns whether it succeeded.

    Raises:
        InputError: what ends the whole command, such as a dataset that is gone.
        OSError: the disk is full, read-only or gone.
    """
    folder = training.folder
    with _recorded(training, learner, progress) as status:
        made_with = environment(plan.dataset.fingerprint)
        write_text(folder / "split.json", training.split.to_json())
        write_json(folder / "environment.json", made_with)
        learner.build(training)
        history = learner.fit(training)
        write_table(folder / "history.csv", history)
        progress.phase("scoring", training)
        status["metrics"] = score(plan, training, learner)
        learner.save(folder)
        details = learner.details()
        facts = {"split_hash": training.split.hash, "versions": made_with["packages"], **details}
        write_json(folder / "model.json", _card(plan, training, facts).to_json())
        status |= {"epochs": len(history), **details}
    return status["status"] == OK


@contextmanager
def _recorded(training: Training, learner: Learner, progress: Lines) -> Iterator[dict[str, Any]]:
    """Writes how the training inside ends; a failure stays in its folder, with its trace in ``error.txt``."""
    folder, started = training.folder, time.perf_counter()
    _clear(training, with_curves=not (folder / CHECKPOINT).is_file())  # those of one that is gone on with stay
    write_json(folder / "status.json", {"status": RUNNING})
    status: dict[str, Any] = {"status": OK}
    try:
        yield status
        metrics = status.pop("metrics")
        message = f"accuracy {100 * metrics['accuracy']:.2f} %, macro F1 {100 * metrics['f1']:.2f} %"
    except InputError:
        (folder / "status.json").unlink(missing_ok=True)  # nothing is running here any more
        raise
    except Exception as error:  # whatever stops one row must not stop the table, but a disk that stops them all
        if is_disk_error(error):
            raise
        learner.clear()  # its state is unknown
        write_text(folder / "error.txt", traceback.format_exc())
        status.clear()
        status |= {"status": FAILED, "error": kind_and_line(error, 500)}
        message = f"failed: {status['error']} (trace in {folder / 'error.txt'})"
    status["seconds"] = round(time.perf_counter() - started, 1)
    write_json(folder / "status.json", status)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    progress.finish(training, f"{message}, {status['seconds']} s" if status["status"] == OK else message)


def _clear(training: Training, with_curves: bool = True) -> None:
    """Removes what an earlier attempt left; TensorBoard would draw its curves too."""
    for name in LEFTOVERS:
        (training.folder / name).unlink(missing_ok=True)
    forget(training.folder.parent, training.folder.name if with_curves else "")


def _card(plan: Plan, training: Training, facts: dict[str, Any]) -> ModelCard:
    """What a user of the model must know."""
    row, calibration = training.row, require_json(training.folder / CALIBRATION)
    return ModelCard(
        name=getattr(row, row.kind),
        kind=row.kind,
        class_names=plan.dataset.info.class_names,
        inputs=training.inputs,
        image_size=training.image_size,
        recipe=get_recipe(training.preprocessing),
        modality=plan.modality,
        temperature=calibration["temperature"],
        positive_class=calibration["positive_class"],
        sensitivity=calibration["sensitivity_asked"],
        threshold=calibration["threshold"],
        fitted_on=calibration["fitted_on"],
        phantom=NOTICE if plan.dataset.info.synthetic else "",
        training=facts,
    )


def _learners(plan: Plan, progress: Lines) -> dict[str, Learner]:
    return {kind: LEARNERS[kind](plan, progress) for kind in {row.kind for row in plan.rows}}


def _prepare_folder(plan: Plan, trainings: list[Training]) -> None:
    """Writes what the run and its trainings are made with, or finds the same there."""
    require_same(plan.folder / "run.json", plan.shared_config())
    if not (plan.folder / SAMPLES).is_file():  # its content is held by the fingerprint in run.json
        write_samples(plan.dataset, plan.folder)
    for training in trainings:
        require_same(training.folder / "config.json", training.config(plan))
    if plan.command:
        remember_command(plan.folder, plan.command, plan.dataset.root)


def _is_finished(training: Training) -> bool:
    status = read_json(training.folder / "status.json") or {}
    return status.get("status") == OK and (training.folder / PREDICTIONS).is_file()


_kept: dict[str, tuple[Lines, dict[str, Learner]]] = {}
"""In a worker, between its trainings: those of one architecture share one compiled network."""


def _run_in_worker(plan: Plan, is_far: bool, training: Training) -> tuple[bool, list[str], dict[str, bytes]]:
    """One training; gives whether it succeeded, what was said, how it ended last, and its files where they are far.

    Raises:
        ConfigurationError: this machine does not reach the dataset.
    """
    if not plan.dataset.root.is_dir():
        raise ConfigurationError(
            f"Expected the dataset under the same path on every node. Received: dataset_root={plan.dataset.root}, "
            f"which node {platform.node()} does not have. Mount or copy it there."
        )
    key = json.dumps([str(plan.folder), plan.shared_config(), plan.tensorboard])
    if key not in _kept:
        _kept.clear()
        lines = Lines()
        _kept[key] = lines, _learners(plan, lines)
    lines, learners = _kept[key]
    with tempfile.TemporaryDirectory(prefix="mmdc-tf-") as scratch:
        if is_far:
            training = replace(training, folder=Path(scratch, training.folder.relative_to(plan.output)))
        succeeded = run_training(plan, training, learners[training.row.kind], lines)
        row = training.folder.parent  # which holds what TensorBoard shows of it too
        files = [path for path in row.rglob("*") if path.is_file()] if is_far else []
        contents = {path.relative_to(row).as_posix(): path.read_bytes() for path in files}
        said = [line.replace(scratch, str(plan.output)) for line in lines.said]
    lines.said = []
    return succeeded, said, contents


def _put(files: dict[str, bytes], training: Training) -> None:
    """Writes what a node has sent, the status last: with it they count as whole."""
    if files:
        _clear(training)
    for name in sorted(files, key=lambda name: name.endswith("status.json")):
        write_with(training.folder.parent / name, functools.partial(Path.write_bytes, data=files[name]))
