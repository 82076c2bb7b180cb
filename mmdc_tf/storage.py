"""A disk that refuses: full, read-only, broken, or a mount that is gone."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from mmdc_tf.errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_GONE = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN}
DISK = frozenset({errno.EROFS} | _FULL | _GONE)
"""Errors of the system that are the disk's: no other work on it can succeed."""
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_IN_WORDS = tuple(DISK - {errno.ENODEV, errno.ENXIO})
"""Those whose text is told from others in a message of a library that keeps no number."""
_ROOM = "Make room and give the same command again; what is finished stays."
_LEAVE = "Make it writable for this user and give the same command again, or choose another place."
_BACK = "Bring the disk back and give the same command again; what is finished stays."
_held: dict[Path, int] = {}  # the folders of ``present`` and their devices


class StorageError(InputError, OSError):
    """What a disk refuses; it ends a command, since whatever comes next would be refused too.

    Args:
        number: the system's (``errno``).
        reason: in words.
        path: of what was written.
    """

    def __init__(self, number: int, reason: str, path: str) -> None:
        OSError.__init__(self, number, reason, path)

    @property
    def gone(self) -> bool:
        """Whether the disk is not there, so that what lies under its paths is something else."""
        return self.errno == errno.ENODEV

    def __str__(self) -> str:
        full, locked = self.errno in _FULL, self.errno == errno.EROFS or self.errno in FORBIDDEN
        expected = "permission" if self.errno in FORBIDDEN else "a disk that can be written to"
        advice = _ROOM if full else _LEAVE if locked else _BACK
        return f"Expected {expected}. Received: {self.filename} ({self.strerror}). {advice}"


def refusal(error: BaseException, path: Path, reasons: frozenset[int] = DISK) -> StorageError | None:
    """What a disk has refused, as the error that ends a command; None where the error is another.

    HDF5 and TensorFlow give the system's words and not always its number, so that these are looked for too.

    Args:
        error: looked at with what led to it.
        path: what was written, where the error does not name a file.
        reasons: numbers of the system's errors that count.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, StorageError):
            return link
        number = _number(link, reasons)
        if number is not None:
            name = link.filename if isinstance(link, OSError) else None
            return StorageError(number, os.strerror(number), str(path if name is None else name))
        link = link.__cause__ or link.__context__
    gone = _gone()
    return None if gone is None else _vanished(gone)


def _number(error: BaseException, reasons: frozenset[int]) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in reasons else None
    if isinstance(error, InputError):  # what led to it says more
        return None
    return next((one for one in _IN_WORDS if one in reasons and os.strerror(one) in str(error)), None)


@contextlib.contextmanager
def present(folder: Path) -> Iterator[None]:
    """Inside it nothing is written by ``mmdc_tf.whole_files`` once this folder lies on another disk, or is gone.

    A mount that vanishes leaves the folder that it covered: a run would go on there, without what it had written.

    Args:
        folder: that is there.

    Raises:
        StorageError: it is not.
    """
    place = folder.absolute()
    before, device = _held.get(place), _device(place)
    if device is None:
        raise _vanished(place)
    _held[place] = device
    try:
        yield
    finally:
        if before is None:
            del _held[place]


@contextlib.contextmanager
def refusing(folder: Path) -> Iterator[None]:
    """Turns what a disk refuses inside it into a ``StorageError``.

    Args:
        folder: what is worked on, where the system's error does not name a file.
    """
    try:
        yield
    except Exception as error:
        refused = refusal(error, folder)
        if refused is None or refused is error:
            raise
        raise refused from error


def require_present() -> None:
    """Looks at the folders of ``present``.

    Raises:
        StorageError: one is gone, or lies on another disk.
    """
    gone = _gone()
    if gone is not None:
        raise _vanished(gone)


def _gone() -> Path | None:
    return next((folder for folder, device in list(_held.items()) if _device(folder) != device), None)


def _device(folder: Path) -> int | None:
    try:
        return folder.stat().st_dev
    except OSError:
        return None


def _vanished(folder: Path) -> StorageError:
    return StorageError(errno.ENODEV, "the disk or mount that it was on is gone", str(folder))
