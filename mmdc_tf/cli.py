"""The command line: ``mmdc-tf run`` (also ``run_experiments.py``) and what prepares, checks and compares runs."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from mmdc_tf.commands import EXIT_BAD_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_OK
from mmdc_tf.commands.audit import add_audit
from mmdc_tf.commands.cache import add_cache
from mmdc_tf.commands.compare import add_compare
from mmdc_tf.commands.datasets import add_datasets
from mmdc_tf.commands.demo import add_demo
from mmdc_tf.commands.explain import add_explain
from mmdc_tf.commands.export import add_export
from mmdc_tf.commands.predict import add_predict
from mmdc_tf.commands.preprocess import add_preprocess
from mmdc_tf.commands.report import add_report, add_robustness
from mmdc_tf.commands.run import add_run
from mmdc_tf.errors import RESEARCH_USE, InputError, did_you_mean, one_line
from mmdc_tf.version import __version__

COMMANDS = {
    "run": (add_run, "train, score and tabulate the rows of a table or figure of the paper"),
    "compare": (add_compare, "say which rows of a run differ from one of them"),
    "report": (add_report, "write a run as one page with its figures"),
    "robustness": (add_robustness, "score the finished rows of a run on noisy test images"),
    "predict": (add_predict, "what a trained model says of new images, files or folders"),
    "explain": (add_explain, "draw where a trained model looks, scored against lesion masks"),
    "demo": (add_demo, "try a trained model on a page in the browser"),
    "export": (add_export, "write a trained model as SavedModel, ONNX or TFLite"),
    "preprocess": (add_preprocess, "turn a folder of scans into a mirrored folder of PNG"),
    "audit": (add_audit, "say what a dataset or a split would leak, and which shortcuts it has"),
    "datasets": (add_datasets, "look at a dataset before using it"),
    "cache": (add_cache, "list or clear the stored features of frozen parts"),
}


class _Parser(argparse.ArgumentParser):
    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """An unknown option is an error of the command that it was given to, which knows what is near."""
        self._given = sys.argv[1:] if args is None else list(args)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """One line as for all bad input, where argparse would print the usage first."""
        line = f"{' '.join(message.split())}. {self._likely(message)}".strip()
        self.exit(EXIT_BAD_INPUT, f"{self.prog}: {line} See {self.prog} --help.\n")

    def _likely(self, message: str) -> str:
        """Which option or choice may have been meant; nothing where none is near."""
        if choice := re.search(r"invalid choice: '?([^' ]*)'? \(choose from (.*)\)", message):
            return did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]), "")
        options, words = list(self._option_string_actions), [word.partition("=")[0] for word in self._given]
        unknown = (w for w in words if w.startswith("--") and not any(one.startswith(w) for one in options))
        return next(filter(None, (did_you_mean(word, options, "") for word in unknown)), "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``mmdc-tf``.

    Returns:
        The exit code: 0, 1 (a row or scan failed, or a dataset or split is unfit), 2 (bad input, or a disk that
        refuses), 70 (an error of this package), 130 (interrupted).

    Raises:
        SystemExit: an option is unknown or its value is bad (code 2), or help was asked for (code 0).
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = _Parser(prog="mmdc-tf", description=f"MMDCNet and BCDNet for breast imaging. {RESEARCH_USE}")
    parser.add_argument("--version", action="version", version=f"mmdc-tf {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, (add, what) in COMMANDS.items():
        add(commands.add_parser(name, help=what))
    options = parser.parse_args(words)
    if "command" not in options:
        parser.print_help()
        return EXIT_OK
    options.typed = shlex.join(["mmdc-tf", *words])
    if options.debug:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0"
    try:
        code = options.command(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        further = "; the same command continues where it stopped" if getattr(options, "continues", False) else ""
        _say(f"interrupted{further}")
        return EXIT_INTERRUPTED
    except Exception as error:
        if options.debug:
            traceback.print_exception(error)
        if (line := _reason(error)) is not None:
            _say(line)
            return EXIT_BAD_INPUT
        _say(f"internal error: {type(error).__name__}: {one_line(error)}. Please report it, with what --debug prints.")
        return EXIT_INTERNAL
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # it is given up: Python would try again when it ends, and print a trace
            if sys.stdout is sys.__stdout__:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _reason(error: Exception) -> str | None:
    """What the user or the system can mend; None for an error of this package."""
    if isinstance(error, InputError):
        return one_line(error)
    if isinstance(error, BrokenPipeError):
        return "Expected a standard output that takes text. Received: one that is closed by its reader."
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


def _say(line: str) -> None:
    """Prints a line of this program on the error stream."""
    with contextlib.suppress(OSError):  # a full disk under the output, say: the exit code is left
        print(f"mmdc-tf: {line}", file=sys.stderr)


with contextlib.suppress(AttributeError, ValueError):  # a terminal that cannot print α shows a stand-in, not a trace
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]

if __name__ == "__main__":
    sys.exit(main())
