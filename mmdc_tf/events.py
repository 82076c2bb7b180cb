"""What a command says: lines for people or, with ``--json-log``, one JSON object a line for programs."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

MESSAGE = "message"
"""The event of a line that has no other name."""
_LOGGER = logging.getLogger("mmdc_tf.events")
_LOGGER.setLevel(logging.INFO)
_LOGGER.propagate = False


def in_json() -> bool:
    """Whether events are written rather than lines."""
    return any(isinstance(handler, _Handler) for handler in _LOGGER.handlers)


def no_bars() -> bool | None:
    """For ``tqdm(disable=…)``: no progress bar beside events; else one on terminals only."""
    return True if in_json() else None


def tell(
    event: str,
    text: str,
    *,
    message: str | None = None,
    level: int = logging.INFO,
    show: Callable[[str], object] | None = None,
    **fields: Any,
) -> None:
    """Says something.

    Args:
        event: its name for programs.
        text: its line or lines for people.
        message: ``message`` of the event, where it is shorter than the text.
        level: of Python's ``logging``.
        show: prints the text; default: ``print``.
        **fields: what programs are told besides, of JSON's types.
    """
    if in_json():
        _LOGGER.log(level, text if message is None else message, extra={"event": event, "fields": fields})
    else:
        (print if show is None else show)(text)


@contextlib.contextmanager
def json_events() -> Iterator[None]:
    """Inside it standard output carries events only: what is printed becomes events of the name ``message``.

    What native code or another process writes there goes to the error stream, as long as standard output is the
    process's own (in a test or notebook it is not, and no such code writes to it).
    """
    printed = sys.stdout
    with _own_stream(printed) as stream:
        handler = _Handler(stream)
        handler.setFormatter(_JsonLines())
        _LOGGER.addHandler(handler)
        lines = _Lines()
        sys.stdout = lines
        try:
            yield
        finally:
            lines.close()
            sys.stdout = printed
            _LOGGER.removeHandler(handler)


@contextlib.contextmanager
def _own_stream(stream: TextIO) -> Iterator[TextIO]:
    """A way to standard output that no other code has; ``stream`` where that is not the process's own."""
    if stream is not sys.__stdout__:
        yield stream
        return
    stream.flush()
    with os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n") as own:
        os.dup2(2, 1)
        try:
            yield own
        finally:
            os.dup2(own.fileno(), 1)


class _Handler(logging.StreamHandler):
    """Raises what hinders it, where ``logging`` would print a trace for each line."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise


class _JsonLines(logging.Formatter):
    """``time`` (UTC, ISO 8601), ``level``, ``event``, ``message``, then the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        head = {"time": time, "level": record.levelname.lower(), "event": record.__dict__["event"]}
        content = head | {"message": record.getMessage()} | record.__dict__["fields"]
        return json.dumps(_plain(content), allow_nan=False, default=str)


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: both become null."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if hasattr(value, "item"):  # a number of numpy's
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Lines(io.TextIOBase):
    """Turns each line that is printed into an event."""

    def __init__(self) -> None:
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, whole):
            tell(MESSAGE, line)
        return len(text)

    def close(self) -> None:
        if self._begun.strip():
            tell(MESSAGE, self._begun)
        self._begun = ""
        super().close()
