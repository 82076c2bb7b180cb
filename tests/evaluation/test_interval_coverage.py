"""How often a 95 % interval holds the truth, over 1,000 simulated clustered datasets of a known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.evaluation.statistics import metric_intervals

FOLDS, GROUPS, IMAGES, DATASETS, RESAMPLES = 5, 40, 4, 1000, 400
ACCURACY = np.array([0.6, 0.65, 0.7, 0.75, 0.8])  # of each fold's model
GROUP = np.arange(FOLDS * GROUPS).repeat(IMAGES)
FOLD = GROUP % FOLDS


def simulated(rng: np.random.Generator) -> pd.DataFrame:
    """Two classes, one a group; a group's share of right images follows a beta distribution, correlation 1/2.

    True in each class alike: balanced accuracy and accuracy have the same truth.
    """
    share = rng.beta(ACCURACY, 1.0 - ACCURACY, size=(GROUPS, FOLDS)).ravel()[GROUP]
    truth = rng.integers(2, size=FOLDS * GROUPS)[GROUP]
    guess = np.where(rng.random(len(GROUP)) < share, truth, 1 - truth)
    return pd.DataFrame({"group_id": GROUP, "fold": FOLD, "seed": 0, "y_true": truth, "y_pred": guess})


def covers(predictions: pd.DataFrame, seed: int, names: tuple[str, ...]) -> list[bool]:
    limits = metric_intervals(predictions, resamples=RESAMPLES, seed=seed, names=names)
    return [low <= ACCURACY.mean() <= high for low, high in limits.values()]


@pytest.mark.timeout(900)  # about 10 s on a free core
def test_it_covers_the_truth_where_an_interval_over_images_does_not():
    """Accuracy (and balanced accuracy): five folds, as in the tables, of 40 groups of four images each.

    A longer simulation (3,000 datasets, other seeds) covered 95.2 % with 40 groups a fold and 95.6 % with 20. 1,000
    datasets scatter around that by 0.7 points, so that a seed below 93 % would be a rare one.
    """
    rng = np.random.default_rng(20)
    by_group, by_image = [], []
    for seed in range(DATASETS):
        predictions = simulated(rng)
        by_group.append(covers(predictions, seed, ("accuracy", "balanced_accuracy")))
        if seed < DATASETS // 4:
            images = predictions.assign(group_id=np.arange(len(predictions)))
            by_image.append(covers(images, seed, ("accuracy",)))
    accuracy, balanced = np.mean(by_group, axis=0)
    assert 0.93 <= accuracy <= 0.97
    assert 0.93 <= balanced <= 0.97
    assert np.mean(by_image) < 0.90
