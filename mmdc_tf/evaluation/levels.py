"""From images to breasts and patients: views combined by mean probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.metrics import METRICS, metrics_by_fold
from mmdc_tf.evaluation.predictions import class_names
from mmdc_tf.evaluation.statistics import interval_columns, metric_intervals

LEVELS = ("image", "breast", "patient")
LEVEL_METRICS = (*METRICS, "balanced_accuracy", "auc")
KEYS = ["fold", "seed", "sample_id"]
SEVERITY = {"normal": 0, "benign": 1, "cancer": 2, "malignant": 2}
"""The order of the classes of breast imaging, by their names: the declared order of a dataset's classes is not one."""


@dataclass(frozen=True)
class Combined:
    """Predictions of breasts or patients.

    Args:
        predictions: the columns of a predictions table, one line a unit, fold and seed; ``sample_id`` is the unit:
            ``patient_id``, or ``patient_id/SIDE``.
        unplaced: scored images that belong to no unit, since their patient (or, for breasts, side) is unknown.
        undecided: units left out because their images have several labels of which none is the most severe.
    """

    predictions: pd.DataFrame
    unplaced: int
    undecided: int


def combine_views(predictions: pd.DataFrame, samples: pd.DataFrame, level: str) -> Combined:
    """Combines the scored images of each breast or patient, within one fold and seed.

    A unit's probabilities are the mean over its images, each image with the same weight; its class is the largest of
    them (the first of equals, as for images). Its truth is the one label of its images; where they differ it is the
    most severe (normal < benign < cancer or malignant), and a unit with several labels of which a name is not known
    in ``SEVERITY``, or with two of the most severe, is left out and counted. Where a dataset's label is the patient's,
    as in Mini-DDSM, so is the truth of a breast.

    Under ``leak-free`` all images of a patient are scored in one fold. Under ``paper`` they are on both sides of the
    split: only the scored ones are combined, which may be one view of four.

    Args:
        predictions: as from ``read_predictions``.
        samples: columns ``sample_id`` and ``side`` ("" where unknown); every scored image must be there.
        level: ``"image"`` (predictions as they are), ``"breast"`` or ``"patient"``.

    Raises:
        InputError: the level is unknown, or ``samples`` lacks a scored image.
    """
    if level not in LEVELS:
        raise InputError(f"Expected a level of {', '.join(LEVELS)}. Received: level={level!r}. Choose one of them.")
    if level == "image":
        return Combined(predictions, unplaced=0, undecided=0)
    units = _units(predictions, samples, level)
    images = predictions.assign(sample_id=units)[units != ""]
    names = class_names(images)
    columns = [f"p_{name}" for name in names]
    how = {"patient_id": "first", "group_id": "first", **dict.fromkeys(columns, "mean")}
    combined = images.groupby(KEYS).agg(how).join(_truth(images), how="inner").reset_index()
    guess = np.asarray(names, dtype=object)[combined[columns].to_numpy(dtype=float).argmax(axis=1)]
    return Combined(
        predictions=combined.assign(y_pred=guess)[list(predictions.columns)],
        unplaced=predictions.loc[units == "", "sample_id"].nunique(),
        undecided=images["sample_id"].nunique() - combined["sample_id"].nunique(),
    )


def level_results(predictions: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """The metrics by image, by breast and by patient, each the mean over folds and seeds as in the table.

    Args:
        predictions, samples: as for ``combine_views``.

    Returns:
        One line a level that has units: ``level``, ``n_units`` and ``n_groups`` (each counted once, whatever the number
        of seeds), ``unplaced_images`` and ``undecided_units`` as in ``Combined``, ``accuracy_std`` (over folds and
        seeds; NaN with one), and for each of ``LEVEL_METRICS`` the mean and its 95 % interval by bootstrap over groups
        (``…_ci_low``, ``…_ci_high``), fractions in [0, 1].

    Raises:
        InputError: as in ``combine_views``.
    """
    combined = {level: combine_views(predictions, samples, level) for level in LEVELS}
    lines = [{"level": level, **_scores(units)} for level, units in combined.items() if len(units.predictions)]
    return pd.DataFrame(lines)


def facts_of(predictions: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """The line of ``samples`` of each prediction, in the order of the predictions.

    Raises:
        InputError: a prediction's sample is not in ``samples``.
    """
    known = samples.set_index("sample_id")
    strangers = predictions.loc[~predictions["sample_id"].isin(known.index), "sample_id"]
    if len(strangers):
        raise InputError(
            "Expected predictions of samples that the run's table lists. Received: "
            f"sample_id={strangers.iloc[0]!r}, which it does not. Keep the files of one run together, or use --fresh."
        )
    return known.loc[predictions["sample_id"]].set_axis(predictions.index)


def _units(predictions: pd.DataFrame, samples: pd.DataFrame, level: str) -> pd.Series:
    """The unit of each image, "" where it is unknown."""
    patients = predictions["patient_id"]
    if level == "patient":
        return patients
    sides = facts_of(predictions, samples)["side"]
    return (patients + "/" + sides).where((patients != "") & (sides != ""), "")


def _truth(images: pd.DataFrame) -> pd.Series:
    """The true class of each (fold, seed, unit) for which there is one."""
    labels = images[[*KEYS, "y_true"]].drop_duplicates()
    # an unknown name may be the most severe of all, so that it is never passed over
    labels["severity"] = labels["y_true"].str.lower().map(SEVERITY).astype("float64").fillna(np.inf)
    worst = labels[labels["severity"] == labels.groupby(KEYS)["severity"].transform("max")]
    alone = ~labels.duplicated(KEYS, keep=False)
    ordered = np.isfinite(worst["severity"]) & ~worst.duplicated(KEYS, keep=False)
    return worst[ordered | alone.loc[worst.index]].set_index(KEYS)["y_true"]


def _scores(units: Combined) -> dict[str, Any]:
    table = units.predictions
    folds = metrics_by_fold(table, LEVEL_METRICS)
    scores = {"accuracy_std": float(folds["accuracy"].std(ddof=1))}
    for name, limits in metric_intervals(table, names=LEVEL_METRICS).items():
        scores |= {name: float(folds[name].mean()), **interval_columns({name: limits})}
    counts = {"n_units": table["sample_id"].nunique(), "n_groups": table["group_id"].nunique()}
    return {**counts, "unplaced_images": units.unplaced, "undecided_units": units.undecided, **scores}
