"""How well a simple model guesses the label under image-level and under group splits of the same images.

Both are stratified k-fold splits with out-of-fold predictions; they differ in that images of one group (patient,
near-twin cluster) stay together in the second. What the first gives more than the second is the leak's worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

SCORES = ("image_level", "image_interval", "group_level", "group_interval", "leak", "leak_interval")
_LEAK = (
    "{sees} alone: {image_level} % of labels right with image-level splits, {group_level} % where groups stay "
    "together, a difference of {leak} points ({limits}); the commonest class is {majority} %: "
)
_SHORTCUT = (
    "{sees} alone: {group_level} % of labels right where groups stay together ({limits}), {image_level} % with "
    "image-level splits, against {majority} % for the commonest class: "
)
_SENTENCES = {
    ("leak", True): _LEAK + "images of one group tell each other's label.",
    ("leak", False): _LEAK + "no leak beyond the margin.",
    ("shortcut", True): _SHORTCUT + "it tells the label without the breast.",
    ("shortcut", False): _SHORTCUT + "no more than chance by the margin of {margin} points.",
}
"""By kind and finding."""


@dataclass(frozen=True)
class Probe:
    """A question to a dataset: how well can the label be guessed from this alone?

    Args:
        name: unique among the probes of an audit.
        kind: ``"leak"`` (what an image-level split is worth) or ``"shortcut"`` (what tells the label without the
            breast).
        sees: what the model is shown, in a few words that can begin a sentence.
        model: seed → scikit-learn classifier, not fitted.
        features: (n, …), one row an image of the table.
        skipped: why there are no features; "" where there are.
    """

    name: str
    kind: str
    sees: str
    model: Callable[[int], ClassifierMixin]
    features: np.ndarray | None = None
    skipped: str = ""


def score_probe(probe: Probe, table: pd.DataFrame, seed: int = 0) -> dict[str, Any]:
    """Scores a probe under both kinds of split.

    Args:
        probe: with one row of features for each row of the table.
        table: columns ``label`` and ``group_id``.
        seed: of the folds, the model and the bootstrap.

    Returns:
        - ``name``, ``kind``, ``sees``; ``images``, ``groups``, ``folds``: how many were scored.
        - ``image_level``, ``group_level``: accuracy under the two kinds of split; ``leak``: their difference; each with
          its 95 % interval by bootstrap over groups, ``image_interval`` and so on. Fractions.
        - ``majority``: share of the commonest class; ``margin``: by how much an interval must lie above it (shortcut)
          or 0 (leak) to be a finding; ``finding``: True where it does; ``sentence``: all of this in plain English.
        - ``skipped``: why nothing was scored, as where a class has fewer than two groups; the scores are then None.
    """
    groups = table.groupby("label")["group_id"].nunique()
    folds = int(min(FOLDS, groups.min())) if len(groups) > 1 else 0
    majority = float(table["label"].value_counts(normalize=True).max())
    result: dict[str, Any] = {
        "name": probe.name,
        "kind": probe.kind,
        "sees": probe.sees,
        "images": len(table),
        "groups": table["group_id"].nunique(),
        "folds": 0,
        **dict.fromkeys(SCORES),
        "majority": majority,
        "margin": min(MARGIN, MARGIN_SHARE * (1.0 - majority)),
        "finding": False,
        "skipped": probe.skipped or ("" if folds >= 2 else "two classes with two groups each are needed"),
    }
    if result["skipped"]:
        return result | {"sentence": f"{probe.sees}: not scored, {result['skipped']}."}
    # Small trees on a busy machine: threads that wait for one another cost ten times the work.
    with threadpool_limits(1, user_api="openmp"):
        right = [_hits(probe, table, folds, seed, grouped) for grouped in (False, True)]
    image, group = (float(hits.mean()) for hits in right)
    of_image, of_group, of_leak = _intervals(table["group_id"], right, seed)
    scores = (image, of_image, group, of_group, image - group, of_leak)
    result |= {"folds": folds, **dict(zip(SCORES, scores, strict=True))}
    low = of_leak[0] if probe.kind == "leak" else of_group[0] - majority
    result["finding"] = low > result["margin"]
    return result | {"sentence": _sentence(result)}


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


def _intervals(group_ids: pd.Series, right: list[np.ndarray], seed: int) -> list[tuple[float, float]]:
    """Percentile bootstrap over groups (Efron and Tibshirani 1993, chapters 8 and 13): image, group, difference."""
    groups = pd.factorize(group_ids)[0]
    sums = [np.bincount(groups, hits) for hits in right]

    def accuracies(image: np.ndarray, group: np.ndarray, size: np.ndarray, axis: int) -> np.ndarray:
        image, group, size = (values.sum(axis=axis) for values in (image, group, size))
        return np.stack([image / size, group / size, (image - group) / size])

    limits = bootstrap(
        (*sums, np.bincount(groups)),
        accuracies,
        n_resamples=RESAMPLES,
        batch=max(1, _DRAWS_AT_ONCE // len(sums[0])),
        vectorized=True,
        paired=True,
        axis=-1,
        confidence_level=0.95,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return [(float(low), float(high)) for low, high in zip(limits.low, limits.high, strict=True)]


def _sentence(result: dict[str, Any]) -> str:
    shown = {name: f"{100 * result[name]:.1f}" for name in ("image_level", "group_level", "leak", "majority", "margin")}
    low, high = result["leak_interval" if result["kind"] == "leak" else "group_interval"]
    limits = f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
    return _SENTENCES[result["kind"], result["finding"]].format(sees=result["sees"], limits=limits, **shown)
