"""The numbers of a predictions table: as it is, for each fold, or for many bootstrap draws of its groups at once.

A draw is a weight for each group: how often it was drawn. All numbers but the AUC follow from sums over groups, so that
many draws are one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.predictions import class_names

METRICS = ("accuracy", "precision", "recall", "f1")
THRESHOLD_METRICS = ("threshold_precision", "threshold_recall")
AGREEMENT_METRICS = ("balanced_accuracy", "kappa")
PROBABILITY_METRICS = ("auc", "brier", "ece", "nll")
ALL_METRICS = (*METRICS, *THRESHOLD_METRICS, *AGREEMENT_METRICS, *PROBABILITY_METRICS)
CLASS_SCORES = ("precision", "recall", "f1")
BINS = 15
WORST = 0.01  # share of the images that count as the worst cases
SMALLEST_PROBABILITY = float(np.finfo("float64").eps)  # what counts as 0, as in scikit-learn's log_loss

Scorer = Callable[[np.ndarray], dict[str, np.ndarray]]


def all_metrics(predictions: pd.DataFrame, names: tuple[str, ...] = ALL_METRICS) -> dict[str, float]:
    """Every number that is one value for a table; NaN where one is not defined.

    - ``METRICS``, the paper's four (section III-A; macro averages are our reading): accuracy, and precision, recall and
      F1 as mean over the classes that occur in ``y_true`` or ``y_pred``; the precision of a class that is never
      predicted is 0.
    - ``THRESHOLD_METRICS``, as ``keras.metrics.Precision`` and ``Recall`` give them on one-hot labels: a probability
      above one half is a claim, so that a sample may have none; precision is 0 where nothing is claimed. The published
      93.93 and 26.26 of Marroquín and Cáceres 2024 [20] (BRINT + ResNet50) are read in this way.
    - ``balanced_accuracy``: mean recall of the classes that occur in ``y_true``.
    - ``kappa``: agreement beyond chance, in [-1, 1], unweighted (Cohen, Educational and Psychological Measurement 20,
      1960); NaN where all samples are of one class and predicted so.
    - ``auc``: area under the ROC curve of each class against the rest, mean over the classes that have samples on both
      sides, ties count one half; NaN where all samples are of one class.
    - ``brier``: squared error summed over the classes, mean over samples, in [0, 2]: twice what is printed where two
      classes are scored by one probability (Brier, Monthly Weather Review 78, 1950).
    - ``ece``: gap between mean top probability and accuracy in 15 equal bins of the top probability, weighted by their
      samples (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3). With few samples it is
      above 0 even for a perfectly calibrated model.
    - ``nll``: mean negative natural logarithm of the true class's probability; 0 counts as 2.2e-16, so that it stays
      finite.

    Args:
        predictions: columns ``y_true`` and ``y_pred``, and p_<class> for each class unless ``names`` are of ``METRICS``
            and ``AGREEMENT_METRICS`` alone.
        names: of ``ALL_METRICS``.

    Raises:
        InputError: the probabilities do not fit, as in ``truth_and_probabilities``.
    """
    scores = make_scorer(predictions, np.zeros(len(predictions), dtype=int), 1, names)(np.ones((1, 1)))
    return {name: float(values[0]) for name, values in scores.items()}


def metrics_by_fold(predictions: pd.DataFrame, names: tuple[str, ...] = ALL_METRICS) -> pd.DataFrame:
    """``all_metrics`` of each fold and seed: one line each, with ``fold``, ``seed`` and ``n`` scored samples."""
    rows = [
        {"fold": fold, "seed": seed, "n": len(part), **all_metrics(part, names)}
        for (fold, seed), part in predictions.groupby(["fold", "seed"], sort=True)
    ]
    return pd.DataFrame(rows)


def class_results(predictions: pd.DataFrame) -> pd.DataFrame:
    """Precision, recall and F1 of each class: the mean over folds and seeds, as the table's own numbers are.

    A class's mean runs over the folds whose truths hold the class. Where every fold holds every class, the mean over
    the classes is the table's macro average.

    Args:
        predictions: columns ``sample_id``, ``fold``, ``seed``, ``y_true``, ``y_pred`` and p_<class> for each class.

    Returns:
        One line a class, in the order of the columns p_<class>: ``class``, ``precision``, ``recall``, ``f1``
        (fractions; NaN for a class that is never true) and ``support``, the images of the class, each counted once
        whatever the number of seeds.
    """
    classes = class_names(predictions)
    folds = []
    for _, part in predictions.groupby(["fold", "seed"]):
        table = pd.crosstab(part["y_true"], part["y_pred"])
        counts = table.reindex(index=classes, columns=classes, fill_value=0).to_numpy()
        folds.append(np.where(counts.sum(axis=1) > 0, _class_shares(counts), np.nan))
    means = pd.DataFrame(np.concatenate(folds, axis=1).T, columns=list(CLASS_SCORES))
    means = means.groupby(np.tile(np.arange(len(classes)), len(folds))).mean()
    support = predictions.groupby("y_true")["sample_id"].nunique().reindex(classes, fill_value=0)
    return means.assign(support=support.to_numpy()).set_axis(pd.Index(classes, name="class")).reset_index()


def truth_and_probabilities(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """True classes as numbers, int (n,), places among the p_ columns; and the probabilities, float64 (n, classes).

    Args:
        predictions: columns ``y_true`` and p_<class> for each class.

    Raises:
        InputError: there is no sample, a true class has no column, or a probability is not in [0, 1].
    """
    names = class_names(predictions)
    columns = [f"p_{name}" for name in names]
    probabilities = predictions[columns].to_numpy(dtype="float64")
    labels = predictions["y_true"].astype(str)
    truth = pd.Index(names).get_indexer(pd.Index(labels))
    if not len(truth) or (truth < 0).any():
        raise InputError(
            f"Expected at least one sample and a column p_<class> for every true class. Received: columns="
            f"{', '.join(columns) or 'none'}, classes without a column="
            f"{', '.join(sorted(set(labels[truth < 0]))) or 'none'}, samples={len(truth)}. Train this fold again."
        )
    if not ((probabilities >= 0.0) & (probabilities <= 1.0)).all():
        raise InputError(
            f"Expected probabilities in [0, 1]. Received: values from {probabilities.min()} to {probabilities.max()}. "
            "Give class probabilities, not logits or per cent."
        )
    return truth, probabilities


def worst_cases(predictions: pd.DataFrame) -> pd.DataFrame:
    """The ``WORST`` share of the images, at least one, whose true class got the least probability, as ``p_true``."""
    truth, probabilities = truth_and_probabilities(predictions)
    table = predictions.assign(p_true=probabilities[np.arange(len(truth)), truth])
    return table.nsmallest(max(1, round(WORST * len(table))), "p_true")


def log_losses(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(n,): negative natural logarithm of each true class's probability, at least ``SMALLEST_PROBABILITY``."""
    return -np.log(np.clip(probabilities[np.arange(len(truth)), truth], SMALLEST_PROBABILITY, 1.0))


