"""What ``mmdc-tf`` can do, a module a command; heavy imports stand inside the functions, so that help comes at once."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from mmdc_tf.errors import printable

EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED = 0, 1, 2, 70, 130


def import_tensorflow() -> None:
    """Imports TensorFlow without the lines that its native code prints then, whatever its log level.

    ``TF_CPP_MIN_LOG_LEVEL=0`` in the environment, or ``--debug``, shows all that it says.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
        return
    sys.stderr.flush()
    with Path(os.devnull).open("w") as nowhere:
        terminal = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints a line in which names may stand that strangers gave; ``stream`` is None for the output."""
    print(printable(text), file=stream)


@contextlib.contextmanager
def scan_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on the error stream, on terminals only; gives what is to be called with the scans done and all scans."""
    from tqdm import tqdm

    with tqdm(unit="scan", disable=None, file=sys.stderr, dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
