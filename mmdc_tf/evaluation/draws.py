"""Bootstrap draws of whole groups, the same for the intervals of a number and of a difference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

NUMBERS_AT_ONCE = 2**17  # of a block of draws (1 MB): bounded memory, and fast because it stays in the cache


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
