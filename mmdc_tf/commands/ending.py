"""How a command ends that fails: one line and an exit code; ``--debug`` prints the trace."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback

from mmdc_tf.commands import EXIT_BAD_INPUT, EXIT_INTERNAL
from mmdc_tf.errors import InputError, one_line


def end_failed(error: Exception, debug: bool) -> int:
    """Says in one line why a command ended.

    Args:
        error: that ended it.
        debug: print the trace too.

    Returns:
        The exit code: 2 for what the user or the system can mend, 70 for an error of this package.
    """
    if debug:
        traceback.print_exception(error)
    if (line := _reason(error)) is not None:
        say(line)
        return EXIT_BAD_INPUT
    say(f"internal error: {type(error).__name__}: {one_line(error)}. Please report it, with what --debug prints.")
    return EXIT_INTERNAL


def _reason(error: Exception) -> str | None:
    """What the user or the system can mend; None for an error of this package."""
    if isinstance(error, InputError):
        return one_line(error)
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("mmdc_tf"):
        # nearly always the system's Python, with the environment not activated
        return (
            f"Expected the packages that this project needs. Received: no {error.name} in {sys.executable}. Activate "
            "the environment: . .venv/bin/activate (make sets it up), or install them: pip install -e ."
        )
    if isinstance(error, OSError) and error.errno is not None:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "Make room" if is_full else "Make it readable and writable for this user, or choose another place"
        return (
            f"Expected a disk and files that can be read and written. Received: {error.filename or 'the output'} "
            f"({error.strerror}). {advice}, and give the same command again; what is finished stays."
        )
    return None


def end_unheard(error: OSError) -> int:
    """For ``mmdc-tf … | head`` and ``mmdc-tf … > FILE`` on a full disk: nobody takes what the command says."""
    reason = "closed by its reader" if isinstance(error, BrokenPipeError) else error.strerror
    say(f"Expected a standard output that takes text. Received: one that does not ({reason}).")
    return EXIT_BAD_INPUT


def leave_output() -> None:
    """Gives up what standard output does not take: Python would try again when it ends, and print a trace."""
    try:
        sys.stdout.flush()
    except OSError:
        if sys.stdout is sys.__stdout__:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def say(line: str) -> None:
    """Prints a line of this program on the error stream."""
    with contextlib.suppress(OSError):  # a full disk under the output, say: the exit code is left
        print(f"mmdc-tf: {line}", file=sys.stderr)
