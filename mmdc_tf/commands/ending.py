"""How a command ends that fails: one line, an exit code, and the trace in a log."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import traceback
from pathlib import Path

from mmdc_tf import events
from mmdc_tf.commands import EXIT_BAD_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED
from mmdc_tf.errors import ConfigurationError, InputError, one_line
from mmdc_tf.failure_log import keep_trace, log_failure, trace_of
from mmdc_tf.storage import DISK, FORBIDDEN, StorageError, refusal


def end_failed(error: Exception, options: argparse.Namespace) -> int:
    """Says in one line why a command ended, and keeps the trace in the command's folder.

    What the user or the system can mend, exit code 2, leaves a trace only where there is a folder; an error of this
    package, 70, leaves it in the system's folder for temporary files otherwise.

    Args:
        error: that ended it.
        options: ``typed``; ``folder``, the run's or output folder, where it is there; ``debug``: print the trace.
    """
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("mmdc_tf"):
        error = _no_environment(error)
    known = error if isinstance(error, InputError) else refusal(error, Path("the output"), DISK | FORBIDDEN)
    if known is not None:
        code, line = EXIT_BAD_INPUT, one_line(known)
        log = None if isinstance(known, StorageError) and known.gone else _logged(error, line, options)
    else:
        code, line = EXIT_INTERNAL, f"internal error: {type(error).__name__}: {one_line(error)}"
        log = _logged(error, line, options) or keep_trace(options.typed, line, error)
        line += f". The trace is in {log}: please report it." if log else "."
    if getattr(options, "debug", False):
        traceback.print_exception(error)
    _say(line, "failed", exit_code=code, error=type(error).__name__, trace=trace_of(error), log=log and str(log))
    return code


def _no_environment(error: ModuleNotFoundError) -> ConfigurationError:
    """Nearly always the system's Python, with the environment not activated."""
    return ConfigurationError(
        f"Expected the packages that this project needs. Received: no {error.name} in {sys.executable}. Activate the "
        "environment: . .venv/bin/activate (make sets it up), or install them: pip install -e ."
    )


def _logged(error: Exception, line: str, options: argparse.Namespace) -> Path | None:
    folder: Path | None = getattr(options, "folder", None)
    return None if folder is None else log_failure(folder, options.typed, line, error)


def end_interrupted(options: argparse.Namespace) -> int:
    """Says that Ctrl-C ended a command, and whether the same command goes on."""
    further = "; the same command continues where it stopped" if getattr(options, "continues", False) else ""
    _say(f"interrupted{further}", "interrupted", exit_code=EXIT_INTERRUPTED)
    return EXIT_INTERRUPTED


def end_unheard(error: OSError) -> int:
    """For ``mmdc-tf … | head`` and ``mmdc-tf … > FILE`` on a full disk: nobody takes what the command says."""
    reason = "closed by its reader" if isinstance(error, BrokenPipeError) else error.strerror
    print(
        f"mmdc-tf: Expected a standard output that takes text. Received: one that does not ({reason}).", file=sys.stderr
    )
    return EXIT_BAD_INPUT


def leave_output() -> None:
    """Gives up what standard output does not take: Python would try again when it ends, and print a trace."""
    try:
        sys.stdout.flush()
    except OSError:
        if sys.stdout is sys.__stdout__:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _say(line: str, event: str, **fields: object) -> None:
    with contextlib.suppress(OSError):  # a full disk under the output, say: the exit code is left
        events.tell(event, f"mmdc-tf: {line}", message=line, level=logging.ERROR, show=_to_errors, **fields)


def _to_errors(text: str) -> None:
    print(text, file=sys.stderr)
