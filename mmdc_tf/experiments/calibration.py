"""Temperature and threshold of a training: fitted on its validation part, judged on its test part, kept as a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.values import positive_class
from mmdc_tf.evaluation.calibration import (
    COUNTS,
    SENSITIVITY,
    SHARES,
    fit_temperature,
    outcomes,
    threshold_at_sensitivity,
    with_temperature,
)
from mmdc_tf.evaluation.metrics import probability_metrics
from mmdc_tf.evaluation.predictions import class_names, read_predictions
from mmdc_tf.experiments.rows import Row
from mmdc_tf.experiments.run_folder import PREDICTIONS, cells_of, finished_files
from mmdc_tf.io import read_json

VALIDATION, CALIBRATION = "validation_predictions.csv", "calibration.json"
ON_VALIDATION = "validation part"
ON_SCORED = "the scored part itself (paper protocol)"
SCORES = ("nll", "ece", "brier")
CARD = ("temperature", "positive_class", "sensitivity_asked", "threshold", "fitted_on")
"""What a saved model carries of it."""


@dataclass(frozen=True)
class CalibratedRow:
    """A row's test parts of all folds and seeds under one protocol, before and after calibration.

    Args:
        row: what was trained.
        files: the content of each training's ``calibration.json``.
        before: the pooled predictions, with the column ``threshold`` of each line's own training.
        after: the same with each training's own temperature.
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
        return (
            (self.after["y_true"] == self.positive).to_numpy(),
            (self.after[f"p_{self.positive}"] >= self.after["threshold"]).to_numpy(),
        )

    @cached_property
    def scores(self) -> dict[str, float]:
        """``SCORES`` of the pooled predictions, as ``NAME_before`` and ``NAME_after``."""
        parts = {"before": _scores(self.before), "after": _scores(self.after)}
        return {f"{name}_{when}": part[name] for name in SCORES for when, part in parts.items()}

    @cached_property
    def reached(self) -> dict[str, int | float | None]:
        """What the ``decisions`` lead to, as from ``evaluation.decision.outcomes``; each None without a threshold."""
        if self.after["threshold"].isna().any():
            return dict.fromkeys((*COUNTS, *SHARES))
        return outcomes(*self.decisions())


def calibrate(folder: Path, sensitivity: float = SENSITIVITY, positive: str | None = None) -> dict[str, Any]:
    """Fits on ``validation_predictions.csv``, judges on ``predictions.csv``.

    Args:
        folder: one training's.
        sensitivity: that the threshold must reach on the part that it is fitted on, in (0, 1].
        positive: the class that the threshold is for; None for the one that is recognised by its name.

    Returns:
        The content of ``calibration.json``: ``CARD``, and for ``validation`` and ``test`` each ``n``; ``before`` and
        ``after`` with nll, ece and brier; and, where there is a positive class, counts and shares (as
        ``mmdc_tf.evaluation.decision.outcomes`` gives them) ``at_threshold`` and ``at_half``, both on the calibrated
        probability, and ``at_argmax``. ``threshold`` is one of the calibrated probability; without a positive class,
        and where its probabilities are all 0 or 1 and leave nothing to choose, it and ``at_threshold`` are None.

    Raises:
        InputError: a file lacks a column, or the sensitivity is out of range.
    """
    validation, test = read_predictions([folder / VALIDATION]), read_predictions([folder / PREDICTIONS])
    temperature = fit_temperature(validation)
    positive = positive or positive_class(class_names(validation))
    threshold = None
    if positive is not None and not _is_hard(validation, positive):
        threshold = _threshold(with_temperature(validation, temperature), positive, sensitivity)
    same = set(validation["sample_id"]) == set(test["sample_id"])
    fitted = (temperature, positive, sensitivity, threshold, ON_SCORED if same else ON_VALIDATION)
    content = dict(zip(CARD, fitted, strict=True))
    parts = {"validation": validation, "test": test}
    return {**content, **{name: _judged(part, content) for name, part in parts.items()}}


def calibrated_row(row: Row, folder: Path) -> CalibratedRow | None:
    """Reads a row's trainings under one protocol; None unless all are finished and calibrated.

    Args:
        row: of the table.
        folder: ``OUT/TABLE/ROW/PROTOCOL``.

    Raises:
        ConfigurationError: a JSON file is broken.
        InputError: a predictions file lacks a column.
    """
    places = finished_files(cells_of(folder), CALIBRATION)
    if not places:
        return None
    files = tuple(read_json(place) or {} for place in places)
    parts = [
        read_predictions([place.with_name(PREDICTIONS)]).assign(
            threshold=np.nan if file["threshold"] is None else file["threshold"]
        )
        for place, file in zip(places, files, strict=True)
    ]
    after = [with_temperature(part, file["temperature"]) for part, file in zip(parts, files, strict=True)]
    return CalibratedRow(row, files, pd.concat(parts, ignore_index=True), pd.concat(after, ignore_index=True))


def _is_hard(part: pd.DataFrame, positive: str) -> bool:
    """Whether the probabilities are 0 and 1, as a nearest neighbour's."""
    return bool(part[f"p_{positive}"].isin([0.0, 1.0]).all())


def _threshold(calibrated: pd.DataFrame, positive: str, sensitivity: float) -> float:
    truth = (calibrated["y_true"] == positive).to_numpy()
    return threshold_at_sensitivity(truth, calibrated[f"p_{positive}"].to_numpy(), sensitivity)


def _judged(part: pd.DataFrame, fitted: dict[str, Any]) -> dict[str, Any]:
    """One part's scores before and after, and what the decisions lead to."""
    calibrated = with_temperature(part, fitted["temperature"])
    scores = {"n": len(part), "before": _scores(part), "after": _scores(calibrated)}
    if fitted["positive_class"] is None:
        return scores
    truth = (part["y_true"] == fitted["positive_class"]).to_numpy()
    probability = calibrated[f"p_{fitted['positive_class']}"].to_numpy()
    called = {
        "at_half": probability >= 0.5,
        "at_argmax": (part["y_pred"] == fitted["positive_class"]).to_numpy(),
    }
    threshold = fitted["threshold"]
    at_threshold = None if threshold is None else outcomes(truth, probability >= threshold)
    return {**scores, "at_threshold": at_threshold, **{name: outcomes(truth, calls) for name, calls in called.items()}}


def _scores(part: pd.DataFrame) -> dict[str, float]:
    scores = probability_metrics(part)
    return {name: scores[name] for name in SCORES}
