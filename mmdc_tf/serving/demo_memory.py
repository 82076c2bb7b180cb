"""Memory that answers took and that nobody needs any more: given back to the system a moment after a page is closed."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading

WAIT = 3.0
"""Seconds: pages that are closed soon after each other are tidied up once."""


_ARENA_MAX = -8
"""``M_ARENA_MAX`` of glibc's ``malloc.h``."""


def share_one_heap() -> None:
    """Before threads begin: glibc would give each a heap of its own, whose gaps stay when an answer is over."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another system
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


class Tidying:
    """Tidies up once, a moment after it was last idle and asked to.

    Args:
        seconds: that moment.
    """

    def __init__(self, seconds: float = WAIT) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting = False

    def soon(self) -> None:
        """Asks for it; returns at once."""
        with self._lock:
            if self._waiting:
                return
            self._waiting = True
        timer = threading.Timer(self._seconds, self._tidy)
        timer.daemon = True
        timer.start()

    def _tidy(self) -> None:
        with self._lock:
            self._waiting = False
        give_back()


def give_back() -> None:
    """Figures refer to themselves, so that Python frees them late; glibc keeps what is free unless it is asked."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another system: it does so by itself, or never
        ctypes.CDLL(None).malloc_trim(0)
