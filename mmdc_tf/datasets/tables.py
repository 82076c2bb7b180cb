"""Tables as people save them, read as text: CSV with any usual separator, and Excel workbooks."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.workbook import sheet_rows
from mmdc_tf.errors import DatasetError

SEPARATORS = (",", ";", "\t", "|")
UNKNOWN_MARKS = ("", "-", "--", ".", "?", "na", "n/a", "#n/a", "<na>", "nan", "none", "null", "missing", "unknown")
_WORKBOOK, _OLD_WORKBOOK = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_END = "\x1f"  # a line of its own below the table
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

NumberedRows = Iterable[tuple[int, list[str]]]


def read_table_file(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a CSV or XLSX table as text: a patient ``0029`` stays ``0029``.

    What the file is, is told from its content. A CSV is UTF-8 or UTF-16, with or without a byte order mark, and
    separated by commas, semicolons, tabs or ``|``. Columns match whatever their case, spaces and underscores.

    Args:
        path: the file; its first row with content is the header.
        required: the columns that must be there.
        optional: further columns that the caller knows.

    Returns:
        One row a table row, its index the number of the row in the file (the header is mostly row 1); all columns text
        without surrounding blanks, "" for empty cells. Known columns have the names given here, others their own.

    Raises:
        DatasetError: the file is absent, not such a table, a row has more cells than the header, a cell holds a byte
            of value zero, a known column stands there twice, or a required one is missing.
    """
    try:
        table = _table(_rows(path, (*required, *optional)), (*required, *optional))
    except Exception as error:  # openpyxl and zlib raise errors of many classes
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        raise DatasetError(
            f"Expected a CSV (UTF-8) or XLSX table. Received: {path} ({kind}{error}). "
            "Restore the file or save it again in one of these formats."
        ) from error
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise DatasetError(
            f"Expected the columns {', '.join(required)}. Received: {path} without {', '.join(missing)}; it has "
            f"{', '.join(table.columns)}. Add the columns (data/README.md shows the layout)."
        )
    return table


def unused_columns_note(table: pd.DataFrame, known: Sequence[str]) -> tuple[str, ...]:
    """Returns a note on the columns of a table that its reader does not know."""
    unused = [column for column in table.columns if column not in known]
    if not unused:
        return ()
    more = f" and {len(unused) - 10:,} more" if len(unused) > 10 else ""
    return (f"columns of the table that are not used: {', '.join(map(repr, unused[:10]))}{more}",)


def without_unknown(values: pd.Series) -> pd.Series:
    """Returns the text column with ``-``, ``n/a``, ``unknown`` and the like turned into ""."""
    return values.mask(values.str.lower().isin(UNKNOWN_MARKS), "")


def _rows(path: Path, known: Sequence[str]) -> NumberedRows:
    data = path.read_bytes()
    if data.startswith(_OLD_WORKBOOK):
        raise ValueError("an old Excel workbook, .xls, or one with a password")
    return sheet_rows(path) if data.startswith(_WORKBOOK) else _csv_rows(_text(data), known)


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise ValueError(f"line {line} is not UTF-8; Excel saves that as 'CSV UTF-8'") from error
    if "\0" in text:
        raise ValueError("a byte of value zero in a cell")
    return text


def _csv_rows(text: str, known: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    hint = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)  # a line of Excel's own
    text, first = (text[hint.end() :], 2) if hint else (text, 1)
    number = first
    for number, cells in enumerate(
        _parsed(f"{text}\n{_END}", hint[1] if hint else _separator(text, known)), start=first
    ):
        if cells == [_END]:
            return
        yield number, cells
    raise ValueError(f"a quote that is never closed in row {number}")  # it took the end with it


def _separator(text: str, known: Sequence[str]) -> str:
    """The one that finds most of the known columns in the header, or else most columns."""
    wanted = set(map(_key, known))

    def fits(separator: str) -> tuple[int, int]:
        header = next(filter(any, _parsed(text, separator)), [])
        return len(wanted & set(map(_key, header))), len(header)

    return max(SEPARATORS, key=fits)


def _parsed(text: str, separator: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)


def _table(rows: NumberedRows, known: Sequence[str]) -> pd.DataFrame:
    header: list[str] = []
    content: dict[int, list[str]] = {}
    for number, raw in rows:
        cells = [cell.strip() for cell in raw]
        if not any(cells):
            continue
        if not header:
            header = _names(cells, known)
            continue
        if any(cells[len(header) :]):
            raise ValueError(f"row {number} has more cells than the header")
        content[number] = (cells + [""] * len(header))[: len(header)]
    if not header:
        raise ValueError("an empty file")
    return pd.DataFrame.from_dict(content, orient="index", columns=header, dtype=str)


def _names(cells: list[str], known: Sequence[str]) -> list[str]:
    """The columns' names: the known ones as they are known, others as they stand there; numbers for those without."""
    known_by_key = {_key(name): name for name in known}
    taken: dict[str, str] = {}
    while not cells[-1]:
        cells = cells[:-1]
    for number, cell in enumerate(cells, start=1):
        name = known_by_key.get(_key(cell), cell) or f"column {number}"
        if name in taken and name in known:
            raise ValueError(f"the column {name} twice: {taken[name]!r} and {cell!r}")
        taken[name if name not in taken else f"column {number}"] = cell
    return list(taken)


def _key(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())
