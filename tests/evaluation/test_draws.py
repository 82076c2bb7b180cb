"""Draws of groups: of the right variance, equally likely, and the same in blocks of any size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mmdc_tf.evaluation import draws
from mmdc_tf.evaluation.draws import group_draws


def drawn(groups: int, resamples: int, width: int | None = None, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(group_draws(groups, resamples, np.random.default_rng(seed), width)))


def test_of_g_groups_one_less_is_drawn():
    table = drawn(7, 50)
    assert table.shape == (50, 7)
    assert (table.sum(axis=1) == 6).all()
    assert table.max() > 1


def test_all_draws_of_three_groups_are_equally_likely():
    """Two of three with replacement: each pair of one group 1/9, each pair of two 2/9."""
    table = drawn(3, 20_000)
    for counts in itertools.product(range(3), repeat=3):
        if sum(counts) == 2:
            expected = 1 / 9 if max(counts) == 2 else 2 / 9
            assert (table == counts).all(axis=1).mean() == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize("groups", [2, 5, 30])
def test_the_variance_of_a_drawn_mean_is_that_of_the_mean(groups):
    """s²/g, with s² the unbiased variance; of g drawn groups it would be (g − 1)/g of it."""
    values = np.random.default_rng(1).normal(size=groups)
    means = drawn(groups, 40_000) @ values / (groups - 1)
    assert means.mean() == pytest.approx(values.mean(), abs=0.02)
    assert means.var() == pytest.approx(values.var(ddof=1) / groups, rel=0.03)


def test_a_group_that_is_alone_is_always_drawn():
    assert (drawn(1, 10) == 1).all()


def test_a_block_is_bounded_and_does_not_change_the_draws(monkeypatch):
    whole = drawn(9, 100)
    monkeypatch.setattr(draws, "NUMBERS_AT_ONCE", 90)
    blocks = list(group_draws(9, 100, np.random.default_rng(0)))
    assert {len(block) for block in blocks} == {10}
    assert len(next(group_draws(9, 100, np.random.default_rng(0), width=45))) == 2
    assert len(next(group_draws(9, 100, np.random.default_rng(0), width=900))) == 1
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    np.testing.assert_array_equal(drawn(9, 100, width=900), whole)