def make_scorer(part: pd.DataFrame, index: np.ndarray, groups: int, names: tuple[str, ...]) -> Scorer:
    """What scores many draws of the groups of one fold and seed: weights, float (draws, groups), to (draws,) a name.

    The numbers are those of ``all_metrics`` on the table in which every line stands as often as its group was drawn;
    NaN where undefined, and all of them where a draw has no line.

    Args:
        part: its predictions, as for ``all_metrics``, which also names the errors.
        index: int (n,), the group of each line, 0 … groups - 1.
    """
    families = {
        _class_scorer: (*METRICS, *AGREEMENT_METRICS),
        _sum_scorer: (*THRESHOLD_METRICS, *PROBABILITY_METRICS[1:]),
        _auc_scorer: ("auc",),
    }
    scorers = [make(part, index, groups) for make, family in families.items() if set(family) & set(names)]

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        found = {name: values for scorer in scorers for name, values in scorer(weights).items()}
        return {name: found[name] for name in names}

    return score


def _class_scorer(part: pd.DataFrame, index: np.ndarray, groups: int) -> Scorer:
    """From confusion matrices (groups, classes, classes), truth by guess."""
    names, codes = np.unique(part[["y_true", "y_pred"]].to_numpy(dtype=str), return_inverse=True)
    truth, guess = codes.reshape(-1, 2).T
    counts = np.zeros((groups, len(names), len(names)))
    np.add.at(counts, (index, truth, guess), 1.0)

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        drawn = np.tensordot(weights, counts, axes=1)
        true, claimed, total = drawn.sum(axis=2), drawn.sum(axis=1), drawn.sum(axis=(1, 2))
        shares = dict(zip(CLASS_SCORES, _class_shares(drawn), strict=True))
        # whole numbers, so that a kappa of 0 is exactly 0
        hits, chance = np.trace(drawn, axis1=1, axis2=2), (true * claimed).sum(axis=1)
        return {
            "accuracy": _ratio(hits, total),
            **{name: _mean(values, true + claimed > 0) for name, values in shares.items()},
            "balanced_accuracy": _mean(shares["recall"], true > 0),
            "kappa": _ratio(hits * total - chance, total**2 - chance),
        }

    return score


