"""One entry of the store of frozen features: its files, which of its parts are finished, and who uses it.

An entry is a folder: ``facts.json`` says what it holds; ``output0.bin``, ``output1.bin`` … hold the values of all
images, one after the other; ``parts.bin`` has for each part one unsigned 64-bit number an output, 2³² + the CRC-32 of
its bytes, written when the part is finished and 0 before. A part is a fixed number of images, computed together.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import uuid
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from mmdc_tf.io import write_with
from mmdc_tf.training.feature_layout import FACTS, EntryLayout, FeatureCacheUnavailable, read_layout, storing

PARTS, USERS = "parts.bin", "users"
_FINISHED = 1 << 32
_RECORD = np.dtype("<u8")
_verified: dict[tuple[Path, str], np.ndarray] = {}  # the records whose bytes this process has written or seen right


class FeatureEntry:
    """An entry in use by this process: nobody deletes it while the object or one of its arrays lives."""

    def __init__(self, folder: Path, layout: EntryLayout) -> None:
        """Opens an entry, or begins it; ``mmdc_tf.training.feature_store.open_entries`` sees to the rest.

        Args:
            folder: the entry's, whose store the caller has locked; no other layout may be in it.
            layout: what it holds or shall hold.

        Raises:
            OSError: it cannot be written to.
        """
        self.folder, self.layout = folder, layout
        self.damaged = 0
        """Number of finished parts that were found damaged when it was opened."""
        self._user = _user_of(folder)
        known = read_layout(folder)
        begun = known[1] if known else uuid.uuid4().hex
        if not known:
            text = json.dumps(layout.content | {"begun": begun}, indent=1)
            write_with(folder / FACTS, lambda path: path.write_text(text, encoding="utf-8"))
        (folder / FACTS).touch()  # the least recently used entries go first
        for path in (folder / PARTS, *map(self._output, range(len(layout.shapes)))):
            path.touch()  # they grow as parts are written, with holes before these
        nothing = np.zeros((layout.parts, len(layout.shapes)), _RECORD)
        self._verified = _verified.setdefault((folder, begun), nothing)

    def verify(self) -> None:
        """Compares the finished parts with their checksums, once in a process; damaged ones become unfinished.

        Raises:
            FeatureCacheUnavailable: the files cannot be read or written.
        """
        with storing(self.folder):
            for part, record in enumerate(read_records(self.folder, self.layout)):
                if not record.all() or (record == self._verified[part]).all():
                    continue
                if self._matches(part, record):
                    self._verified[part] = record
                else:
                    self._drop(part)
                    self.damaged += 1

    def has(self, part: int) -> bool:
        """Whether a part is finished.

        Raises:
            FeatureCacheUnavailable: the entry cannot be read.
        """
        outputs = len(self.layout.shapes)
        with storing(self.folder):
            content = _read(self.folder / PARTS, part * outputs * _RECORD.itemsize, outputs * _RECORD.itemsize)
        return bool(_records(content, 1, outputs).all())

    @contextlib.contextmanager
    def claimed(self, part: int) -> Iterator[bool]:
        """Inside it a part is this process's to compute; gives False where it is another's, or finished.

        Raises:
            FeatureCacheUnavailable: the entry cannot be written to.
        """
        lock = self._lock(part)
        with storing(self.folder):
            taken = _taken(lock)
        try:
            yield taken and not self.has(part)
        finally:
            if taken:
                self._release(part, lock)

    def write(self, part: int, outputs: Sequence[np.ndarray]) -> None:
        """Stores a part that this process has claimed.

        Args:
            part: its number.
            outputs: float arrays of shape (images of the part, \\*shape), one an output.

        Raises:
            ConfigurationError: other shapes, a value that the dtype does not hold, or NaN.
            FeatureCacheUnavailable: the disk is full, or refuses otherwise.
        """
        contents = self.layout.contents(part, outputs)
        record = np.array([_FINISHED | zlib.crc32(content) for content in contents], _RECORD)
        start, _ = self.layout.span(part)
        with storing(self.folder):
            for output, content in enumerate(contents):
                _write(self._output(output), start * self.layout.image_bytes[output], content)
            _write(self.folder / PARTS, part * record.nbytes, record.tobytes())
        self._verified[part] = record

    def arrays(self) -> list[np.ndarray]:
        """The outputs, read-only and memory-mapped, of shape (count, \\*shape) and the entry's dtype.

        Raises:
            FeatureCacheUnavailable: parts are missing, which ``fill`` computes; or the files cannot be read.
        """
        layout = self.layout
        with storing(self.folder):
            missing = layout.count - finished_images(self.folder, layout)
            if missing:
                raise FeatureCacheUnavailable(
                    f"{missing} of {layout.count} images have no features in {self.folder} yet, which is to be filled."
                )
            return [self._array(output, (layout.count, *shape)) for output, shape in enumerate(layout.shapes)]

    def _array(self, output: int, shape: tuple[int, ...]) -> np.ndarray:
        size = self.layout.count * self.layout.image_bytes[output]
        with self._output(output).open("rb") as file:
            mapped = _Mapped(file.fileno(), size, access=mmap.ACCESS_READ)
        mapped.user = self._user
        return np.frombuffer(mapped, self.layout.numpy_dtype).reshape(shape)

    def _output(self, output: int) -> Path:
        return self.folder / f"output{output}.bin"

    def _lock(self, part: int) -> FileLock:
        return FileLock(self.folder / f"part{part:05}.lock", thread_local=False)

    def _release(self, part: int, lock: FileLock) -> None:
        with contextlib.suppress(OSError, FeatureCacheUnavailable):  # some systems keep files that others have open
            if self.has(part):  # which whoever waits for this file, or makes it anew, will see
                Path(lock.lock_file).unlink()
        lock.release()

    def _matches(self, part: int, record: np.ndarray) -> bool:
        start, stop = self.layout.span(part)
        contents = (
            _read(self._output(output), start * size, (stop - start) * size)
            for output, size in enumerate(self.layout.image_bytes)
        )
        return all(int(one) == _FINISHED | zlib.crc32(content) for one, content in zip(record, contents, strict=True))

    def _drop(self, part: int) -> None:
        """Forgets a damaged part, unless another process has redone it in the meantime."""
        with self._lock(part):
            record = read_records(self.folder, self.layout)[part]
            if not self._matches(part, record):
                _write(self.folder / PARTS, part * record.nbytes, bytes(record.nbytes))


class _Mapped(mmap.mmap):
    """A file in memory, whose entry is in use as long as an array reads it."""

    user: FileLock


def read_records(folder: Path, layout: EntryLayout) -> np.ndarray:
    """``parts.bin`` as uint64 (parts, outputs); 0 where it is cut off or absent."""
    path = folder / PARTS
    return _records(path.read_bytes() if path.is_file() else b"", layout.parts, len(layout.shapes))


def finished_images(folder: Path, layout: EntryLayout) -> int:
    """Number of images whose part is finished."""
    finished = np.flatnonzero(read_records(folder, layout).all(axis=1))
    return sum(stop - start for start, stop in map(layout.span, finished.tolist()))


def in_use(folder: Path) -> bool:
    """Whether a process uses an entry, whose store the caller has locked. Forgets processes that have ended.

    Raises:
        OSError: the entry cannot be written to.
    """
    living = [user for user in (folder / USERS).glob("*.lock") if not _forgotten(user)]
    return bool(living)


def _forgotten(user: Path) -> bool:
    lock = FileLock(user, thread_local=False)
    if not _taken(lock):
        return False
    user.unlink(missing_ok=True)
    lock.release()
    return True


def _user_of(folder: Path) -> FileLock:
    """Says that an entry is in use, until the lock is collected or the process ends, however it does."""
    (folder / USERS).mkdir(parents=True, exist_ok=True)
    in_use(folder)  # clears away what ended processes have left
    lock = FileLock(folder / USERS / f"{uuid.uuid4().hex}.lock", thread_local=False)
    lock.acquire(timeout=0)
    return lock


def _taken(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _records(content: bytes, parts: int, outputs: int) -> np.ndarray:
    size = parts * outputs * _RECORD.itemsize
    return np.frombuffer(content[:size].ljust(size, b"\0"), _RECORD).reshape(parts, outputs)


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _write(path: Path, offset: int, content: bytes) -> None:
    """An ordinary write: through a memory map a full disk would kill the process."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
