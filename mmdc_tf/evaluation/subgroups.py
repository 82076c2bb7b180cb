"""Results by age, breast density, view, side and digitizer, from predictions and what is known of their samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from mmdc_tf.datasets.schema import SIDES, VIEWS
from mmdc_tf.evaluation.levels import facts_of, fold_scores
from mmdc_tf.evaluation.predictions import class_names
from mmdc_tf.evaluation.statistics import metric_intervals

UNKNOWN = "unknown"
AGE_BANDS = {"<40": (0, 40), "40–49": (40, 50), "50–59": (50, 60), "60–69": (60, 70), "70+": (70, np.inf)}
DENSITIES = ("1", "2", "3", "4")
FEW_IMAGES, FEW_GROUPS = 10, 5
ONE_CLASS, FEW = "one class only", "few"


def subgroup_results(predictions: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Accuracy, macro F1 and AUC of each subgroup; nothing is tested for significance.

    Accuracy and F1 are computed over the images of all folds and seeds together, since a fold may hold few of a
    subgroup or none; the AUC is the mean over the folds in which it is defined, since scores of different models are
    not on one scale (Forman and Scholz, Apples-to-Apples in Cross-Validation Studies, SIGKDD Explorations 12, 2010).

    Args:
        predictions: as from ``read_predictions``: one row of a table under one protocol.
        samples: columns ``sample_id``, ``age``, ``density``, ``view``, ``side``, ``digitizer``, as from
            ``mmdc_tf.experiments.run_folder.read_samples``; every scored image must be there.

    Returns:
        One line a subgroup that occurs, in the order of ``SUBGROUPS`` and of the values: ``subgroup``, ``value``,
        ``n_images`` and ``n_groups`` (each counted once, whatever the number of seeds), ``n_<class>`` each,
        ``accuracy``, ``accuracy_ci_low``, ``accuracy_ci_high`` (95 % bootstrap over groups; NaN with one group only),
        ``f1``, ``auc`` (fractions), ``flags``. A kind of which nothing is known has no line. ``flags`` joins with "; "
        what a reader must know: "one class only" (the accuracy is then the recall of that class; F1 and AUC are NaN)
        and "few" (fewer than 10 images or 5 groups).

    Raises:
        InputError: ``samples`` lacks a scored image.
    """
    facts = facts_of(predictions, samples)
    values = {name: value_of(facts) for name, value_of in SUBGROUPS.items()}
    lines = [
        {"subgroup": name, "value": value, **_result(predictions[column == value])}
        for name, column in values.items()
        if (column != UNKNOWN).any()
        for value in in_order(set(column))
    ]
    return pd.DataFrame(lines, columns=list(_columns(predictions)))


def in_order(values: set[str]) -> list[str]:
    """The values of one kind as they are printed: unknown last; ``<40`` stands before ``40–49``."""
    known = [*AGE_BANDS, *DENSITIES, *VIEWS, *SIDES]
    places = {value: place for place, value in enumerate(known)}
    return sorted(values, key=lambda value: (value == UNKNOWN, places.get(value, len(known)), value))


def _age_band(facts: pd.DataFrame) -> pd.Series:
    """Bands of ten years; a band holds its lower limit."""
    conditions = [facts["age"].ge(low) & facts["age"].lt(high) for low, high in AGE_BANDS.values()]
    return pd.Series(np.select(conditions, list(AGE_BANDS), UNKNOWN), facts.index)


def _density(facts: pd.DataFrame) -> pd.Series:
    """BI-RADS density; a value between two of the scale is unknown."""
    conditions = [facts["density"] == float(value) for value in DENSITIES]
    return pd.Series(np.select(conditions, list(DENSITIES), UNKNOWN), facts.index)


def _text(column: str) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda facts: facts[column].replace("", UNKNOWN)


SUBGROUPS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "age": _age_band,
    "density": _density,
    "view": _text("view"),
    "side": _text("side"),
    "digitizer": _text("digitizer"),
}


TITLES = {
    "age": "Age in years",
    "density": "Breast density (BI-RADS)",
    "view": "View",
    "side": "Side",
    "digitizer": "Digitizer (the letter that starts the file name)",
}
"""Of ``SUBGROUPS``, for people."""


def _columns(predictions: pd.DataFrame) -> tuple[str, ...]:
    counts = [f"n_{name}" for name in class_names(predictions)]
    scores = ("accuracy", "accuracy_ci_low", "accuracy_ci_high", "f1", "auc", "flags")
    return ("subgroup", "value", "n_images", "n_groups", *counts, *scores)


def _result(part: pd.DataFrame) -> dict[str, Any]:
    truth, guess = part["y_true"], part["y_pred"]
    images, groups = part["sample_id"].nunique(), part["group_id"].nunique()
    one_class = truth.nunique() == 1
    low, high = _interval(part) if groups > 1 else (np.nan, np.nan)
    flags = {ONE_CLASS: one_class, FEW: images < FEW_IMAGES or groups < FEW_GROUPS}
    return {
        "n_images": images,
        "n_groups": groups,
        **{f"n_{name}": part.loc[truth == name, "sample_id"].nunique() for name in class_names(part)},
        "accuracy": float((truth == guess).mean()),
        "accuracy_ci_low": low,
        "accuracy_ci_high": high,
        "f1": np.nan if one_class else float(f1_score(truth, guess, average="macro", zero_division=0.0)),
        "auc": float(fold_scores(part, ("auc",))["auc"].mean()),  # a fold in which it is undefined has no part
        "flags": "; ".join(flag for flag, is_so in flags.items() if is_so),
    }


def _interval(part: pd.DataFrame) -> tuple[float, float]:
    """Of the accuracy over all folds and seeds together; drawn within folds, a group alone in its fold never varies."""
    return metric_intervals(part.assign(fold=0, seed=0), names=("accuracy",))["accuracy"]
