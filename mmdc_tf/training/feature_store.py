"""Stores on disk what the frozen part of a network gives for each image, so that it runs once for all trainings.

``open_entries``, then ``fill``, then ``FeatureEntry.arrays``. Several processes may do so at once, a killed one is
continued, and damaged features are computed anew. Where the store cannot serve it raises ``FeatureCacheUnavailable``.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.training.feature_entry import FeatureEntry, in_use, read_records
from mmdc_tf.training.feature_folder import locked, make_room, remove
from mmdc_tf.training.feature_layout import EntryLayout, FeatureCacheUnavailable, read_layout, storing

Compute = Callable[[int, int, tuple[int, ...]], Sequence[Sequence[np.ndarray]]]
"""From the first image, the one after the last, and the numbers of the entries, to the outputs for each of these."""

_WAIT = 0.2  # seconds between looks at parts that other processes compute


@dataclass(frozen=True)
class CacheSettings:
    """Where features are stored.

    Args:
        folder: the store's; made where absent.
        limit: how many bytes all entries may take together; None for as many as the disk has.
    """

    folder: Path
    limit: int | None = None


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/mmdc_tf/features``, or ``~/.cache/mmdc_tf/features`` (XDG Base Directory Specification)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "mmdc_tf" / "features"


def entry_names(
    facts: Sequence[dict[str, Any]], count: int, shapes: Sequence[tuple[int, ...]], dtype: str, part: int
) -> list[str]:
    """The folders of the entries that ``open_entries`` opens, within the store; arguments as there."""
    return [layout.name for layout in _layouts(facts, count, shapes, dtype, part)]


def open_entries(
    settings: CacheSettings,
    facts: Sequence[dict[str, Any]],
    count: int,
    shapes: Sequence[tuple[int, ...]],
    dtype: str,
    part: int,
) -> list[FeatureEntry]:
    """Opens the entries of these facts, or begins them; parts whose bytes are damaged count as missing afterwards.

    The bytes are compared with their checksums the first time that a process opens an entry. Where the settings have
    a limit, the least recently used of the other entries are deleted for it, but none that a process uses.

    Args:
        settings: where.
        facts: for each entry what its features depend on, of JSON's types.
        count: number of images.
        shapes: of each output for one image.
        dtype: to store them in: ``"float16"``, ``"bfloat16"`` or ``"float32"``.
        part: images a part: they are computed, stored and checked together. Another number makes another entry.

    Raises:
        ConfigurationError: an unknown dtype, no image, no output, or a part without images.
        FeatureCacheUnavailable: the disk or the limit is too small for what is missing, or the folder cannot be used.
        TypeError: facts that are not of JSON's types.
    """
    layouts = _layouts(facts, count, shapes, dtype, part)
    folder = settings.folder.expanduser().resolve()
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            make_room(folder, settings.limit, layouts)
            entries = [_open(folder, layout) for layout in layouts]
    for entry in entries:
        entry.verify()
    return entries


def fill(
    entries: Sequence[FeatureEntry], compute: Compute, progress: Callable[[int, int], object] = lambda done, total: None
) -> int:
    """Computes and stores all parts that are missing.

    A part that another process computes is left to it and waited for; if that process ends before, this one does it.

    Args:
        entries: of the same number of images and images a part.
        compute: called for each part that some entry lacks, with the first image, the one after the last and the
            numbers of the entries that lack it; gives for each of these its outputs, of (images, \\*shape) and any
            float dtype.
        progress: called with the number of parts done and of all parts that were missing, at the start and after each.

    Returns:
        How many times ``compute`` was called.

    Raises:
        ConfigurationError: entries that differ in their parts, features of other shapes, a value that the entry's
            dtype does not hold, or NaN.
        FeatureCacheUnavailable: the disk is full, or refuses otherwise. What is done stays done.
    """
    left = [part for part in range(_parts(entries)) if _lacking(entries, part)]
    total, computed = len(left), 0
    progress(0, total)
    while left:
        before = left
        left = []
        for number, part in enumerate(before, start=1):
            computed += _fill_part(entries, part, compute)
            if _lacking(entries, part):
                left.append(part)
            else:
                progress(total - len(before) + number - len(left), total)
        if left == before:
            time.sleep(_WAIT)
    return computed


def _layouts(
    facts: Sequence[dict[str, Any]], count: int, shapes: Sequence[tuple[int, ...]], dtype: str, part: int
) -> list[EntryLayout]:
    return [EntryLayout(entry, count, tuple(map(tuple, shapes)), dtype, part) for entry in facts]


def _open(folder: Path, layout: EntryLayout) -> FeatureEntry:
    path = folder / layout.name
    lost = 0
    if path.is_dir() and not read_layout(path):
        lost = int(read_records(path, layout).all(axis=1).sum())
        _start_anew(path)
    entry = FeatureEntry(path, layout)
    entry.damaged = lost
    return entry


def _start_anew(path: Path) -> None:
    """Without legible facts nobody knows what the rest is."""
    if in_use(path):
        raise FeatureCacheUnavailable(f"The entry {path} is damaged, but a running process uses it.")
    remove(path)


def _parts(entries: Sequence[FeatureEntry]) -> int:
    layouts = {(entry.layout.count, entry.layout.part): entry.layout for entry in entries}
    if len(layouts) != 1:
        raise ConfigurationError(
            "Expected entries of the same number of images and images a part. Received: (images, images a part)="
            f"{sorted(layouts)}. Fill the others by themselves."
        )
    return next(iter(layouts.values())).parts


def _lacking(entries: Sequence[FeatureEntry], part: int) -> list[int]:
    return [number for number, entry in enumerate(entries) if not entry.has(part)]


def _fill_part(entries: Sequence[FeatureEntry], part: int, compute: Compute) -> int:
    """Computes a part for the entries that lack it, but for those for which another process does."""
    with contextlib.ExitStack() as claims:
        lacking = _lacking(entries, part)
        mine = [number for number in lacking if claims.enter_context(entries[number].claimed(part))]
        if not mine:
            return 0
        outputs = compute(*entries[0].layout.span(part), tuple(mine))
        for number, arrays in zip(mine, outputs, strict=True):
            entries[number].write(part, arrays)
    return 1