def _class_shares(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confusions (…, classes, classes) to precision, recall and F1 (…, classes), 0 where there is nothing to share."""
    right, true, claimed = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)
    return _ratio(right, claimed, 0.0), _ratio(right, true, 0.0), _ratio(2.0 * right, true + claimed, 0.0)


def _sum_scorer(part: pd.DataFrame, index: np.ndarray, groups: int) -> Scorer:
    """From sums over groups (and bins)."""
    truth, probabilities = truth_and_probabilities(part)
    one_hot, claims = np.eye(probabilities.shape[1])[truth], probabilities > 0.5
    top = probabilities.max(axis=1)
    # bins of equal width, each with its upper edge and without its lower one
    bins = np.maximum(np.digitize(top, np.linspace(0.0, 1.0, BINS + 1), right=True) - 1, 0)
    gap_sums = np.zeros((groups, BINS))
    np.add.at(gap_sums, (index, bins), top - (probabilities.argmax(axis=1) == truth))
    per_sample = {
        "size": np.ones(len(truth)),
        "claims": claims.sum(axis=1),
        "right": (claims * one_hot).sum(axis=1),
        "brier": ((probabilities - one_hot) ** 2).sum(axis=1),
        "nll": log_losses(truth, probabilities),
    }
    group_sums = {name: np.bincount(index, values, groups) for name, values in per_sample.items()}

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        sums = {name: weights @ values for name, values in group_sums.items()}
        return {
            "threshold_precision": _ratio(sums["right"], sums["claims"], 0.0),
            "threshold_recall": _ratio(sums["right"], sums["size"]),
            "brier": _ratio(sums["brier"], sums["size"]),
            "ece": _ratio(np.abs(weights @ gap_sums).sum(axis=1), sums["size"]),
            "nll": _ratio(sums["nll"], sums["size"]),
        }

    return score


def _auc_scorer(part: pd.DataFrame, index: np.ndarray, groups: int) -> Scorer:
    """Each class against the rest; a class with samples on one side only has no part in the mean."""
    truth, probabilities = truth_and_probabilities(part)
    areas_of = [_area_of(truth == code, scores, index) for code, scores in enumerate(probabilities.T)]

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        by_group = np.ascontiguousarray(weights.T)
        areas = np.stack([area_of(by_group) for area_of in areas_of], axis=1)
        return {"auc": _mean(areas, ~np.isnan(areas))}

    return score


def _area_of(positive: np.ndarray, scores: np.ndarray, index: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What turns weights (groups, draws) into the share of pairs in the right order, (draws,); NaN without a pair."""
    ranked = np.argsort(scores, kind="stable")
    positive, scores, index = positive[ranked], scores[ranked], index[ranked]
    below, not_above = (np.searchsorted(scores[~positive], scores[positive], side) for side in ("left", "right"))

    def area(by_group: np.ndarray) -> np.ndarray:
        weight = by_group[index[positive]]
        sums = np.zeros((np.count_nonzero(~positive) + 1, by_group.shape[1]))
        np.cumsum(by_group[index[~positive]], axis=0, out=sums[1:])
        wins = np.einsum("id,id->d", weight, sums[below]) + np.einsum("id,id->d", weight, sums[not_above])
        return _ratio(wins / 2.0, weight.sum(axis=0) * sums[-1])  # a tie is half a win

    return area


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is counted; NaN where nothing is."""
    return _ratio(np.where(counted, values, 0.0).sum(axis=-1), counted.sum(axis=-1))


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """``otherwise`` where there is nothing to share."""
    return np.divide(part, whole, out=np.full(np.shape(part), otherwise), where=whole > 0)
