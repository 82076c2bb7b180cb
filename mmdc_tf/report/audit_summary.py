"""What a run's own files say of its data: labels, groups, and how many test images have a relative in training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.datasets.splits import PROTOCOLS, Split
from mmdc_tf.experiments.run_folder import read_samples
from mmdc_tf.io import read_json

AUDIT_PLACES = ("audit.json", "audit/audit.json")
"""Where ``mmdc-tf audit --output`` may have written, seen from the run's folder."""


@dataclass(frozen=True)
class SplitLeak:
    """The test images of one protocol, over its folds.

    Args:
        protocol: one of ``splits.PROTOCOLS``.
        images: in the test parts.
        related: of them, those with an image of the same group in the training part of their fold.
    """

    protocol: str
    images: int
    related: int


@dataclass(frozen=True)
class AuditSummary:
    """What was counted.

    Args:
        labels: images a class.
        unit: what a group is: "patient" or "near-twin cluster".
        groups: their number.
        of_several: groups of several images.
        largest: images in the largest group.
        several_labels: groups whose images have more than one label.
        leaks: of the protocols that were run.
        found: the content of an ``audit.json`` of the same data in the run's folder; None where there is none.
    """

    labels: dict[str, int]
    unit: str
    groups: int
    of_several: int
    largest: int
    several_labels: int
    leaks: tuple[SplitLeak, ...]
    found: dict[str, Any] | None


def audit_summary(folder: Path, run: dict[str, Any]) -> AuditSummary | None:
    """Counts from ``samples.csv`` and the ``split.json`` of each fold; no image is read.

    Args:
        folder: the table's, as ``OUT/table1``.
        run: the content of ``run.json``.

    Returns:
        None where the run has no ``samples.csv``, as those of older versions.

    Raises:
        ConfigurationError: ``samples.csv`` lacks a column, or an ``audit.json`` is no JSON.
        SplitError: a split was changed after it was written.
    """
    samples = read_samples(folder)
    if samples is None:
        return None
    groups = samples.groupby("group_id")
    sizes, labels = groups.size(), groups["label"].nunique()
    known = samples.set_index("sample_id")["group_id"]
    leaks = [_leak(protocol, splits, known) for protocol in PROTOCOLS if (splits := _splits(folder, protocol))]
    return AuditSummary(
        labels={str(name): int(count) for name, count in samples["label"].value_counts(sort=False).items()},
        unit=run["group_unit"],
        groups=len(sizes),
        of_several=int((sizes > 1).sum()),
        largest=int(sizes.max()),
        several_labels=int((labels > 1).sum()),
        leaks=tuple(leaks),
        found=_audit_of(folder.parent, run["dataset_fingerprint"]),
    )


def _splits(folder: Path, protocol: str) -> list[Split]:
    """Each split once: all rows and seeds of a run share them."""
    files = sorted(folder.glob(f"*/{protocol}/fold*-seed*/split.json"))
    splits = [Split.from_json(path.read_text(encoding="utf-8")) for path in files]
    return list({split.hash: split for split in splits}.values())


def _leak(protocol: str, splits: list[Split], groups: pd.Series) -> SplitLeak:
    tests = [groups.reindex(list(split.test)) for split in splits]
    related = [
        int(test.isin(set(groups.reindex(list(split.train)))).sum()) for test, split in zip(tests, splits, strict=True)
    ]
    return SplitLeak(protocol, sum(map(len, tests)), sum(related))


def _audit_of(output: Path, fingerprint: str) -> dict[str, Any] | None:
    found = [content for name in AUDIT_PLACES if (content := read_json(output / name)) is not None]
    return next((content for content in found if content.get("fingerprint") == fingerprint), None)
