"""Predictions of simulated patients, whose images share a class and much of the error, and SciPy's interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

CLASSES = np.array(["benign", "cancer", "normal"])


def clustered(rng: np.random.Generator, folds: int, groups: int, images: int = 4, seeds: int = 1) -> pd.DataFrame:
    """``groups`` groups of ``images`` in each of ``folds`` folds, three classes of unequal frequency.

    About two thirds are right. Of the error's variance four fifths are shared within a group.
    """
    total = folds * groups
    truth = rng.choice(3, size=total, p=[0.5, 0.3, 0.2]).repeat(images)
    group = np.arange(total).repeat(images)
    return pd.concat([_one_seed(rng, truth, group, folds, seed) for seed in range(seeds)], ignore_index=True)


def _one_seed(rng: np.random.Generator, truth: np.ndarray, group: np.ndarray, folds: int, seed: int) -> pd.DataFrame:
    shared = rng.normal(0.0, 1.2, (group[-1] + 1, 3))[group]
    scores = np.exp(1.6 * np.eye(3)[truth] + shared + rng.normal(0.0, 0.6, (len(group), 3)))
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    return pd.DataFrame(
        {
            "sample_id": [f"s{index}" for index in range(len(group))],
            "group_id": [f"g{index}" for index in group],
            "fold": group % folds,
            "seed": seed,
            "y_true": CLASSES[truth],
            "y_pred": CLASSES[probabilities.argmax(axis=1)],
            **{f"p_{name}": probabilities[:, index] for index, name in enumerate(CLASSES)},
        }
    )


def interval_by_scipy(sums: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap of a mean over images, from each group's sum and number of images."""
    result = stats.bootstrap(
        (sums, sizes),
        lambda part, total, axis: part.sum(axis=axis) / total.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    )
    return tuple(result.confidence_interval)
