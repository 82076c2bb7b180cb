"""The protocols' splits: how such numbers are usually made, how they should be, and the control between the two.

``paper``: one stratified image-level 80/20 split; the 20 % both choose the epoch and give the score.
``leak-free``: stratified group k-fold; inside each training part a group-disjoint validation part chooses
the epoch, and the test fold is scored once.
``image-level``: folds of the same sizes and classes as leak-free's, in every part, but drawn image by image. Leak-free
less image-level is what the leak is worth; ``paper`` differs from both in the number of training images too.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import SplitError

PAPER, CONTROL, LEAK_FREE = PROTOCOLS = ("paper", "image-level", "leak-free")
USUAL = (PAPER, LEAK_FREE)
"""Those that every table has; the control is added where it was run."""

PARTS = ("train", "validation", "test")
PAPER_TEST_SHARE = 0.2
VALIDATION_FOLDS = 5  # one fifth of the groups of each training part validates


@dataclass(frozen=True)
class Split:
    """Which samples train, validate and test, by ``sample_id``.

    Under ``paper`` the test part is the validation part, since that is how such numbers are made.
    """

    protocol: str
    fold: int
    folds: int
    seed: int
    dataset: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that change whenever a sample changes sides."""
        facts = [self.protocol, self.train, self.validation, self.test]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "hash": self.hash}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Split:
        """Reads a saved split; raises SplitError where it is none, or its content no longer fits its hash."""
        try:
            facts = json.loads(text)
            expected = facts.pop("hash")
            split = cls(**{**facts, **{name: tuple(facts[name]) for name in PARTS}})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SplitError(
                f"Expected a split as JSON with its hash. Received: {text[:60]!r} ({error!r}). Make the split again."
            ) from error
        if split.hash != expected:
            raise SplitError(
                f"Expected a split whose content fits its hash. Received: hash={expected}, content={split.hash}. "
                "The file was changed after it was written: make the split again."
            )
        return split


def make_splits(dataset: Dataset, protocol: str, folds: int, seed: int) -> list[Split]:
    """Makes the splits of one protocol; the same seed gives the same splits, whatever the row.

    Args:
        dataset: its sample table gives labels and groups.
        protocol: ``"paper"`` (one split, whatever ``folds`` says), ``"image-level"`` or ``"leak-free"``.
        folds: at least 2.

    Raises:
        SplitError: unknown protocol, a class with too few images or groups, or an overlap of groups.
    """
    if protocol not in PROTOCOLS:
        raise SplitError(
            f"Expected a protocol of {', '.join(PROTOCOLS)}. Received: protocol={protocol!r}. Choose one of them."
        )
    if protocol == PAPER:
        return [_paper_split(dataset, seed)]
    splits = list(_leak_free_splits(dataset, folds, seed))
    return splits if protocol == LEAK_FREE else _image_level_splits(dataset, splits, seed)


def folds_of(protocol: str, folds: int) -> int:
    """How many splits a protocol makes of a run's ``folds``."""
    return 1 if protocol == PAPER else folds


def select(table: pd.DataFrame, sample_ids: tuple[str, ...]) -> pd.DataFrame:
    """The rows of the sample table with these ids, in this order."""
    return table.set_index("sample_id", drop=False).loc[list(sample_ids)].reset_index(drop=True)


def check_groups_disjoint(split: Split, groups: pd.Series) -> None:
    """Raises SplitError when a group (patient, near-twin cluster) stands on two sides of a split.

    Args:
        split: any; one of the ``paper`` protocol is expected to fail.
        groups: ``group_id`` indexed by ``sample_id``.
    """
    parts = {name: set(groups.loc[list(getattr(split, name))]) for name in PARTS}
    for one, other in combinations(PARTS, 2):
        shared = sorted(parts[one] & parts[other])
        if shared:
            raise SplitError(
                f"Expected groups that stay on one side of the split. Received: group_id={shared[0]!r} in {one} and "
                f"{other} ({len(shared)} shared groups). Make the split with the leak-free protocol."
            )


def _paper_split(dataset: Dataset, seed: int) -> Split:
    table = dataset.table
    _require_enough(table["label"].value_counts(), 2, "images", dataset)
    # A fifth of a few images may be fewer than there are classes, which scikit-learn refuses.
    size = max(math.ceil(PAPER_TEST_SHARE * len(table)), len(dataset.info.class_names))
    train, test = train_test_split(
        table["sample_id"].to_numpy(), test_size=size, stratify=table["label"], random_state=seed
    )
    held_out = tuple(sorted(test))
    split = Split(PAPER, 0, 1, seed, dataset.info.name, tuple(sorted(train)), held_out, held_out)
    _require_every_class(split, dataset)
    return split


