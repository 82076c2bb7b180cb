"""Files and folders written to a temporary name and renamed, so that none is ever half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` with a temporary path beside ``path`` and renames the result; the folder is made where absent.

    Raises:
        OSError: the folder cannot be made or written to, or is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # short, since the file's own name may be as long as allowed; with its suffix, which says how it is written
    temporary = path.with_name(f".mmdc-tf-{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_folder_with(path: Path, write: Callable[[Path], object]) -> None:
    """Calls ``write`` with a new folder beside ``path`` and renames it; a folder that was there is deleted.

    Raises:
        OSError: as ``write_with``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mmdc-tf-", dir=path.parent) as scratch:
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
