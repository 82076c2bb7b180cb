"""The command line: ``mmdc-tf run`` (also ``run_experiments.py``) and what prepares, checks and compares runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from mmdc_tf.commands import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from mmdc_tf.commands.audit import add_audit
from mmdc_tf.commands.cache import add_cache
from mmdc_tf.commands.compare import add_compare
from mmdc_tf.commands.datasets import add_datasets
from mmdc_tf.commands.demo import add_demo
from mmdc_tf.commands.ending import end_failed, end_unheard, leave_output, say
from mmdc_tf.commands.explain import add_explain
from mmdc_tf.commands.export import add_export
from mmdc_tf.commands.predict import add_predict
from mmdc_tf.commands.preprocess import add_preprocess
from mmdc_tf.commands.report import add_report
from mmdc_tf.commands.robustness import add_robustness
from mmdc_tf.commands.run import add_run
from mmdc_tf.errors import RESEARCH_USE, did_you_mean
from mmdc_tf.version import __version__


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
    options = _parser().parse_args(words)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if getattr(options, "debug", False) else "3")
    options.typed = shlex.join(["mmdc-tf", *words])
    try:
        return _outcome(options)
    except OSError as error:  # of standard output: all others end the command
        return end_unheard(error)
    finally:
        leave_output()


def _outcome(options: argparse.Namespace) -> int:
    try:
        code = options.command(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        raise
    except Exception as error:
        return end_failed(error, getattr(options, "debug", False))
    except KeyboardInterrupt:
        further = "; the same command continues where it stopped" if getattr(options, "continues", False) else ""
        say(f"interrupted{further}")
        return EXIT_INTERRUPTED


def run_experiments() -> int:
    """``run_experiments.py``: the same as ``mmdc-tf run``."""
    return main(["run", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mmdc-tf", description=f"MMDCNet and BCDNet for breast imaging. {RESEARCH_USE}")
    parser.add_argument("--version", action="version", version=f"mmdc-tf {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_run(commands.add_parser("run", help="train, score and tabulate the rows of a table or figure of the paper"))
    add_compare(commands.add_parser("compare", help="say which rows of a run differ from one of them"))
    add_report(commands.add_parser("report", help="write a run as one page with its figures"))
    add_robustness(commands.add_parser("robustness", help="score the finished rows of a run on noisy test images"))
    add_predict(commands.add_parser("predict", help="what a trained model says of new images, files or folders"))
    add_explain(commands.add_parser("explain", help="draw where a trained model looks, scored against lesion masks"))
    add_demo(commands.add_parser("demo", help="try a trained model on a page in the browser"))
    add_export(commands.add_parser("export", help="write a trained model as SavedModel, ONNX or TFLite"))
    add_preprocess(commands.add_parser("preprocess", help="turn a folder of scans into a mirrored folder of PNG"))
    add_audit(commands.add_parser("audit", help="say what a dataset or a split would leak, and which shortcuts it has"))
    add_datasets(commands.add_parser("datasets", help="look at a dataset before using it"))
    add_cache(commands.add_parser("cache", help="list or clear the stored features of frozen parts"))
    return parser


with contextlib.suppress(AttributeError, ValueError):  # a terminal that cannot print α shows a stand-in, not a trace
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]

if __name__ == "__main__":
    sys.exit(main())