def _leak_free_splits(dataset: Dataset, folds: int, seed: int) -> Iterator[Split]:
    table = dataset.table
    if dataset.official is not None:
        for fold, parts in enumerate(_official_folds(table, dataset.official)):
            yield _split(dataset, fold, folds, seed, *parts)
        return
    if folds < 2:
        raise SplitError(
            f"Expected at least 2 folds. Received: folds={folds}. Use --folds 5, or fewer for a quick look."
        )
    # With two folds, half of the groups is left to be divided again, into training and validation.
    least = 4 if folds == 2 else folds
    _require_enough(table.groupby("label")["group_id"].nunique(), least, dataset.info.group_unit + "s", dataset)
    for fold, parts in enumerate(_group_folds(table, folds, seed)):
        yield _split(dataset, fold, folds, seed, *parts)


def _split(dataset: Dataset, fold: int, folds: int, seed: int, rest: np.ndarray, test: np.ndarray) -> Split:
    """One leak-free split, its validation part taken from ``rest``."""
    table, inner = dataset.table, dataset.table.iloc[rest]
    train, validation = _training_and_validation(inner, seed)
    parts = (inner.iloc[train], inner.iloc[validation], table.iloc[test])
    split = Split(LEAK_FREE, fold, folds, seed, dataset.info.name, *(tuple(part["sample_id"]) for part in parts))
    check_groups_disjoint(split, table.set_index("sample_id")["group_id"])
    _require_every_class(split, dataset)
    return split


def _official_folds(table: pd.DataFrame, official: pd.Series) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The publisher's own: places of what trains and validates, and of what tests."""
    fold = official.loc[table["sample_id"]].to_numpy()
    for number in range(fold.max() + 1):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def official_folds(dataset: Dataset) -> int:
    """How many test folds its publisher defines.

    Raises:
        SplitError: none.
    """
    if dataset.official is None:
        raise SplitError(
            f"Expected a data set with official folds. Received: folds='official' for {dataset.info.title}, which has "
            "none. Give a number of folds."
        )
    return int(dataset.official.max()) + 1


def _image_level_splits(dataset: Dataset, leak_free: list[Split], seed: int) -> list[Split]:
    """Leak-free's splits after each image has changed places with another of its class, without regard to groups."""
    samples = dataset.table["sample_id"]
    drawn = samples.groupby(dataset.table["label"]).transform(np.random.default_rng(seed).permutation)
    stand_in = pd.Series(drawn.to_numpy(), index=samples)

    def exchanged(part: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(samples[samples.isin(stand_in.loc[list(part)])])

    splits = []
    for split in leak_free:
        train, validation, test = (exchanged(getattr(split, name)) for name in PARTS)
        splits.append(replace(split, protocol=CONTROL, train=train, validation=validation, test=test))
    return splits


def _training_and_validation(table: pd.DataFrame, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The first inner fold with every class on both sides; where there is none, the first.

    A fifth validates; where a class has fewer than five groups, as large a part as keeps one group for it.
    """
    folds = int(np.clip(table.groupby("label")["group_id"].nunique().min(), 2, VALIDATION_FOLDS))
    candidates = list(_group_folds(table, folds, seed))
    count = table["label"].nunique()
    complete = (pair for pair in candidates if all(table["label"].iloc[part].nunique() == count for part in pair))
    return next(complete, candidates[0])


def _group_folds(table: pd.DataFrame, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    return splitter.split(table, table["label"], table["group_id"])


def _require_enough(counts: pd.Series, least: int, unit: str, dataset: Dataset) -> None:
    for name in dataset.info.class_names:
        found = int(counts.get(name, 0))
        if found < least:
            raise SplitError(
                f"Expected at least {least} {unit} of each class. Received: {name}={found} in {dataset.root}. "
                "Use fewer --folds (at least 2) or add images."
            )


def _require_every_class(split: Split, dataset: Dataset) -> None:
    labels = dataset.table.set_index("sample_id")["label"]
    for part in PARTS:
        absent = set(dataset.info.class_names) - set(labels.loc[list(getattr(split, part))])
        if absent:
            raise SplitError(
                f"Expected every class in every part. Received: no {sorted(absent)[0]} in {part} of fold {split.fold}: "
                f"too few {dataset.info.group_unit}s. Use fewer --folds (at least 2), another --seed, or add images."
            )
