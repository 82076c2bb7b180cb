"""The errors that this package raises on bad input.

Every message says what was expected, then ``Received: name=value``, then what to do.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""What TensorFlow and Keras colour their messages with."""
RESEARCH_USE = "Research use only, not a medical device."
"""Stands on everything that people may read as a result."""


class InputError(ValueError):
    """Bad input from the user: ends a command with one clear line and exit code 2."""


class DatasetError(InputError):
    """A dataset folder or table that cannot be used as it is."""


class UnreadableImageError(DatasetError):
    """An image file that cannot be decoded; the message names its path."""


class SplitError(InputError):
    """A split that would put one group (patient, near-twin cluster) on both sides."""


class ConfigurationError(InputError):
    """An option, row, recipe or run folder that does not fit the rest."""


class WeightsError(InputError):
    """Pretrained weights that cannot be had or do not fit the backbone."""


class SystemLibraryError(InputError, ImportError):
    """A library of the operating system that a dependency needs and does not find."""


class TrainingDivergedError(RuntimeError):
    """A loss that became NaN or infinite: the row fails, the others go on."""


def one_line(error: BaseException, longest: int | None = None) -> str:
    """The message of an error as ``plain_line``; ``longest`` characters of it, None for all."""
    return plain_line(str(error))[:longest]


def plain_line(text: str) -> str:
    """A text on one line, without a terminal's colours and what else cannot be printed."""
    return printable(" ".join(TERMINAL_COLOUR.sub("", text).split()))


def printable(text: str) -> str:
    """Text for a terminal: what could move its cursor or break a line becomes a question mark."""
    return "".join(character if character.isprintable() else "?" for character in text)


def counted(count: int, noun: str) -> str:
    """``1 row``, ``1,234 rows``; the noun as of one."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def kind_and_line(error: BaseException, longest: int) -> str:
    """``"ValueError: its message"``, for errors that this package does not raise itself; arguments as ``one_line``."""
    return f"{type(error).__name__}: {one_line(error, longest)}"


def require_packages(names: Sequence[str], extra: str, purpose: str) -> None:
    """Looks for packages of an extra, without importing them.

    Args:
        names: as they are imported.
        extra: of this package, which installs them.
        purpose: what needs them.

    Raises:
        ConfigurationError: one is not installed.
    """
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise ConfigurationError(
            f"Expected {', '.join(names)} for {purpose}. Received: no {', '.join(missing)} in {sys.executable}. "
            f"Install what is missing: pip install 'mmdc_tf[{extra}]'."
        )


def did_you_mean(name: str, known: Iterable[str], otherwise: str, cutoff: float = 0.6) -> str:
    """The last sentence of a message on an unknown name: the nearest known one, or ``otherwise``.

    Args:
        name: what was given; upper and lower case do not matter.
        known: the names.
        otherwise: what to do where no name is near.
        cutoff: as in ``difflib.get_close_matches``.
    """
    written = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), list(written), n=1, cutoff=cutoff)
    return f"Did you mean {written[near[0]]!r}?" if near else otherwise


def did_you_mean_path(path: Path, otherwise: str) -> str:
    """The same for a path: where it is absent, the nearest name beside the first of its folders that is absent."""
    absent = path.expanduser().absolute()
    if absent.exists():
        return otherwise
    while not absent.parent.is_dir():
        absent = absent.parent
    with contextlib.suppress(OSError):  # a folder that cannot be listed suggests nothing
        return did_you_mean(absent.name, [one.name for one in absent.parent.iterdir()], otherwise)
    return otherwise
