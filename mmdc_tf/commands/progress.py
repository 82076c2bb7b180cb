"""The progress bar of commands that go through scans."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]
"""Takes the number of scans done and of all scans, at the start and after each."""


@contextlib.contextmanager
def scan_bar() -> Iterator[Progress]:
    """A bar on the error stream, on terminals only; gives what is to be called with the scans done and all scans."""
    from tqdm import tqdm

    with tqdm(unit="scan", disable=None, file=sys.stderr, dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
