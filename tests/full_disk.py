"""A disk that is full from the n-th file on, made of Python's own ``open``: of that file, half is written."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock


class _HalfWritten(io.FileIO):
    """Takes half of what it is given."""

    def write(self, data) -> int:
        super().write(bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def full_after(files: int, below: Path) -> Iterator[list[Path]]:
    """Inside it, so many files below a folder can be written; gives those that were tried after them."""
    real, tried, refused = io.open, [], []

    def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        writes = set(mode) & set("wax+") and isinstance(file, (str, os.PathLike))
        if not (writes and Path(file).absolute().is_relative_to(below)):
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        tried.append(file)
        if len(tried) <= files:
            return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
        refused.append(Path(file))
        raw = _HalfWritten(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    with mock.patch.object(io, "open", opened), mock.patch.object(builtins, "open", opened):
        yield refused
