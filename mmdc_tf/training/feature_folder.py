"""The folder that holds the store's entries: what is in it, making room in it, clearing it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.training.feature_entry import PARTS, USERS, finished_images, in_use
from mmdc_tf.training.feature_layout import FACTS, EntryLayout, FeatureCacheUnavailable, read_layout

KEPT_FREE = 10**9
"""Bytes of the disk that the store leaves to others."""

_LOCK = ".mmdc-tf.lock"
_DATA = (PARTS, "output*.bin", "part*.lock", f"{USERS}/*.lock", ".mmdc-tf-*.json", FACTS)  # the facts last: see remove


@dataclass(frozen=True)
class EntryInfo:
    """An entry as it is on the disk.

    Args:
        path: its folder.
        layout: what it holds when it is full.
        images_done: how many of its images have features.
        used: when it was last opened.
    """

    path: Path
    layout: EntryLayout
    images_done: int
    used: datetime

    @property
    def bytes(self) -> int:
        """What the finished features take."""
        return self.images_done * sum(self.layout.image_bytes)


@dataclass(frozen=True)
class Cleared:
    """What ``clear`` did.

    Args:
        entries: how many were deleted.
        bytes: what they took.
        in_use: how many were left, since a running process uses them.
    """

    entries: int
    bytes: int
    in_use: int


def list_entries(folder: Path) -> list[EntryInfo]:
    """The entries of a store, the last used first; none where the folder is absent.

    Raises:
        ConfigurationError: it is no folder, or cannot be read.
    """
    if folder.exists() and not folder.is_dir():
        raise _unusable(folder, "a file")
    try:
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        found = [info for info in map(_info, paths) if info]
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from error
    return sorted(found, key=lambda info: info.used, reverse=True)


def clear(folder: Path, days: int | None = None) -> Cleared:
    """Deletes entries, and nothing else that is in the folder.

    Args:
        folder: the store's.
        days: only entries that were not opened for so many days; None for all.

    Raises:
        ConfigurationError: the folder is none, or cannot be read or written to.
    """
    if not list_entries(folder):
        return Cleared(0, 0, 0)
    now = datetime.now(UTC)
    try:
        with locked(folder):
            old = [info for info in list_entries(folder) if days is None or (now - info.used).days >= days]
            unused = [info for info in old if not in_use(info.path)]
            for info in unused:
                remove(info.path)
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from error
    return Cleared(len(unused), sum(info.bytes for info in unused), len(old) - len(unused))


def make_room(folder: Path, limit: int | None, wanted: Sequence[EntryLayout]) -> None:
    """Deletes the least recently used of the other entries where the limit demands it; the store must be locked.

    Args:
        folder: the store's.
        limit: of all entries together in bytes; None for none.
        wanted: the entries to be opened.

    Raises:
        FeatureCacheUnavailable: the limit is too small for them and what others use, or the disk has not enough free
            bytes; then nothing is deleted.
        OSError: an entry cannot be deleted.
    """
    layouts = {layout.name: layout for layout in wanted}
    needed = sum(layout.size for layout in layouts.values())
    done = (finished_images(folder / name, layout) * sum(layout.image_bytes) for name, layout in layouts.items())
    missing = needed - sum(done)
    leaving = [] if limit is None else _leaving(folder, limit, needed, set(layouts))
    free = shutil.disk_usage(folder).free + sum(info.bytes for info in leaving) - KEPT_FREE
    if missing > free:
        raise FeatureCacheUnavailable(
            f"Storing the features takes {readable(missing)}, but {readable(max(free, 0))} are free in {folder} "
            f"besides the {readable(KEPT_FREE)} that stay free."
        )
    for info in leaving:
        remove(info.path)


def locked(folder: Path) -> FileLock:
    """Held for moments, by whoever opens, begins or deletes an entry."""
    return FileLock(folder / _LOCK, thread_local=False)


def remove(path: Path) -> None:
    """Deletes an entry's files, and its folder if nothing else is in it; the store must be locked.

    The record of finished parts goes first and the facts last: an entry of which a killed process has left some is
    empty, but an entry still.

    Raises:
        OSError: a file cannot be deleted.
    """
    for pattern in _DATA:
        for file in path.glob(pattern):
            file.unlink()
    with contextlib.suppress(OSError):
        (path / USERS).rmdir()
        path.rmdir()


def readable(size: int) -> str:
    """A number of bytes for people: ``"12.30 GB"``, ``"313 MB"``."""
    for unit, name in ((10**6, "MB"), (10**3, "kB")):
        if unit <= size < 1000 * unit:
            return f"{size / unit:.0f} {name}"
    return f"{size / 1e9:.2f} GB" if size >= 10**9 else f"{size} B"


def _info(path: Path) -> EntryInfo | None:
    with contextlib.suppress(OSError):  # another process deletes it just now, or it is none of this user's
        known = None if path.is_symlink() else read_layout(path)
        if known:
            used = datetime.fromtimestamp((path / FACTS).stat().st_mtime, UTC)
            return EntryInfo(path, known[0], finished_images(path, known[0]), used)
    return None


def _leaving(folder: Path, limit: int, needed: int, names: set[str]) -> list[EntryInfo]:
    """The entries to delete, so that those of these names fit: as few as possible, the least recently used."""
    others = [info for info in list_entries(folder) if info.path.name not in names]
    used = [info for info in others if in_use(info.path)]
    staying = needed + sum(info.layout.size for info in used)  # what is being filled grows to its full size
    if staying > limit:
        busy = f", of which other runs use {readable(staying - needed)}" if used else ""
        raise FeatureCacheUnavailable(
            f"Storing the features takes {readable(needed)}, but --cache-limit is {readable(limit)}{busy}."
        )
    leaving = []
    for info in others:
        if info not in used:
            staying += info.bytes
            if staying > limit:
                leaving.append(info)
    return leaving


def _unusable(folder: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Expected a folder for stored features that can be read and written. Received: --cache-dir {folder} "
        f"({reason}). Give another --cache-dir."
    )
