"""Results by age, breast density, view, side and digitizer, from predictions and what is known of their samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.schema import SIDES, VIEWS
from mmdc_tf.evaluation.levels import facts_of
from mmdc_tf.evaluation.metrics import all_metrics, metrics_by_fold
from mmdc_tf.evaluation.predictions import class_names
from mmdc_tf.evaluation.statistics import metric_intervals

TITLES = {
    "age": "Age in years",
    "density": "Breast density (BI-RADS)",
    "view": "View",
    "side": "Side",
    "digitizer": "Site, device or digitizer",
}
"""The kinds of subgroups, in order, as people read them."""
UNKNOWN = "unknown"
AGE_BANDS = {"<40": 0, "40–49": 40, "50–59": 50, "60–69": 60, "70+": 70}
"""Name → least age in years."""
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
        samples: columns ``sample_id``, ``age``, ``density``, ``view``, ``side``, ``digitizer``; every scored image
            must be there.

    Returns:
        One line a subgroup that occurs, in the order of ``TITLES`` and of the values: ``subgroup``, ``value``,
        ``n_images`` and ``n_groups`` (each counted once, whatever the number of seeds), ``n_<class>`` each,
        ``accuracy``, ``accuracy_ci_low``, ``accuracy_ci_high`` (95 % bootstrap over groups; NaN with one group only),
        ``f1``, ``auc`` (fractions), ``flags``. A kind of which nothing is known has no line. ``flags`` joins with "; "
        what a reader must know: "one class only" (the accuracy is then the recall of that class; F1 and AUC are NaN)
        and "few" (fewer than 10 images or 5 groups).

    Raises:
        InputError: ``samples`` lacks a scored image.
    """
    lines = [
        {"subgroup": name, "value": value, **_result(predictions[values == value])}
        for name, values in _values(facts_of(predictions, samples)).items()
        if (values != UNKNOWN).any()
        for value in sorted(set(values), key=_place)
    ]
    counts = [f"n_{name}" for name in class_names(predictions)]
    scores = ("accuracy", "accuracy_ci_low", "accuracy_ci_high", "f1", "auc", "flags")
    return pd.DataFrame(lines, columns=["subgroup", "value", "n_images", "n_groups", *counts, *scores])


def _values(facts: pd.DataFrame) -> dict[str, pd.Series]:
    """The value of each kind for each line; a density between two of the scale is unknown."""
    ages = pd.cut(facts["age"], [*AGE_BANDS.values(), np.inf], right=False, labels=list(AGE_BANDS))
    densities = facts["density"].map({float(value): value for value in DENSITIES})
    texts = {name: facts[name].mask(facts[name] == "") for name in ("view", "side", "digitizer")}
    known = {"age": ages, "density": densities, **texts}
    return {name: values.astype(object).where(values.notna(), UNKNOWN) for name, values in known.items()}


def _place(value: str) -> tuple[bool, int, str]:
    """Unknown last; ``<40`` before ``40–49``; digitizers, which have no order, by the alphabet."""
    known = [*AGE_BANDS, *DENSITIES, *VIEWS, *SIDES]
    return value == UNKNOWN, known.index(value) if value in known else len(known), value


def _result(part: pd.DataFrame) -> dict[str, Any]:
    truth, groups = part["y_true"], part["group_id"].nunique()
    images, one_class = part["sample_id"].nunique(), truth.nunique() == 1
    scores = all_metrics(part, ("accuracy", "f1"))
    # over all folds and seeds together: drawn within folds, a group alone in its fold would never vary
    limits = metric_intervals(part.assign(fold=0, seed=0), names=("accuracy",))["accuracy"]
    low, high = limits if groups > 1 else (np.nan, np.nan)
    flags = {ONE_CLASS: one_class, FEW: images < FEW_IMAGES or groups < FEW_GROUPS}
    return {
        "n_images": images,
        "n_groups": groups,
        **{f"n_{name}": part.loc[truth == name, "sample_id"].nunique() for name in class_names(part)},
        "accuracy": scores["accuracy"],
        "accuracy_ci_low": low,
        "accuracy_ci_high": high,
        "f1": np.nan if one_class else scores["f1"],
        "auc": float(metrics_by_fold(part, ("auc",))["auc"].mean()),  # a fold in which it is undefined has no part
        "flags": "; ".join(flag for flag, is_so in flags.items() if is_so),
    }
