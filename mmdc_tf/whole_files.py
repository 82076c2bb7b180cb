"""Files and folders written to a temporary name and renamed, so that none is ever half-written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.storage import DISK, FORBIDDEN, refusal, require_present

if TYPE_CHECKING:
    import pandas as pd

PREFIX = ".mmdc-tf-"
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
_TEMPORARY = re.compile(re.escape(PREFIX) + r"(?:(?P<host>[0-9a-f]{8})-)?(?P<process>\d+)(?:[.-].*)?")
_FORGOTTEN = 24 * 3600
"""Seconds after which a temporary file of another machine has no writer any more."""


def temporary_name() -> str:
    """What the names of this process's temporary files and folders begin with; ``clear_leftovers`` knows them."""
    return f"{PREFIX}{_HOST}-{os.getpid()}"


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` with a temporary path beside ``path`` and renames the result; the folder is made where absent.

    Raises:
        StorageError: the disk is full, read-only or gone, or writing is not allowed there.
        OSError: the folder cannot be made or written to for another reason.
    """
    require_present()
    # short, since the file's own name may be as long as allowed; with its suffix, which says how it is written
    temporary = path.with_name(temporary_name() + path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except Exception as error:
        refused = refusal(error, path, DISK | FORBIDDEN)
        if refused is None:
            raise
        if refused.filename == str(temporary):
            refused.filename = str(path)
        raise refused from error
    finally:
        with contextlib.suppress(OSError):  # of a disk that is gone; it would hide the reason
            temporary.unlink(missing_ok=True)


def clear_leftovers(folders: Iterable[Path]) -> None:
    """Removes what killed processes have left of files and folders that they were writing.

    Files of processes that live, and those that another machine has written to within a day, stay.

    Args:
        folders: to look at, without what is below them; those that are absent are left out.
    """
    for folder in folders:
        with contextlib.suppress(OSError):  # what cannot be removed harms nobody
            for entry in list(os.scandir(folder)):
                if _has_no_writer(entry):
                    shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else Path(entry.path).unlink()


def _has_no_writer(entry: os.DirEntry[str]) -> bool:
    found = _TEMPORARY.fullmatch(entry.name)
    if found is None:
        return False
    if found["host"] != _HOST:  # or a name of earlier versions, which does not say
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _FORGOTTEN
    return not _lives(int(found["process"]))


def _lives(process: int) -> bool:
    if os.name == "nt":  # there, signal 0 ends a process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def write_folder_with(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` with a new folder beside ``path`` and renames it; a folder that was there is deleted.

    Raises:
        OSError: as ``write_with``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{temporary_name()}-", dir=path.parent) as scratch:
        new = Path(scratch, "new")
        new.mkdir()
        write(new)
        if path.exists():
            path.rename(Path(scratch, "old"))
        new.rename(path)


def write_table(path: Path, table: pd.DataFrame, **options: Any) -> None:
    """Writes a table as CSV, without its index.

    Args:
        path, table: where, and what.
        **options: of ``pandas.DataFrame.to_csv``.

    Raises:
        OSError: as ``write_with``.
    """
    write_with(path, lambda temporary: table.to_csv(temporary, index=False, **options))
