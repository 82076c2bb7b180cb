"""TensorFlow's native messages go to a file, so that what a user reads is what this package says."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


def native_messages_nowhere(debug: bool) -> contextlib.AbstractContextManager[None]:
    """For commands without a run folder to keep them in: dropped, or left where they are.

    Args:
        debug: leave them.
    """
    return contextlib.nullcontext() if debug else native_messages_to(Path(os.devnull))


@contextlib.contextmanager
def native_messages_to(path: Path) -> Iterator[None]:
    """Sends what native code writes to the error stream into a file; Python's own error stream stays.

    TensorFlow writes lines on CUDA and graph attributes before any setting of its log level takes effect. Where
    ``sys.stderr`` is not the process's own (a test, a notebook), nothing is redirected.

    Args:
        path: appended to; its folder exists.
    """
    if sys.stderr is not sys.__stderr__ or sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with path.open("ab") as log, os.fdopen(terminal, "w", buffering=1, encoding=sys.stderr.encoding) as stream:
        os.dup2(log.fileno(), 2)
        sys.stderr = stream
        try:
            yield
        finally:
            sys.stderr = sys.__stderr__
            os.dup2(stream.fileno(), 2)
