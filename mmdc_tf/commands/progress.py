"""The progress bar of commands that go through scans."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmdc_tf import events

if TYPE_CHECKING:
    from mmdc_tf.preprocessing.progress import Progress

SECONDS = 10.0
"""Between two events on how far the work is."""


@contextlib.contextmanager
def scan_bar() -> Iterator[Progress]:
    """A bar on the error stream, on terminals only; gives what is to be called with the scans done and all scans.

    Programs (``--json-log``) are told every ten seconds, and at the end.
    """
    from tqdm import tqdm

    if events.in_json():
        yield _told_to_programs()
        return
    with tqdm(unit="scan", disable=None, file=sys.stderr, dynamic_ncols=True) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def _told_to_programs() -> Progress:
    last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= SECONDS:
            last = time.monotonic()
            events.tell("progress", f"{done:,} of {total:,} scans", done=done, total=total)

    return progress
