"""What the frozen part of a network gives for each image, on disk: it runs once for all trainings.

An entry of the store is a folder that holds what one frozen part makes of all images in one view: ``facts.json`` says
what they depend on, and names the folder; ``output0.npy``, ``output1.npy`` … grow image by image, and are whole when
they are as long as their header says. Whoever fills an entry has locked it; a killed process is continued.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.io import read_json, write_json

FACTS, LAYOUT = "facts.json", "mmdc_tf frozen features 2"
FILL_BATCH = 8
KEPT_FREE = 10**9
"""Bytes of the disk that the store leaves to others."""


class FeatureCacheUnavailable(RuntimeError):
    """The store cannot take or give these features; the message is one sentence. Training can do without."""


@dataclass(frozen=True)
class CacheSettings:
    """Where features are stored.

    Args:
        folder: the store's; made where absent.
        limit: how many bytes all entries may take together; None for as many as the disk has.
    """

    folder: Path
    limit: int | None = None


@dataclass(frozen=True)
class Entry:
    """The features of all images in one view.

    Args:
        store: the store's folder.
        facts: what they depend on, of JSON's types.
        count: number of images.
        shapes: of each output for one image.
        dtype: they are stored in.
    """

    store: Path
    facts: dict[str, Any]
    count: int
    shapes: tuple[tuple[int, ...], ...]
    dtype: str

    @property
    def content(self) -> dict[str, Any]:
        """What ``facts.json`` says."""
        return {"layout": LAYOUT} | {name: value for name, value in vars(self).items() if name != "store"}

    @property
    def path(self) -> Path:
        """Its folder, named by a hash of its content."""
        canonical = json.dumps(self.content, sort_keys=True, separators=(",", ":"))
        return self.store / hashlib.sha256(canonical.encode()).hexdigest()[:32]

    @property
    def lock(self) -> FileLock:
        """Held by whoever fills or deletes it."""
        return FileLock(self.store / f".{self.path.name}.lock")

    @property
    def size(self) -> int:
        """Bytes of all its features."""
        return self.count * sum(map(self._image_bytes, range(len(self.shapes))))

    @property
    def images_done(self) -> int:
        """How many images have all their features."""
        return min(map(self._images, range(len(self.shapes))))

    @property
    def used(self) -> datetime:
        """When it was last opened."""
        return datetime.fromtimestamp((self.path / FACTS).stat().st_mtime, UTC)

    def begin(self) -> None:
        """Writes its facts, also to say that it is used: the least recently used go first."""
        write_json(self.path / FACTS, self.content)

    def fill(self, compute: Callable[[int], Iterable[Sequence[np.ndarray]]]) -> None:
        """Stores what is missing; the entry must be locked.

        Args:
            compute: from the first image that is missing, to batches of the outputs of that image and all after it.

        Raises:
            ConfigurationError: a value that the dtype does not hold, or NaN.
            OSError: the disk is full, or refuses otherwise. What is done stays done.
        """
        if self.images_done == self.count:  # by another process, meanwhile
            return
        done = self.images_done // FILL_BATCH * FILL_BATCH  # so that the batches are those of a filling without a break
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(self._output(number).open("ab")) for number in range(len(self.shapes))]
            for number, file in enumerate(files):
                header = self._header(number)
                file.truncate(len(header) + done * self._image_bytes(number) if done else 0)
                file.write(b"" if done else header)
            for outputs in compute(done):
                for file, output in zip(files, outputs, strict=True):
                    # an ordinary write: through a memory map a full disk would kill the process
                    file.write(self._checked(output).tobytes())

    def arrays(self) -> list[np.ndarray]:
        """The outputs, read-only and memory-mapped, of shape (count, *shape).

        Raises:
            OSError: they cannot be read.
        """
        return [np.lib.format.open_memmap(self._output(number), mode="r") for number in range(len(self.shapes))]

    def remove(self) -> bool:
        """Deletes its files, and its folder if nothing else is in it; False where another process fills it.

        Arrays that were opened before can still be read, but on Windows, where they are not deleted.
        """
        with contextlib.suppress(Timeout, PermissionError), self.lock.acquire(timeout=0):
            for file in (*self.path.glob("output*.npy"), self.path / FACTS):
                file.unlink()
            with contextlib.suppress(OSError):
                self.path.rmdir()
            return True
        return False

    def _output(self, number: int) -> Path:
        return self.path / f"output{number}.npy"

    def _image_bytes(self, number: int) -> int:
        return np.dtype(self.dtype).itemsize * int(np.prod(self.shapes[number], dtype=np.int64))

    def _header(self, number: int) -> bytes:
        text = io.BytesIO()
        described = {"descr": np.dtype(self.dtype).str, "fortran_order": False}
        np.lib.format.write_array_header_1_0(text, {**described, "shape": (self.count, *self.shapes[number])})
        return text.getvalue()

    def _images(self, number: int) -> int:
        """How many images of an output are there; none where the header is another's."""
        header, file = self._header(number), self._output(number)
        if not file.is_file():
            return 0
        with file.open("rb") as opened:
            if opened.read(len(header)) != header:
                return 0
        return min((file.stat().st_size - len(header)) // self._image_bytes(number), self.count)

    def _checked(self, output: np.ndarray) -> np.ndarray:
        largest, most = float(np.max(np.abs(output), initial=0.0)), float(np.finfo(self.dtype).max)
        if not largest <= most:
            raise ConfigurationError(
                f"Expected features of at most {most:g}, the largest value of {self.dtype}. Received: {largest:g}. Use "
                "other weights, or --cache-dir none."
            )
        return output.astype(self.dtype)

    @property
    def bytes(self) -> int:
        """What those features take."""
        return self.images_done * self.size // self.count


def default_folder() -> Path:
    """``$XDG_CACHE_HOME/mmdc_tf/features``, or ``~/.cache/mmdc_tf/features`` (XDG Base Directory Specification)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "mmdc_tf" / "features"


def list_entries(folder: Path) -> list[Entry]:
    """The entries of a store, the last used first; none where the folder is absent.

    Raises:
        ConfigurationError: it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(
            f"Expected a folder for stored features. Received: --cache-dir {folder} (a file). Give another --cache-dir."
        )
    found = []
    for facts in folder.glob(f"*/{FACTS}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, ConfigurationError):
            content = read_json(facts) or {}
            shapes = tuple(map(tuple, content["shapes"]))
            entry = Entry(folder, content["facts"], content["count"], shapes, content["dtype"])
            if entry.path == facts.parent and not facts.parent.is_symlink():
                found.append((entry.used, entry))
    return [entry for _, entry in sorted(found, key=lambda pair: pair[0], reverse=True)]


def clear(folder: Path, days: int | None = None) -> list[int]:
    """Deletes entries that no process fills, and nothing else that is in the folder.

    Args:
        folder: the store's.
        days: only entries that were not opened for so many days; None for all.

    Returns:
        The bytes that each took.
    """
    now = datetime.now(UTC)
    old = [(entry, entry.bytes) for entry in list_entries(folder) if days is None or (now - entry.used).days >= days]
    return [taken for entry, taken in old if entry.remove()]


def readable(size: int) -> str:
    """A number of bytes for people: ``"12.30 GB"``, ``"313 MB"``."""
    for unit, name in ((10**6, "MB"), (10**3, "kB")):
        if unit <= size < 1000 * unit:
            return f"{size / unit:.0f} {name}"
    return f"{size / 1e9:.2f} GB" if size >= 10**9 else f"{size} B"


def make_room(settings: CacheSettings, wanted: Sequence[Entry]) -> None:
    """Deletes the least recently used of the other entries where the limit demands it.

    Raises:
        FeatureCacheUnavailable: the limit or the disk is too small for what is wanted.
    """
    needed, folder = sum(entry.size for entry in wanted), settings.folder
    if settings.limit is not None:
        if needed > settings.limit:
            raise FeatureCacheUnavailable(
                f"Storing the features takes {readable(needed)}, but --cache-limit is {readable(settings.limit)}."
            )
        paths, taken = {entry.path for entry in wanted}, needed
        for entry in [entry for entry in list_entries(folder) if entry.path not in paths]:
            taken += entry.bytes
            if taken > settings.limit:
                entry.remove()
    missing = needed - sum(entry.bytes for entry in wanted)
    free = max(shutil.disk_usage(folder).free - KEPT_FREE, 0)
    if missing > free:
        raise FeatureCacheUnavailable(
            f"Storing the features takes {readable(missing)}, but {readable(free)} are free in {folder} besides the "
            f"{readable(KEPT_FREE)} that stay free."
        )


def open_filled(
    settings: CacheSettings, entries: Sequence[Entry], compute: Callable[[int, int], Iterable[Sequence[np.ndarray]]]
) -> list[list[np.ndarray]]:
    """Opens entries, and fills those that are not full; what another process fills is left to it and waited for.

    Args:
        settings: where, and how much.
        entries: wanted.
        compute: from the number of an entry and the first image that it lacks, to batches of the outputs of that image
            and all after it.

    Returns:
        The arrays of each entry.

    Raises:
        ConfigurationError: a value that the dtype does not hold, or NaN.
        FeatureCacheUnavailable: the disk or the limit is too small, or the folder cannot be used.
    """
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        make_room(settings, entries)
        for entry in entries:
            entry.begin()
        for timeout in (0, -1):  # first what nobody fills, so that processes share the work; then what is left
            for number, entry in enumerate(entries):
                if entry.images_done < entry.count:
                    with contextlib.suppress(Timeout), entry.lock.acquire(timeout=timeout):
                        entry.fill(lambda start, number=number: compute(number, start))  # type: ignore[misc]
        return [entry.arrays() for entry in entries]
    except OSError as error:
        reason = error.strerror or error
        raise FeatureCacheUnavailable(f"The feature cache in {settings.folder} cannot be used ({reason}).") from error
