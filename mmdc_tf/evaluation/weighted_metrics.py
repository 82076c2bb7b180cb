"""The metrics of one fold and seed for many draws of its groups at once.

A draw is a weight for each group: how often it was drawn. All but the AUC follow from sums over groups, so that many
draws are one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from mmdc_tf.evaluation.metrics import AGREEMENT_METRICS, METRICS
from mmdc_tf.evaluation.probability_metrics import (
    BINS,
    PROBABILITY_METRICS,
    confidence_gaps,
    log_losses,
    squared_errors,
    truth_and_probabilities,
)

Scorer = Callable[[np.ndarray], dict[str, np.ndarray]]


def make_scorer(part: pd.DataFrame, index: np.ndarray, groups: int, names: tuple[str, ...]) -> Scorer:
    """What scores the draws of one fold and seed.

    Args:
        part: its predictions; columns ``y_true`` and ``y_pred``, and p_<class> where a name of
            ``PROBABILITY_METRICS`` is asked for.
        index: int (n,), the group of each line, 0 … groups - 1.
        groups: the number of groups of the fold.
        names: of ``METRICS``, ``AGREEMENT_METRICS`` and ``PROBABILITY_METRICS``.

    Returns:
        A function of weights, float (draws, groups), to (draws,) for each name, as ``all_metrics`` gives them on the
        table in which every line stands as often as its group was drawn; NaN where undefined, and all of them where
        a draw has no line.

    Raises:
        InputError: as in ``truth_and_probabilities``.
    """
    families = {
        _class_scorer: (*METRICS, *AGREEMENT_METRICS),
        _sum_scorer: tuple(name for name in PROBABILITY_METRICS if name != "auc"),
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
    return lambda weights: _class_metrics(np.tensordot(weights, counts, axes=1))


def _class_metrics(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Confusions (draws, classes, classes) to (draws,) each; averages run over the classes that occur in the draw."""
    right = np.diagonal(counts, axis1=1, axis2=2)
    true, claimed, total = counts.sum(axis=2), counts.sum(axis=1), counts.sum(axis=(1, 2))
    precision, recall = _ratio(right, claimed, 0.0), _ratio(right, true, 0.0)
    f1 = _ratio(2.0 * right, true + claimed, 0.0)
    occurs = (true + claimed) > 0
    hits, chance = right.sum(axis=1), (true * claimed).sum(axis=1)  # whole numbers, so that a kappa of 0 is exactly 0
    return {
        "accuracy": _ratio(hits, total),
        **{name: _mean(values, occurs) for name, values in zip(METRICS[1:], (precision, recall, f1), strict=True)},
        "balanced_accuracy": _mean(recall, true > 0),
        "kappa": _ratio(hits * total - chance, total**2 - chance),
    }


def _sum_scorer(part: pd.DataFrame, index: np.ndarray, groups: int) -> Scorer:
    """Brier score, calibration error and log likelihood, from sums over groups (and bins)."""
    truth, probabilities = truth_and_probabilities(part)
    bins, gaps = confidence_gaps(truth, probabilities)
    gap_sums = np.zeros((groups, BINS))
    np.add.at(gap_sums, (index, bins), gaps)
    logs = log_losses(probabilities[np.arange(len(truth)), truth])
    per_sample = (squared_errors(truth, probabilities), logs)
    squared_sums, log_sums = (np.bincount(index, values, groups) for values in per_sample)
    sizes = np.bincount(index, minlength=groups).astype("float64")

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        sums = {
            "brier": weights @ squared_sums,
            "ece": np.abs(weights @ gap_sums).sum(axis=1),
            "nll": weights @ log_sums,
        }
        total = weights @ sizes
        return {name: _ratio(values, total) for name, values in sums.items()}

    return score


def _auc_scorer(part: pd.DataFrame, index: np.ndarray, groups: int) -> Scorer:
    """Each class against the rest; a class with samples on one side only has no part in the mean."""
    truth, probabilities = truth_and_probabilities(part)
    sides = [_Sides(truth == code, probabilities[:, code], index) for code in range(probabilities.shape[1])]

    def score(weights: np.ndarray) -> dict[str, np.ndarray]:
        by_group = np.ascontiguousarray(weights.T)
        areas = np.stack([side.areas(by_group) for side in sides], axis=1)
        return {"auc": _mean(areas, ~np.isnan(areas))}

    return score


class _Sides:
    """The samples of a class and the others, sorted by score: each a row of the weights of its group."""

    def __init__(self, positive: np.ndarray, scores: np.ndarray, index: np.ndarray) -> None:
        ranked = np.argsort(scores, kind="stable")
        positive, scores, index = positive[ranked], scores[ranked], index[ranked]
        self.positive, self.negative = index[positive], index[~positive]
        self.below = np.searchsorted(scores[~positive], scores[positive], side="left")
        self.not_above = np.searchsorted(scores[~positive], scores[positive], side="right")

    def areas(self, by_group: np.ndarray) -> np.ndarray:
        """Weights (groups, draws) to the share of pairs in the right order, (draws,); NaN where there is no pair."""
        weight = by_group[self.positive]
        sums = np.zeros((len(self.negative) + 1, by_group.shape[1]))
        np.cumsum(by_group[self.negative], axis=0, out=sums[1:])
        wins = np.einsum("id,id->d", weight, sums[self.below])
        # a tie is half a win
        wins = (wins + np.einsum("id,id->d", weight, sums[self.not_above])) / 2.0
        return _ratio(wins, weight.sum(axis=0) * sums[-1])


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is counted; NaN where nothing is."""
    return _ratio(np.where(counted, values, 0.0).sum(axis=-1), counted.sum(axis=-1))


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    """``otherwise`` where there is nothing to share."""
    return np.divide(part, whole, out=np.full(np.shape(part), otherwise), where=whole > 0)
