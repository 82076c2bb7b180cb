"""Ages, densities and labels as people write them, and the class that must not be missed."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from mmdc_tf.datasets.schema import AGE_RANGE, DENSITY_RANGE, Dataset, DatasetInfo
from mmdc_tf.datasets.tables import UNKNOWN_MARKS
from mmdc_tf.errors import ConfigurationError, DatasetError, InputError, did_you_mean

RANGES = {"age": AGE_RANGE, "density": DENSITY_RANGE}
FORMS = {"age": "45, 45.5, 45Y, 045Y or 45 years", "density": "2, B, BI-RADS 2 or DENSITY B"}
POSITIVE_CLASSES = ("malignant", "cancer", "malign", "malignancy", "cancerous", "carcinoma")
"""Names by which the class that must not be missed is recognised, in lower case."""

_AGE = re.compile(r"(\d{1,3}(?:[.,]\d*)?)\s*(?:y|yo|y\.\s?o\.|yrs?\.?|years?|years? old)?")
_DENSITY = re.compile(r"(?:(?:breast|density|bi-?\s?rads|acr|category|cat\.|type|class)[\s:_-]*)*(\d(?:[.,]0*)?|[a-d])")


def read_number(name: str, text: str) -> float:
    """An age in years or a density (1 to 4) as people write it; NaN where it is unknown.

    Args:
        name: "age" or "density".
        text: one of ``FORMS``, with a decimal point or comma, in upper or lower case; or one of ``UNKNOWN_MARKS``.

    Raises:
        InputError: anything else, or a number out of range.
    """
    number = _parsed(name, text)
    low, high = RANGES[name]
    if number is None or number < low or number > high:
        raise InputError(refusal(name, text))
    return number


def number_column(
    cells: pd.Series, name: str, source: object, zero_is_unknown: bool
) -> tuple[pd.Series, tuple[str, ...]]:
    """The ages or densities of a table.

    Args:
        cells: text, as ``read_number`` takes it; the index is the rows' numbers.
        name: "age" or "density".
        source: the table, for messages.
        zero_is_unknown: whether 0 stands for "unknown", as an age of 0 years does in tables of breast images.

    Returns:
        float64, NaN where unknown; and a note on the zeros.

    Raises:
        DatasetError: a cell is none of these; names the first with its row, and says how many there are.
    """
    low, high = RANGES[name]
    numbers = cells.map(lambda text: _parsed(name, text)).astype("float64")  # what is no such text becomes NaN too
    zero = (numbers == 0) & zero_is_unknown
    unknown = cells.str.strip().str.lower().isin(UNKNOWN_MARKS)
    broken = cells[~(unknown | zero | numbers.between(low, high))]
    if len(broken):
        row = f"in row {broken.index[0]} of {source}" + (f", one of {len(broken):,}" if len(broken) > 1 else "")
        raise DatasetError(refusal(name, broken.iloc[0], f" {row}"))
    note = f"{name} 0, taken as unknown: {zero.sum():,}, for example in row {zero.idxmax()}" if zero.any() else ""
    return numbers.mask(zero), (note,) if note else ()


def refusal(name: str, value: object, where: str = "") -> str:
    """The message on a value that is no age or no density, or is out of range."""
    low, high = RANGES[name]
    return (
        f"Expected {name} between {low} and {high}, written as {FORMS[name]}, or nothing where it is not known. "
        f"Received: {name}={value!r}{where}. Correct the value."
    )


def _parsed(name: str, text: str) -> float | None:
    """The number, whether it is in range or not; NaN for "unknown", None for what is none of the accepted forms."""
    wanted = text.strip().lower()
    if wanted in UNKNOWN_MARKS:
        return math.nan
    match = (_AGE if name == "age" else _DENSITY).fullmatch(wanted)
    if match is None:
        return None
    return float("abcd".index(match[1]) + 1) if match[1] in "abcd" else float(match[1].replace(",", "."))


def one_spelling(labels: pd.Series, class_names: Sequence[str] = ()) -> tuple[pd.Series, tuple[str, ...]]:
    """Labels that differ in case, spaces or composed characters only become one class, in lower case.

    Returns:
        The labels, spelled as in ``class_names`` where they are there, and a note on those of several spellings.
    """
    chosen = {_folded(name): name for name in class_names}
    read = labels.map(lambda label: chosen.get(_folded(label), _folded(label)))
    several = labels.groupby(read).unique().loc[lambda spellings: spellings.map(len) > 1]
    parts = [f"{', '.join(map(repr, sorted(spellings)))} as {label!r}" for label, spellings in several.items()]
    return read, (f"labels that differ in case or spaces only are one class: {'; '.join(parts)}",) if parts else ()


def _folded(label: str) -> str:
    return " ".join(unicodedata.normalize("NFC", label).lower().split())


def positive_class(class_names: Sequence[str]) -> str | None:
    """The class that must not be missed, recognised by its name; None where a dataset has none such, or several."""
    found = [name for name in class_names if _folded(name) in POSITIVE_CLASSES]
    return found[0] if len(found) == 1 else None


def with_positive_class(dataset: Dataset, name: str | None) -> Dataset:
    """The dataset with the class that decisions are about: one of its classes, whatever its case; ConfigurationError.

    ``name`` is None for the one that is recognised; a note says where there is none.
    """
    known = {_folded(one): one for one in dataset.info.class_names}
    if name is not None and _folded(name) not in known:
        hint = did_you_mean(_folded(name), known, "Choose one of them.")
        raise ConfigurationError(
            f"Expected a class of {', '.join(known.values())}. Received: positive_class={name!r}. {hint}"
        )
    info = replace(dataset.info, positive_class=None if name is None else known[_folded(name)])
    return replace(dataset, info=info, notes=(*dataset.notes, *positive_note(info)))


def positive_note(info: DatasetInfo) -> tuple[str, ...]:
    """A note where no class is known to be the one that must not be missed."""
    if info.positive_class or positive_class(info.class_names):
        return ()
    return (
        f"no class, or more than one, is recognised as the positive one ({', '.join(POSITIVE_CLASSES[:2])}, …) among "
        f"{', '.join(info.class_names)}: without it there is no threshold and no decision; "
        "name it with --positive-class NAME of `mmdc-tf run`",
    )
