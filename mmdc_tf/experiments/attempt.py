"""One training of a run, from its split to its files; a failure stays in its own folder."""

from __future__ import annotations

import time
import traceback
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf import io
from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.datasets.splits import select
from mmdc_tf.errors import InputError, TrainingDivergedError, kind_and_line
from mmdc_tf.evaluation.metrics import paper_metrics, threshold_metrics
from mmdc_tf.evaluation.predictions import predictions_table
from mmdc_tf.experiments import artifacts
from mmdc_tf.experiments.calibration import CALIBRATION, CARD, VALIDATION, calibrate
from mmdc_tf.experiments.grid import Cell, Plan
from mmdc_tf.experiments.learners import CHECKPOINT, LEARNERS, Learner
from mmdc_tf.experiments.metadata_scoring import METADATA_PREDICTIONS, metadata_predictions, uses_metadata
from mmdc_tf.experiments.model_card import write_model_card
from mmdc_tf.experiments.progress import Listener
from mmdc_tf.experiments.run_folder import FAILED, OK, PREDICTIONS
from mmdc_tf.experiments.tensorboard_callbacks import forget
from mmdc_tf.experiments.workshop import Workshop
from mmdc_tf.io import write_table
from mmdc_tf.preprocessing.recipes import get_recipe

RUNNING = "running"


def attempt(plan: Plan, cell: Cell, workshop: Workshop, progress: Listener) -> bool:
    """Runs one cell and writes how it ended.

    Args:
        plan: what the cell was made from.
        cell: its folder holds ``config.json``.
        workshop: builds its network.
        progress: is told of its epochs and its end.

    Returns:
        Whether it succeeded.

    Raises:
        InputError: what ends the whole command, such as a dataset that is gone.
        OSError: the disk is full, read-only or gone.
    """
    started = time.perf_counter()
    status: dict[str, Any] = {"status": RUNNING}
    _remove_traces(cell)
    io.write_json(cell.folder / "status.json", status)
    try:
        metrics, facts = _run(plan, cell, workshop, progress)
        status = {"status": OK, **facts, "seconds": round(time.perf_counter() - started, 1)}
        message = (
            f"accuracy {100 * metrics['accuracy']:.2f} %, macro F1 {100 * metrics['f1']:.2f} %, {status['seconds']} s"
        )
    except InputError:
        (cell.folder / "status.json").unlink(missing_ok=True)  # nothing is running here any more
        raise
    except Exception as error:  # whatever stops one row must not stop the table, but a disk that stops them all
        if io.is_disk_error(error):
            raise
        workshop.clear()  # its state is unknown
        line = kind_and_line(error, 500)
        io.write_text(cell.folder / "error.txt", traceback.format_exc())
        status = {"status": FAILED, "error": line, "seconds": round(time.perf_counter() - started, 1)}
        message = f"failed: {line} (trace in {cell.folder / 'error.txt'})"
    io.write_json(cell.folder / "status.json", status)
    (cell.folder / CHECKPOINT).unlink(missing_ok=True)
    progress.finish(cell, message)
    return status["status"] == OK


def _remove_traces(cell: Cell) -> None:
    """Removes what an earlier attempt left and this one may not write again.

    TensorBoard would draw the earlier curves together with the new ones; those of a training that is gone on with stay.
    """
    for name in ("error.txt", VALIDATION, CALIBRATION, METADATA_PREDICTIONS):
        (cell.folder / name).unlink(missing_ok=True)
    forget(cell.folder.parent, "" if (cell.folder / CHECKPOINT).is_file() else cell.folder.name)


def _run(plan: Plan, cell: Cell, workshop: Workshop, progress: Listener) -> tuple[dict[str, float], dict[str, Any]]:
    """Trains, scores and saves; returns the paper's numbers and what the status says of the training."""
    io.write_text(cell.folder / "split.json", cell.split.to_json())
    io.write_json(cell.folder / "environment.json", artifacts.environment(plan.dataset.fingerprint))
    learner = LEARNERS[cell.row.kind](plan, cell, workshop, progress)
    table = plan.dataset.table
    history = learner.fit(select(table, cell.split.train), select(table, cell.split.validation))
    write_table(cell.folder / "history.csv", history)
    progress.phase("scoring", cell)
    metrics = _score(plan, cell, learner)
    learner.save(cell.folder)
    facts = learner.facts()
    io.write_json(cell.folder / "model.json", {**_card(plan, cell), **facts})
    write_model_card(cell.folder)
    return metrics, {"epochs": len(history), **facts}


def _score(plan: Plan, cell: Cell, learner: Learner) -> dict[str, float]:
    """Writes the predictions of what was learned, and all that is computed from them; returns the paper's numbers."""
    predictions = _predictions(plan, cell, learner, cell.split.test)
    write_table(cell.folder / PREDICTIONS, predictions)
    metrics = paper_metrics(predictions)
    scores = {"n": len(predictions), **metrics, **threshold_metrics(predictions), **_notice(plan)}
    io.write_json(cell.folder / "metrics.json", scores)
    _calibrate(plan, cell, learner, predictions)
    if uses_metadata(cell):
        part, names = select(plan.dataset.table, cell.split.test), plan.dataset.info.class_names
        others = metadata_predictions(learner, part, names, cell.split.fold, cell.seed)
        write_table(cell.folder / METADATA_PREDICTIONS, others)
    return metrics


def _calibrate(plan: Plan, cell: Cell, learner: Learner, predictions: pd.DataFrame) -> None:
    """Writes the validation part's predictions, and temperature and threshold, where the learner has the former."""
    validation = cell.split.validation
    if validation != cell.split.test:
        if not learner.can_predict(validation):
            return
        predictions = _predictions(plan, cell, learner, validation)
    write_table(cell.folder / VALIDATION, predictions)
    fitted = calibrate(cell.folder, plan.sensitivity, plan.dataset.info.positive_class)
    io.write_json(cell.folder / CALIBRATION, {**fitted, **_notice(plan)})


def _predictions(plan: Plan, cell: Cell, learner: Learner, sample_ids: tuple[str, ...]) -> pd.DataFrame:
    part = select(plan.dataset.table, sample_ids)
    probabilities = learner.probabilities(part)
    if not np.isfinite(probabilities).all():
        raise TrainingDivergedError(
            f"Expected finite probabilities. Received: NaN or infinity for {cell.row.name!r}. "
            "Lower the learning rate in the training recipe, or look at the images of this split."
        )
    return predictions_table(part, probabilities, plan.dataset.info.class_names, cell.split.fold, cell.seed)


def _card(plan: Plan, cell: Cell) -> dict[str, Any]:
    """What a user of the model must know; temperature and threshold are null where there is no calibration."""
    calibration = io.read_json(cell.folder / CALIBRATION) or {}
    return {
        "research_use_only": True,
        **_notice(plan),
        cell.row.kind: getattr(cell.row, cell.row.kind),
        "class_names": list(plan.dataset.info.class_names),
        "inputs": list(cell.inputs),
        "image_size": cell.image_size,
        "preprocessing": get_recipe(cell.preprocessing).to_config(),
        "modality": plan.modality,
        **{name: calibration.get(name) for name in CARD},
        "split_hash": cell.split.hash,
        "versions": artifacts.environment(plan.dataset.fingerprint)["packages"],
    }


def _notice(plan: Plan) -> dict[str, str]:
    return {"notice": NOTICE} if plan.dataset.info.synthetic else {}
