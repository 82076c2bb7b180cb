"""How well a simple model guesses the label under image-level and under group splits of the same images.

Both are stratified k-fold splits with out-of-fold predictions; they differ in that images of one group (patient,
near-twin cluster) stay together in the second. What the first gives more than the second is the leak's worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import bootstrap
from sklearn.base import ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

FOLDS = 5
RESAMPLES = 2000
MARGIN = 0.05
"""A probe is a finding where its interval lies above chance (or no leak) by more than this: of about ten probes on one
dataset an interval that only just excludes chance is expected now and then. Of 80 datasets of pure noise, 80 images
each, 4 intervals excluded chance and 1 lay above it by the margin."""
MARGIN_SHARE = 0.25
"""The margin is at most this share of what the commonest class leaves to guess: with 96 % of one class, 1 point."""
_DRAWS_AT_ONCE = 2_000_000

Interval = tuple[float, float]


@dataclass(frozen=True)
class Probe:
    """A question to a dataset: how well can the label be guessed from this alone?

    Args:
        name: unique among the probes of an audit.
        kind: ``"leak"`` (what an image-level split is worth) or ``"shortcut"`` (what the label can be guessed from
            without the breast).
        sees: what the model is shown, in a few words that can begin a sentence.
        model: seed → scikit-learn classifier, not fitted.
        features: (n, …), one row an image of the table; None where the dataset has none.
        skipped: why there is nothing to score; "" where there is.
    """

    name: str
    kind: str
    sees: str
    model: Callable[[int], ClassifierMixin]
    features: np.ndarray | None = None
    skipped: str = ""


@dataclass(frozen=True)
class ProbeResult:
    """What a probe scored; accuracies, shares and differences are fractions, None where it was skipped.

    Args:
        name, kind, sees: of the probe.
        images, groups, folds: how many were scored, in how many folds.
        image_level, image_interval: accuracy under image-level splits and its 95 % interval by bootstrap over groups.
        group_level, group_interval: the same where groups stay together.
        leak, leak_interval: image-level less group-level accuracy; the two are drawn together (paired bootstrap).
        majority: share of the commonest class, which a model without knowledge scores.
        margin: by how much an interval must lie above ``majority`` (shortcut) or 0 (leak) to be a finding.
        finding: True where it does.
        sentence: all of this in plain English.
        skipped: why nothing was scored; "" where it was.
    """

    name: str
    kind: str
    sees: str
    images: int
    groups: int
    folds: int
    image_level: float | None
    image_interval: Interval | None
    group_level: float | None
    group_interval: Interval | None
    leak: float | None
    leak_interval: Interval | None
    majority: float
    margin: float
    finding: bool
    sentence: str
    skipped: str = ""


def score_probe(probe: Probe, table: pd.DataFrame, seed: int = 0, resamples: int = RESAMPLES) -> ProbeResult:
    """Scores a probe under both kinds of split.

    Args:
        probe: with one row of features for each row of the table.
        table: columns ``label`` and ``group_id``.
        seed: of the folds, the model and the bootstrap.
        resamples: bootstrap draws.

    Returns:
        The result; skipped, with the reason, where the probe says so or a class has fewer than two groups.
    """
    groups = table.groupby("label")["group_id"].nunique()
    folds = int(min(FOLDS, groups.min())) if len(groups) > 1 else 0
    majority = float(table["label"].value_counts(normalize=True).max())
    margin = min(MARGIN, MARGIN_SHARE * (1.0 - majority))
    facts = (probe.name, probe.kind, probe.sees, len(table), table["group_id"].nunique())
    reason = probe.skipped or ("" if folds >= 2 else "two classes with two groups each are needed")
    if reason or probe.features is None:
        reason = reason or "the dataset has none of it"
        sentence = f"{probe.sees}: not scored, {reason}."
        return ProbeResult(*facts, 0, *(None,) * 6, majority, margin, False, sentence, reason)
    # Small trees on a busy machine: threads that wait for one another cost ten times the work.
    with threadpool_limits(1, user_api="openmp"):
        right = [_hits(probe, table, folds, seed, grouped) for grouped in (False, True)]
    image, group = (float(hits.mean()) for hits in right)
    of_image, of_group, of_leak = _intervals(table["group_id"], right, resamples, seed)
    interval, chance = (of_leak, 0.0) if probe.kind == "leak" else (of_group, majority)
    finding = interval[0] - chance > margin
    sentence = _sentence(probe, image, group, interval, majority, margin, finding)
    scores = (image, of_image, group, of_group, image - group, of_leak)
    return ProbeResult(*facts, folds, *scores, majority, margin, finding, sentence)  # type: ignore[arg-type]


def nearest_neighbour(seed: int) -> ClassifierMixin:
    """The label of the nearest row (Euclidean); nothing is drawn."""
    return KNeighborsClassifier(n_neighbors=1, algorithm="brute")


def boosted_trees(seed: int) -> ClassifierMixin:
    """Gradient-boosted trees; early stopping would put aside a part of the training images without regard to groups."""
    return HistGradientBoostingClassifier(early_stopping=False, random_state=seed)


def random_trees(seed: int) -> ClassifierMixin:
    """Extremely randomised trees (P. Geurts, D. Ernst, L. Wehenkel, Machine Learning 63, 2006).

    Each node may choose among 30 % of the features, so that one telling pixel among hundreds is found.
    """
    return ExtraTreesClassifier(n_estimators=100, max_features=0.3, min_samples_leaf=3, random_state=seed)


def commonest_label(seed: int) -> ClassifierMixin:
    """A decision tree over categories (columns of text), the 100 most frequent of each column; unseen ones are none."""
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=100)
    return make_pipeline(categories, DecisionTreeClassifier(random_state=seed))


def _hits(probe: Probe, table: pd.DataFrame, folds: int, seed: int, grouped: bool) -> np.ndarray:
    """Bool (n,): where the out-of-fold prediction is the label."""
    labels = table["label"].to_numpy(dtype=str)
    splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(folds, shuffle=True, random_state=seed)
    groups = table["group_id"].to_numpy(dtype=str) if grouped else None
    return cross_val_predict(probe.model(seed), probe.features, labels, groups=groups, cv=splitter) == labels


def _intervals(group_ids: pd.Series, right: list[np.ndarray], resamples: int, seed: int) -> list[Interval]:
    """Percentile bootstrap over groups (Efron and Tibshirani 1993, chapters 8 and 13): image, group, difference."""
    groups = pd.factorize(group_ids)[0]
    sums = [np.bincount(groups, hits) for hits in right]

    def accuracies(image: np.ndarray, group: np.ndarray, size: np.ndarray, axis: int) -> np.ndarray:
        image, group, size = (values.sum(axis=axis) for values in (image, group, size))
        return np.stack([image / size, group / size, (image - group) / size])

    limits = bootstrap(
        (*sums, np.bincount(groups)),
        accuracies,
        n_resamples=resamples,
        batch=max(1, _DRAWS_AT_ONCE // len(sums[0])),
        vectorized=True,
        paired=True,
        axis=-1,
        confidence_level=0.95,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return [(float(low), float(high)) for low, high in zip(limits.low, limits.high, strict=True)]


def _sentence(
    probe: Probe, image: float, group: float, interval: Interval, majority: float, margin: float, finding: bool
) -> str:
    by_image, by_group, commonest = (f"{100 * share:.1f} %" for share in (image, group, majority))
    limits = f"95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
    if probe.kind == "leak":
        verdict = "images of one group tell each other's label" if finding else "no leak beyond the margin"
        return (
            f"{probe.sees} alone: {by_image} of labels right with image-level splits, {by_group} where groups stay "
            f"together, a difference of {100 * (image - group):.1f} points ({limits}); the commonest class is "
            f"{commonest}: {verdict}."
        )
    chance = f"no more than chance by the margin of {100 * margin:.1f} points"
    verdict = "it tells the label without the breast" if finding else chance
    return (
        f"{probe.sees} alone: {by_group} of labels right where groups stay together ({limits}), {by_image} with "
        f"image-level splits, against {commonest} for the commonest class: {verdict}."
    )
