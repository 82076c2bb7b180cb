"""Types of option values, with messages that say what was expected, and options that several commands have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

Number = TypeVar("Number", int, float)


def names(text: str) -> list[str]:
    """Names separated by commas, as a list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def positive(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    return _number(text, whole, lambda number: number >= 1, "a whole number of at least 1")


def whole(text: str) -> int:
    """A whole number of at least 0.

    Raises:
        ArgumentTypeError: it is none.
    """
    return _number(text, int, lambda number: number >= 0, "a whole number")


def share(text: str) -> float:
    """A number above 0 and at most 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    return _number(text, float, lambda number: 0 < number <= 1, "a number above 0 and at most 1")


def protocols_of(option: str) -> tuple[str, ...]:
    """The protocols that ``--protocol`` names.

    Args:
        option: ``"paper"``, ``"leak-free"`` or ``"both"``.
    """
    from mmdc_tf.datasets.splits import PROTOCOLS

    return PROTOCOLS if option == "both" else (option,)


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Adds ``--debug``, which ``mmdc_tf.cli.main`` heeds."""
    parser.add_argument("--debug", action="store_true", help="show the trace of an error")


def _number(text: str, convert: Callable[[str], Number], fits: Callable[[Number], bool], expected: str) -> Number:
    try:
        if fits(number := convert(text)):
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {expected}, received {text!r}")
