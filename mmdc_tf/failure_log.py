"""``failures.log`` of a run folder: when, which command, the line that people saw, and the trace."""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
import traceback
from pathlib import Path

FILE_NAME = "failures.log"


def log_failure(folder: Path, command: str, line: str, error: BaseException) -> Path | None:
    """Adds a failure to a folder's log.

    Args:
        folder: where ``failures.log`` is or comes to be.
        command: as typed, or what was done.
        line: what people are told.
        error: its trace is kept.

    Returns:
        The log; None where the disk does not take it, and then nothing of this failure is in it.
    """
    path = folder / FILE_NAME
    with contextlib.suppress(OSError):
        _append(path, _entry(command, line, error))
        return path
    return None


def keep_trace(command: str, line: str, error: BaseException) -> Path | None:
    """Writes a failure to a new file in the system's folder for temporary files, for commands without a folder.

    Args:
        command, line, error: as for ``log_failure``.

    Returns:
        The file; None where it cannot be written.
    """
    with contextlib.suppress(OSError):
        number, name = tempfile.mkstemp(prefix="mmdc-tf-", suffix=".log")
        with os.fdopen(number, "wb") as file:
            file.write(_entry(command, line, error))
        return Path(name)
    return None


def trace_of(error: BaseException) -> str:
    """The trace of an error, with those that led to it."""
    return "".join(traceback.format_exception(error))


def _entry(command: str, line: str, error: BaseException) -> bytes:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    text = f"{now} {command}\n{line}\n{trace_of(error)}\n"
    return text.encode("utf-8", errors="backslashreplace")


def _append(path: Path, entry: bytes) -> None:
    """In one piece, since several processes may do so at once; a piece that did not fit is taken back."""
    with path.open("ab", buffering=0) as log:
        before = log.tell()
        if log.write(entry) != len(entry):
            log.truncate(before)
