"""An Excel sheet as rows of text, in bounded time and memory, whatever the file claims."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_UNPACKED = 50 * 2**20
"""Bytes of a workbook's parts, which a sheet of 7,808 rows and 20 columns, as Mini-DDSM's, does not come near."""
MOST_ROWS, MOST_CELLS = 2**20, 5_000_000
"""Excel's own number of rows; and cells, among them the empty ones that a row with a far cell begins with."""


def sheet_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The first sheet of a workbook: the number and the cells of each row with content, without empty cells at its end.

    Formulas stand as their last results. The archive is looked at when the first row is asked for.

    Args:
        path: a ``.xlsx`` file; what stands below ``MOST_ROWS`` is not read.

    Raises:
        ValueError: it unpacks to more than ``MOST_UNPACKED``, or has more than ``MOST_CELLS`` cells.
        Exception: it is no workbook; ``zipfile`` and openpyxl raise errors of many classes.
    """
    _require_bearable(path)
    yield from _rows(path)


def _require_bearable(path: Path) -> None:
    """Empty cells with a format, or with nothing, unpack to a hundred times the file's size."""
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > MOST_UNPACKED:
        raise ValueError(
            f"unpacks to {size // 2**20:,} MB of at most {MOST_UNPACKED // 2**20}; delete empty rows and columns that "
            "hold formats"
        )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    from openpyxl import load_workbook

    with path.open("rb") as file:  # by its name openpyxl refuses a workbook that is called .csv
        sheet = load_workbook(file, read_only=True, data_only=True, keep_links=False).worksheets[0]
        sheet.reset_dimensions()  # what the file claims may be a million rows of 16,384 cells
        cells = 0
        for number, row in enumerate(sheet.iter_rows(max_row=MOST_ROWS, values_only=True), start=1):
            cells += len(row)
            if cells > MOST_CELLS:
                raise ValueError(f"more than {MOST_CELLS:,} cells up to row {number:,}")
            if any(value is not None for value in row):
                yield number, _texts(row)


def _texts(row: tuple[Any, ...]) -> list[str]:
    end = len(row)
    while row[end - 1] is None:
        end -= 1
    return [_text(value) for value in row[:end]]


def _text(value: Any) -> str:
    """A cell as it looks: 50.0 as "50"."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
