"""How long work on many scans tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Takes the number of scans done and of all scans, at the start and after each."""


def silent(done: int, total: int) -> None:
    """Tells nobody."""
