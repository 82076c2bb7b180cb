"""Jobs for worker processes that end in bad ways; as a script, a parent process to be killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from mmdc_tf.errors import DatasetError
from mmdc_tf.workers.processes import Processes


def nothing() -> None:
    """To be called in each process."""


def added(shared: int, job: int) -> int:
    """A sum."""
    return shared + job


def refused(_: None, job: int) -> None:
    """The job 0 is refused; the others take a minute."""
    if job == 0:
        raise DatasetError("the job 0")
    time.sleep(60)


def killed(_: None, job: int) -> None:
    """Ends its process as the system does where memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def long(folder: Path, job: int) -> None:
    """Says which process it is, and takes a minute."""
    (folder / f"{os.getpid()}").touch()
    time.sleep(60)


if __name__ == "__main__":
    list(Processes(2, "jobs", nothing).results(long, Path(sys.argv[1]), [1, 2]))
