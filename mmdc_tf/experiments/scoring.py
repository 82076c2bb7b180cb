"""What a training is worth: its predictions, and the metrics, calibration and metadata variants computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.datasets.splits import select
from mmdc_tf.datasets.values import positive_class
from mmdc_tf.errors import TrainingDivergedError
from mmdc_tf.evaluation.calibration import (
    COUNTS,
    SENSITIVITY,
    SHARES,
    fit_temperature,
    outcomes,
    threshold_at_sensitivity,
    with_temperature,
)
from mmdc_tf.evaluation.metadata_variants import metadata_variants
from mmdc_tf.evaluation.metrics import METRICS, THRESHOLD_METRICS, all_metrics
from mmdc_tf.evaluation.predictions import class_names, predictions_table, read_predictions
from mmdc_tf.experiments.learners import Learner
from mmdc_tf.experiments.plan import Plan, Training
from mmdc_tf.experiments.rows import Row
from mmdc_tf.experiments.run_folder import CALIBRATION, PREDICTIONS, VALIDATION, finished_files, trainings_of
from mmdc_tf.io import read_json, write_json, write_table

METADATA_PREDICTIONS = "predictions-metadata.csv"
SCORES = ("nll", "ece", "brier")


def score(plan: Plan, training: Training, learner: Learner) -> dict[str, float]:
    """Writes the predictions of what was learned, and all that is computed from them; returns the paper's numbers.

    Age and density are varied where the row takes them itself: an ensemble reads its members' predictions.
    """
    folder, split = training.folder, training.split
    predictions = _predictions(plan, training, learner, split.test)
    write_table(folder / PREDICTIONS, predictions)
    notice = {"notice": NOTICE} if plan.dataset.info.synthetic else {}
    metrics = all_metrics(predictions, METRICS)
    scores = {"n": len(predictions), **metrics, **all_metrics(predictions, THRESHOLD_METRICS), **notice}
    write_json(folder / "metrics.json", scores)
    is_other = split.validation != split.test
    validated = _predictions(plan, training, learner, split.validation) if is_other else predictions
    write_table(folder / VALIDATION, validated)
    fitted = calibrate(folder, plan.sensitivity, plan.dataset.info.positive_class)
    write_json(folder / CALIBRATION, {**fitted, **notice})
    if "metadata" in training.inputs and not training.row.members:
        write_table(folder / METADATA_PREDICTIONS, metadata_predictions(plan, training, learner))
    return metrics


def _predictions(plan: Plan, training: Training, learner: Learner, samples: tuple[str, ...]) -> pd.DataFrame:
    part = select(plan.dataset.table, samples)
    probabilities = learner.probabilities(part)
    if not np.isfinite(probabilities).all():
        raise TrainingDivergedError(
            f"Expected finite probabilities. Received: NaN or infinity for {training.row.name!r}. "
            "Lower the learning rate in the training recipe, or look at the images of this split."
        )
    names = plan.dataset.info.class_names
    return predictions_table(part, probabilities, names, training.split.fold, training.seed)


def metadata_predictions(plan: Plan, training: Training, learner: Learner) -> pd.DataFrame:
    """Predictions of the test part for each of ``mmdc_tf.evaluation.metadata_variants.VARIANTS``.

    Each image is read and preprocessed once for all variants. The training's seed also decides who gets whose values
    when they are shuffled.

    Returns:
        The columns of ``predictions_table`` and ``metadata``, the variant's name; a variant after the other.
    """
    names, test = plan.dataset.info.class_names, select(plan.dataset.table, training.split.test)
    variants = metadata_variants(test, training.seed)
    count, samples = len(variants), len(test)
    order = np.arange(count * samples).reshape(count, samples).T.ravel()  # all variants of an image, then the next
    together = pd.concat(variants.values(), ignore_index=True).iloc[order].reset_index(drop=True)
    probabilities = learner.probabilities(together)[np.argsort(order)].reshape(count, samples, -1)
    tables = [
        predictions_table(table, scores, names, training.split.fold, training.seed).assign(metadata=name)
        for (name, table), scores in zip(variants.items(), probabilities, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)


def calibrate(folder: Path, sensitivity: float = SENSITIVITY, positive: str | None = None) -> dict[str, Any]:
    """Fits on ``validation_predictions.csv``, judges on ``predictions.csv``.

    Args:
        folder: one training's.
        sensitivity: that the threshold must reach on the part that it is fitted on, in (0, 1].
        positive: the class that the threshold is for; None for the one that is recognised by its name.

    Returns:
        The content of ``calibration.json``: temperature, positive class, the sensitivity asked for, threshold, and what
        they were fitted on; for ``validation`` and ``test`` each ``n``, ``before`` and ``after`` with nll, ece and
        brier, and, where there is a positive class, ``evaluation.calibration.outcomes`` ``at_threshold`` and
        ``at_half``, both on the calibrated probability, and ``at_argmax``. Without a positive class, and where its
        probabilities are all 0 or 1 (a nearest neighbour's), ``threshold`` and ``at_threshold`` are None.

    Raises:
        InputError: a file lacks a column, or the sensitivity is out of range.
    """
    validation, test = read_predictions([folder / VALIDATION]), read_predictions([folder / PREDICTIONS])
    temperature, threshold = fit_temperature(validation), None
    positive = positive or positive_class(class_names(validation))
    if positive is not None and not validation[f"p_{positive}"].isin([0.0, 1.0]).all():
        probability = with_temperature(validation, temperature)[f"p_{positive}"].to_numpy()
        threshold = threshold_at_sensitivity((validation["y_true"] == positive).to_numpy(), probability, sensitivity)
    same = set(validation["sample_id"]) == set(test["sample_id"])
    fitted_on = "the scored part itself (paper protocol)" if same else "validation part"
    return {
        "temperature": temperature,
        "positive_class": positive,
        "sensitivity_asked": sensitivity,
        "threshold": threshold,
        "fitted_on": fitted_on,
        "validation": _judged(validation, temperature, positive, threshold),
        "test": _judged(test, temperature, positive, threshold),
    }


def _judged(part: pd.DataFrame, temperature: float, positive: str | None, threshold: float | None) -> dict[str, Any]:
    """One part's scores before and after, and what the decisions lead to."""
    calibrated = with_temperature(part, temperature)
    scores = {"n": len(part), "before": all_metrics(part, SCORES), "after": all_metrics(calibrated, SCORES)}
    if positive is None:
        return scores
    truth, probability = (part["y_true"] == positive).to_numpy(), calibrated[f"p_{positive}"].to_numpy()
    return {
        **scores,
        "at_threshold": None if threshold is None else outcomes(truth, probability >= threshold),
        "at_half": outcomes(truth, probability >= 0.5),
        "at_argmax": outcomes(truth, (part["y_pred"] == positive).to_numpy()),
    }


@dataclass(frozen=True)
class CalibratedRow:
    """A row's pooled test parts of all folds and seeds under one protocol, before and after calibration.

    ``files`` holds the content of each training's ``calibration.json``; the column ``threshold`` is that of each line's
    own training, as the temperature is.
    """

    row: Row
    files: tuple[dict[str, Any], ...]
    before: pd.DataFrame
    after: pd.DataFrame

    @property
    def positive(self) -> str | None:
        """The class that the thresholds are for; None where the dataset has none."""
        return self.files[0]["positive_class"]

    @property
    def temperature(self) -> float:
        """Mean over folds and seeds."""
        return float(np.mean([file["temperature"] for file in self.files]))

    def decisions(self) -> tuple[np.ndarray, np.ndarray]:
        """bool (n,) each: which samples are of the positive class, and which the threshold calls so."""
        called = self.after[f"p_{self.positive}"] >= self.after["threshold"]
        return (self.after["y_true"] == self.positive).to_numpy(), called.to_numpy()

    @cached_property
    def scores(self) -> dict[str, float]:
        """``SCORES`` of the pooled predictions, as ``NAME_before`` and ``NAME_after``."""
        parts = {"before": all_metrics(self.before, SCORES), "after": all_metrics(self.after, SCORES)}
        return {f"{name}_{when}": part[name] for name in SCORES for when, part in parts.items()}

    @cached_property
    def reached(self) -> dict[str, int | float | None]:
        """What the ``decisions`` lead to, as from ``evaluation.decision.outcomes``; each None without a threshold."""
        if self.after["threshold"].isna().any():
            return dict.fromkeys((*COUNTS, *SHARES))
        return outcomes(*self.decisions())


def calibrated_row(row: Row, folder: Path) -> CalibratedRow | None:
    """Reads a row's trainings in ``OUT/TABLE/ROW/PROTOCOL``; None unless all are finished and calibrated."""
    places = finished_files(trainings_of(folder), CALIBRATION)
    files = tuple(read_json(place) or {} for place in places)
    if not files:
        return None
    before, after = [], []
    for place, file in zip(places, files, strict=True):
        part = read_predictions([place.with_name(PREDICTIONS)])
        before.append(part.assign(threshold=np.nan if file["threshold"] is None else file["threshold"]))
        after.append(with_temperature(before[-1], file["temperature"]))
    return CalibratedRow(row, files, pd.concat(before, ignore_index=True), pd.concat(after, ignore_index=True))
