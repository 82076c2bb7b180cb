"""A model on a data set that it was not made from: which classes count, and what is scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from mmdc_tf.errors import ConfigurationError, counted
from mmdc_tf.evaluation.calibration import fit_temperature, outcomes, threshold_at_sensitivity, with_temperature
from mmdc_tf.evaluation.metrics import all_metrics
from mmdc_tf.evaluation.statistics import interval_columns, metric_intervals

SAME_CLASS = {"cancer": "malignant"}
"""Names that count as one class: label of one data set → name in another."""
METRICS = ("accuracy", "balanced_accuracy", "f1", "auc", "ece", "nll")
LOCAL, SCORED = "recalibration", "scored"
SCORE = "positive_score"


class SharedClasses(NamedTuple):
    """The classes that model and data set share, and what is left out.

    Args:
        names: of the shared classes, as the model calls them, in its order.
        labels: label of the data set → the model's name; what is left out is not in it.
        notes: a line for each class that only one of the two has.
    """

    names: tuple[str, ...]
    labels: dict[str, str]
    notes: tuple[str, ...]


def shared_classes(model: Sequence[str], counts: dict[str, int]) -> SharedClasses:
    """Which labels of a data set a model can be scored on.

    A class that only the data set has is left out with its images. One that only the model has stays no answer: its
    probability is shared among the others, in their proportion.

    Args:
        model: its class names.
        counts: label → images of the data set.

    Raises:
        ConfigurationError: they share fewer than two classes.
    """
    common = {SAME_CLASS.get(name, name): name for name in model}
    labels = {label: common[key] for label in counts if (key := SAME_CLASS.get(label, label)) in common}
    names = tuple(name for name in model if name in labels.values())
    if len(names) < 2:
        raise ConfigurationError(
            f"Expected at least two classes that model and data set share. Received: {', '.join(model)} and "
            f"{', '.join(counts)}. Choose another data set or model."
        )
    notes = [f"{label} counts as {name}" for label, name in labels.items() if label != name]
    notes += [
        f"{counted(count, 'image')} of {label} left out: the model has no such class"
        for label, count in counts.items()
        if label not in labels and count
    ]
    notes += [
        f"the model's {name} is no answer here: its probability is shared among the others"
        for name in model
        if name not in names
    ]
    return SharedClasses(names, labels, tuple(notes))


def restricted(predictions: pd.DataFrame, classes: SharedClasses, positive: str | None = None) -> pd.DataFrame:
    """The predictions on the shared classes alone, probabilities summing to 1 again.

    Args:
        predictions: with p_<class> of every class of the model, and ``y_true`` as the data set calls it.
        positive: the class that the model's threshold is for.

    Returns:
        The rows whose label is shared, ``y_true`` and ``y_pred`` of ``classes.names``; and ``SCORE``, the probability
        of ``positive`` among all classes of the model, which is what its threshold was chosen on.
    """
    kept = predictions[predictions["y_true"].isin(list(classes.labels))].reset_index(drop=True)
    columns = [f"p_{name}" for name in classes.names]
    own = kept[f"p_{positive}"] if positive is not None else np.nan
    shares = kept[columns].to_numpy(dtype=float)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    kept = kept.drop(columns=[name for name in kept if str(name).startswith("p_")])
    kept[columns] = shares
    chosen = np.asarray(classes.names, dtype=object)[shares.argmax(axis=1)]
    return kept.assign(y_true=kept["y_true"].map(classes.labels), y_pred=chosen).assign(**{SCORE: own})


def local_cases(predictions: pd.DataFrame, count: int, seed: int = 0) -> pd.Series:
    """``LOCAL`` or ``SCORED`` for each row: whole groups of about ``count`` images to fit on, the rest to score.

    Drawn at random from every class as often as it occurs.

    Args:
        predictions: columns ``group_id`` and ``y_true``.
        count: images, above 0.

    Raises:
        ConfigurationError: so many would leave too few groups, or take too few.
    """
    groups = predictions.groupby("group_id")["y_true"].agg(["first", "size"])
    share = count / len(predictions)
    try:
        chosen, _ = train_test_split(groups.index, train_size=share, stratify=groups["first"], random_state=seed)
    except ValueError as error:
        raise ConfigurationError(
            f"Expected a number of local cases that leaves some of every class on both sides. Received: "
            f"recalibrate={count} of {len(predictions)} images ({error}). Choose another number."
        ) from error
    return pd.Series(np.where(predictions["group_id"].isin(chosen), LOCAL, SCORED), predictions.index)


def external_scores(
    predictions: pd.DataFrame,
    positive: str | None = None,
    threshold: float | None = None,
    sensitivity: float = 0.9,
    parts: pd.Series | None = None,
    resamples: int = 2000,
) -> dict[str, Any]:
    """The numbers of one model on an external set.

    Args:
        predictions: as from ``restricted``, calibrated as the model was; all of one fold.
        positive: the class of the threshold; None for no decisions.
        threshold: frozen, of the model's own validation part.
        sensitivity: that a refitted threshold is to reach.
        parts: as from ``local_cases``: temperature and threshold are fitted again on ``LOCAL``, and only ``SCORED``
            counts.
        resamples: bootstrap draws over groups.

    Returns:
        ``n_images``, ``n_groups``; each of ``METRICS`` with its 95 % interval (``NAME_ci_low`` …); with a threshold
        ``sensitivity`` and ``specificity`` at it; with ``parts`` also ``ece_refitted``, ``nll_refitted``,
        ``temperature_refitted``, ``threshold_refitted``, ``sensitivity_refitted`` and ``specificity_refitted``.
    """
    scored = predictions if parts is None else predictions[parts == SCORED]
    found: dict[str, Any] = {"n_images": len(scored), "n_groups": scored["group_id"].nunique()}
    limits = interval_columns(metric_intervals(scored, names=METRICS, resamples=resamples))
    found |= {**all_metrics(scored, METRICS), **limits}
    if positive is not None and threshold is not None:
        found |= _decisions(scored, positive, threshold, "")
    if parts is not None:
        local = predictions[parts == LOCAL]
        temperature = fit_temperature(local)
        again = with_temperature(scored, temperature)
        found |= {f"{name}_refitted": value for name, value in all_metrics(again, ("ece", "nll")).items()}
        found |= {"temperature_refitted": temperature, "n_local": len(local)}
        if positive is not None:
            refitted = threshold_at_sensitivity(*_positives(local, positive), sensitivity)
            found |= {"threshold_refitted": refitted, **_decisions(scored, positive, refitted, "_refitted")}
    return found


def _decisions(scored: pd.DataFrame, positive: str, threshold: float, end: str) -> dict[str, float | None]:
    truth, chances = _positives(scored, positive)
    found = outcomes(truth, chances >= threshold)
    return {f"{name}{end}": found[name] for name in ("sensitivity", "specificity")}


def _positives(predictions: pd.DataFrame, positive: str) -> tuple[np.ndarray, np.ndarray]:
    """Which are of the class, bool (n,), and its probability, float (n,)."""
    return (predictions["y_true"] == positive).to_numpy(), predictions[SCORE].to_numpy(dtype=float)
