"""One process at a time writes the trainings of a table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.io import clear_leftovers


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Keeps other processes from running into the same folder; the lock ends with the process, however that ends.

    Args:
        folder: of a table, as ``OUT/table1``; the lock lies beside it.

    Raises:
        ConfigurationError: another process holds it.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigurationError(
            f"Expected a run folder that no other process writes. Received: {folder}, in use by one. Wait until it "
            "ends and give the command again, which continues it, or choose another --output."
        ) from error
    try:
        yield
    finally:
        lock.release()


def clear_run(output: Path, table: str) -> None:
    """Removes what killed processes have left of files that they were writing; the table is locked.

    Args:
        output: the run's folder.
        table: the folder of a table in it.
    """
    below = (Path(folder) for folder, _, _ in os.walk(output / table))
    clear_leftovers([output, output / "figures", *below])
