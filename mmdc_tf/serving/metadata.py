"""Age and density of a patient: given, from the header of her image, or unknown."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmdc_tf.datasets.values import RANGES, read_number, refusal
from mmdc_tf.errors import InputError

GIVEN, HEADER, UNKNOWN, NOT_USED = "given", "header", "unknown", "not used"
LEAST_DIFFERENCE = 1.0
"""A header holds completed years: 61.5 does not differ from 61."""


@dataclass(frozen=True)
class MetadataValue:
    """One value as a model was given it.

    Args:
        value: years, or BI-RADS density 1 to 4; None where the model was told that it is unknown, or takes no metadata.
        source: "given", "header", "unknown" or, for a model that takes no metadata, "not used".
        in_header: what the DICOM header says, as text where that cannot be read; None where it says nothing.
    """

    value: float | None
    source: str
    in_header: float | str | None = None

    @property
    def number(self) -> float:
        """The value, NaN where it is None."""
        return math.nan if self.value is None else self.value


def checked(name: str, value: float | str | None) -> float | None:
    """A value that was given for ``"age"`` or ``"density"``: a number, NaN for "unknown", None for "not given".

    Args:
        name: which of the two.
        value: a number, or text as ``values.read_number`` takes it.

    Raises:
        InputError: it is neither, or out of ``RANGES``.
    """
    if isinstance(value, str):
        return read_number(name, value)
    low, high = RANGES[name]
    try:
        number = None if value is None else float(value)
    except TypeError:
        number = math.inf
    if number is None or math.isnan(number) or low <= number <= high:
        return number
    raise InputError(refusal(name, value))


def number(name: str, text: str) -> float | None:
    """A value as a user writes it: a number or "unknown" (NaN), as ``values.read_number`` takes it, or nothing (None).

    Args:
        name: "age" or "density".
        text: what is written.

    Raises:
        InputError: anything else, or a number out of range.
    """
    return None if text == "" else read_number(name, text)


def resolve(given: float | None, in_header: float | None, used: bool) -> tuple[MetadataValue, bool]:
    """Which value a model is given: one that was given wins over the header's, also NaN, "unknown".

    Args:
        given: as from ``checked``.
        in_header: None where the header says nothing.
        used: False for a model that takes no metadata.

    Returns:
        The value, and whether a number that was given differs from the header's by ``LEAST_DIFFERENCE`` or more.
    """
    number = None if given is None or math.isnan(given) else given
    differs = number is not None and in_header is not None and abs(number - in_header) >= LEAST_DIFFERENCE
    if not used:
        return MetadataValue(None, NOT_USED, in_header), differs
    if number is not None:
        return MetadataValue(number, GIVEN, in_header), differs
    if given is None and in_header is not None:
        return MetadataValue(in_header, HEADER, in_header), differs
    return MetadataValue(None, UNKNOWN, in_header), differs
