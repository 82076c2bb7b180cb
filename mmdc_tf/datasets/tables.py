"""Tables as people save them, read as text: CSV with any usual separator, and Excel workbooks, in bounded memory."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.errors import DatasetError

SEPARATORS = (",", ";", "\t", "|")
UNKNOWN_MARKS = ("", "-", "--", ".", "?", "na", "n/a", "#n/a", "<na>", "nan", "none", "null", "missing", "unknown")
MOST_UNPACKED = 50 * 2**20
"""Bytes of a workbook's parts, which a sheet of 7,808 rows and 20 columns, as Mini-DDSM's, does not come near."""
MOST_ROWS, MOST_CELLS = 2**20, 5_000_000
"""Excel's own number of rows; and cells, among them the empty ones that a row with a far cell begins with."""
_WORKBOOK, _OLD_WORKBOOK = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_END = "\x1f"  # a line of its own below the table
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\b[^>]*\bref=[\"']([A-Z0-9:]+)")
_ZEROS = re.compile(r'(?:"([^"]*)")?(0+)(?:"([^"]*)")?')
"""A number format that shows leading zeros, and text before and after."""

NumberedRows = Iterable[tuple[int, list[str]]]


def read_table_file(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a CSV or XLSX table as text: a patient ``0029`` stays ``0029``.

    What the file is, is told from its content. A CSV is UTF-8 or UTF-16, with or without a byte order mark, and
    separated by commas, semicolons, tabs or ``|``. Of a workbook the first sheet is read, formulas by their last
    results. Columns match whatever their case, spaces and underscores.

    Args:
        path: the file; its first row with content is the header.
        required: the columns that must be there.
        optional: further columns that the caller knows.

    Returns:
        One row a table row, its index the number of the row in the file (the header is mostly row 1); all columns text
        without surrounding blanks, "" for empty cells. Known columns have the names given here, others their own.

    Raises:
        DatasetError: the file is absent, not such a table, a row has more cells than the header, a cell holds a byte
            of value zero, cells are merged, a formula has no result, a known column stands there twice, or a required
            one is missing.
    """
    known = (*required, *optional)
    try:
        data = path.read_bytes()
        if data.startswith(_OLD_WORKBOOK):
            raise ValueError("an old Excel workbook, .xls, or one with a password")
        further: list[str] = []
        rows = _sheet_rows(path, further) if data.startswith(_WORKBOOK) else _csv_rows(_text(data), known)
        table = _table(rows, known)
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
            f"{', '.join(table.columns)}. Add the columns (docs/datasets.md shows the layout)."
        )
    table.attrs["further_sheets"] = further
    return table


def unused_columns_note(table: pd.DataFrame, known: Sequence[str]) -> tuple[str, ...]:
    """Returns notes on the columns of a table that its reader does not know, and on further sheets of its workbook."""
    sheets, columns = table.attrs.get("further_sheets"), [column for column in table.columns if column not in known]
    notes = {"sheets of the workbook that are not read": sheets, "columns of the table that are not used": columns}
    return tuple(
        f"{what}: {', '.join(map(repr, names[:10]))}{f' and {len(names) - 10:,} more' if len(names) > 10 else ''}"
        for what, names in notes.items()
        if names
    )


def without_unknown(values: pd.Series) -> pd.Series:
    """Returns the text column with ``-``, ``n/a``, ``unknown`` and the like turned into ""."""
    return values.mask(values.str.lower().isin(UNKNOWN_MARKS), "")


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


def _sheet_rows(path: Path, further: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The first sheet: the number and cells of each row with content, without empty cells at its end.

    Names of other sheets with content are added to ``further``.
    """
    from openpyxl import load_workbook

    with zipfile.ZipFile(path) as archive:  # empty cells with a format unpack to a hundred times the file's size
        size = sum(part.file_size for part in archive.infolist())
    if size > MOST_UNPACKED:
        raise ValueError(
            f"unpacks to {size // 2**20:,} MB of at most {MOST_UNPACKED // 2**20}; delete empty rows and columns that "
            "hold formats"
        )
    with path.open("rb") as file:  # by its name openpyxl refuses a workbook that is called .csv
        options = {"read_only": True, "keep_links": False}
        sheet, *others = load_workbook(file, **options).worksheets
        with zipfile.ZipFile(path) as archive:
            merged = _MERGED.findall(archive.read(sheet._worksheet_path))
        if merged:
            raise ValueError(f"merged cells, {merged[0].decode()} of the sheet {sheet.title!r}; unmerge and fill them")
        further += [other.title for other in others if any(_filled(row) for _, row in _rows(other))]
        results: dict[int, tuple] = {}
        for number, row in _rows(sheet):
            if not results and any(cell.data_type == "f" for cell in row):
                results = dict(_rows(load_workbook(file, data_only=True, **options).worksheets[0]))
            yield number, [_shown(cell, results.get(number, ())) for cell in row]


def _rows(sheet: Any) -> Iterator[tuple[int, tuple]]:
    """The rows with content, as cells, each with its number."""
    sheet.reset_dimensions()  # what the file claims may be a million rows of 16,384 cells
    cells = 0
    for number, row in enumerate(sheet.iter_rows(max_row=MOST_ROWS), start=1):
        cells += len(row)
        if cells > MOST_CELLS:
            raise ValueError(f"more than {MOST_CELLS:,} cells up to row {number:,}")
        if filled := _filled(row):
            yield number, row[:filled]


def _filled(row: tuple) -> int:
    """How many cells there are up to the last one with content."""
    return max((place for place, cell in enumerate(row, start=1) if cell.value is not None), default=0)


def _shown(cell: Any, results: tuple) -> str:
    """A cell as it looks: 50.0 as "50", and 29 as "0029" where its number format says so."""
    value = cell.value
    if value is None:
        return ""
    if cell.data_type == "f":
        value = next((one.value for one in results if one.value is not None and one.column == cell.column), None)
        if value is None:
            raise ValueError(f"a formula without a result in {cell.coordinate}; open the file in Excel and save it")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    zeros = _ZEROS.fullmatch(cell.number_format) if isinstance(value, int) and value >= 0 else None
    return f"{zeros[1] or ''}{value:0{len(zeros[2])}d}{zeros[3] or ''}" if zeros else str(value)


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
