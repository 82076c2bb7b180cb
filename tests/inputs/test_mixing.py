"""The shares that mixing draws, and what mixed samples weigh."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from mmdc_tf.inputs.mixing import with_mixing, with_sample_weights


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_shares_are_of_the_beta_distribution(alpha):
    batch = ({"features0": tf.eye(8)}, tf.eye(8))
    dataset = with_mixing(tf.data.Dataset.from_tensors(batch).repeat(1000), alpha, seed=0)
    # λ stands on the diagonal of all that are not their own partner
    shares = np.array([label.diagonal().min() for _, label in dataset.as_numpy_iterator()])
    assert scipy.stats.kstest(shares, scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_a_very_small_alpha_gives_numbers_still():
    dataset = with_mixing(tf.data.Dataset.from_tensors(({"features0": tf.eye(8)}, tf.eye(8))).repeat(300), 0.01, 0)
    labels = np.stack([label for _, label in dataset.as_numpy_iterator()])
    np.testing.assert_allclose(labels.sum(axis=2), 1)
    assert np.minimum(labels, 1 - labels).max(axis=(1, 2)).mean() < 0.05  # hardly mixed


def test_a_sample_weighs_the_mean_of_its_classes_by_their_shares():
    label = tf.constant([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.5, 0.5]])
    dataset = with_sample_weights(tf.data.Dataset.from_tensors(({}, label)), {0: 2.0, 1: 0.5})
    _, same, weights = next(dataset.as_numpy_iterator())
    np.testing.assert_array_equal(same, label)
    # 2; 0.25 · 2 + 0.75 · 0.5; 0.5 · 0.5 + 0.5 · 1, as a class without a weight weighs 1
    np.testing.assert_allclose(weights, [2.0, 0.875, 0.75])
