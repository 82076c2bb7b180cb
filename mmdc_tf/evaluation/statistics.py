"""How sure a number is: intervals by bootstrap over groups."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from mmdc_tf.errors import InputError
from mmdc_tf.evaluation.metrics import AGREEMENT_METRICS, METRICS, PROBABILITY_METRICS, make_scorer

RESAMPLES = 2000
NUMBERS_AT_ONCE = 2**17  # of a block of draws (1 MB): bounded memory, and fast because it stays in the cache
LIMITS = ("low", "high")
INTERVAL_METRICS = (*METRICS, *AGREEMENT_METRICS, *PROBABILITY_METRICS)


def group_draws(
    groups: int, resamples: int, rng: np.random.Generator, width: int | None = None
) -> Iterator[np.ndarray]:
    """How often each group of a fold is drawn; a block of draws at a time.

    Of g groups g − 1 are drawn, with replacement. The variance of a drawn mean is then on average that of the mean; of
    g drawn ones it would be (g − 1)/g of it, and intervals too narrow where groups are few (Rao and Wu, Journal of the
    American Statistical Association 83, 1988, section 2). A group that is alone is always drawn: it adds no width.

    Args:
        groups: g, at least 1.
        resamples: number of draws.
        rng: the same state gives the same draws, whatever the ``width``.
        width: numbers that the caller holds for each draw, which bounds a block; default: one a group.

    Returns:
        float64 (draws, groups) each, whole numbers; ``resamples`` draws together.
    """
    size = max(groups - 1, 1)
    block = max(1, NUMBERS_AT_ONCE // max(groups, width or 0))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = rng.integers(groups, size=(count, size)) + groups * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups).astype("float64")


def metric_intervals(
    predictions: pd.DataFrame,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    names: tuple[str, ...] = INTERVAL_METRICS,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of the mean of each metric over folds and seeds.

    Whole groups are drawn within each fold (``group_draws``): images of one patient, or near-twins, are not independent
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13). The interval says how far the
    number would move with other patients, the trained models being as they are; it does not hold what another training
    would change. How often it covers the value for many samples: docs/integrity.md.

    The calibration error is the one number whose draws lie systematically above it: the noise of a draw adds to every
    bin's gap. So its draws are moved by the difference of their mean and the printed number (the bootstrap's estimate
    of the bias), and limits below 0 are 0. The bias that the printed number itself has stays.

    Args:
        predictions: columns ``group_id``, ``fold``, ``seed``, ``y_true``, ``y_pred``, and p_<class> for each class
            where ``names`` has a name of ``PROBABILITY_METRICS``.
        level: coverage, in (0, 1).
        resamples: bootstrap draws.
        seed: of the draws.
        names: of ``INTERVAL_METRICS``.

    Returns:
        Lower and upper limit for each name, in the units of ``all_metrics``. Draws in which a metric is not defined
        (the AUC without one class) are left out; NaN where none is left.

    Raises:
        InputError: there is no prediction, or the probabilities do not fit, as in ``truth_and_probabilities``.
    """
    means = _means(predictions, resamples, seed, names)
    tail = (1.0 - level) / 2.0
    return {name: _limits(name, means[0, column], means[1:, column], tail) for column, name in enumerate(names)}


def interval_columns(limits: dict[str, tuple[float, float]]) -> dict[str, float]:
    """``metric_intervals`` as columns of a table: ``NAME_ci_low`` and ``NAME_ci_high`` of each name."""
    return {
        f"{name}_ci_{side}": limit for name, pair in limits.items() for side, limit in zip(LIMITS, pair, strict=True)
    }


def _limits(name: str, printed: float, drawn: np.ndarray, tail: float) -> tuple[float, float]:
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return np.nan, np.nan
    if name == "ece":
        drawn = np.maximum(drawn - drawn.mean() + printed, 0.0)
    # of these quantiles the mean coverage is right for any number of draws; NumPy's default is too narrow with few
    low, high = np.quantile(drawn, [tail, 1.0 - tail], method="weibull")
    return float(low), float(high)


def _means(predictions: pd.DataFrame, resamples: int, seed: int, names: tuple[str, ...]) -> np.ndarray:
    """(1 + resamples, names): first of the table as it is, then of its draws."""
    if predictions.empty:
        raise InputError("Expected at least one prediction. Received: an empty table. Train a fold first.")
    rng = np.random.default_rng(seed)
    parts = predictions.groupby("fold", sort=True)
    with threadpool_limits(1, user_api="blas"):  # the products are narrow: more threads wait for one another
        folds = [_fold_scores(part, rng, resamples, names) for _, part in parts]
    scores = np.concatenate(folds)
    defined = ~np.isnan(scores[:, :1])
    total = np.where(defined, scores, 0.0).sum(axis=0)
    return np.divide(total, defined.sum(axis=0), out=np.full(total.shape, np.nan), where=defined.any(axis=0))


def _fold_scores(part: pd.DataFrame, rng: np.random.Generator, resamples: int, names: tuple[str, ...]) -> np.ndarray:
    """(seeds, 1 + resamples, names) of one fold."""
    groups, index = np.unique(part["group_id"].to_numpy(dtype=str), return_inverse=True)
    seeds = part["seed"].to_numpy()
    chosen = [seeds == seed for seed in np.unique(seeds)]
    scorers = [make_scorer(part[rows], index[rows], len(groups), names) for rows in chosen]
    width = max(int(rows.sum()) for rows in chosen)
    blocks = itertools.chain([np.ones((1, len(groups)))], group_draws(len(groups), resamples, rng, width))
    scores = [np.stack([np.stack(list(scorer(weights).values()), axis=1) for scorer in scorers]) for weights in blocks]
    return np.concatenate(scores, axis=1)
