"""Types of option values, with messages that say what was expected, and options that several commands have."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mmdc_tf.errors import ConfigurationError, did_you_mean_path

Number = TypeVar("Number", int, float)
UNITS = {"": 1, "b": 1} | {
    f"{prefix}{unit}": base**power
    for unit, base in (("b", 1000), ("ib", 1024))
    for power, prefix in enumerate("kmgt", start=1)
}
"""The bytes of each unit of a size, by its name in lower case."""


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


def share_or_more(text: str) -> float:
    """A number of at least 0: a share of a device, or how many.

    Raises:
        ArgumentTypeError: it is none.
    """
    return _number(text, float, lambda number: 0 <= number < math.inf, "a number of at least 0")


def size(text: str) -> int | None:
    """A number of bytes: ``"20GB"``, ``"1.5 GiB"`` or plain bytes; None for ``"none"``. GB is 10⁹ bytes, GiB is 2³⁰.

    Raises:
        ArgumentTypeError: it is none of these, or less than a byte.
    """
    wanted = text.strip().lower()
    if wanted == "none":
        return None
    number = wanted.rstrip("bgikmt ")
    unit = UNITS.get(wanted.removeprefix(number).strip(), 0)

    def in_bytes(_: str) -> float:
        return unit * float(number)

    return int(_number(text, in_bytes, lambda value: 1 <= value < math.inf, "a size such as 20GB, 500MiB or none"))


PROTOCOL_SETS = {
    "paper": ("paper",),
    "image-level": ("image-level",),
    "leak-free": ("leak-free",),
    "both": ("paper", "leak-free"),
    "all": ("paper", "image-level", "leak-free"),
}
"""The protocols that each value of ``--protocol`` names."""


def add_protocol(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Adds ``--protocol``, a key of ``PROTOCOL_SETS``; None for a default that depends on the dataset."""
    stated = default or "both on real data, all on the phantom"
    words = f"both: paper and leak-free; all: image-level folds as a control too; default: {stated}"
    parser.add_argument("--protocol", choices=tuple(PROTOCOL_SETS), default=default, help=words)


def require_root(root: Path | None) -> None:
    """Refuses a dataset's folder that is absent or empty, where one is given, before anything else is done.

    Raises:
        DatasetError: names it.
    """
    from mmdc_tf.datasets.files import require_folder

    if root is not None:
        require_folder(root)


def require_one(paths: Sequence[Path]) -> None:
    """Refuses images and folders of which none is there; of several, an absent one is named when it is read.

    Raises:
        ConfigurationError: names the first.
    """
    if paths and not any(path.expanduser().exists() for path in paths):
        raise ConfigurationError(
            f"Expected images or folders. Received: {paths[0]} (no such file). "
            f"{did_you_mean_path(paths[0], 'Correct the path.')}"
        )


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
