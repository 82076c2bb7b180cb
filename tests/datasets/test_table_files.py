"""Tables as text: what cannot be read whole is refused by name, never read in part."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from mmdc_tf.datasets.files import read_table_file
from mmdc_tf.errors import DatasetError


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_text_stays_text_and_empty_cells_empty(tmp_path: Path):
    table = read_table_file(written(tmp_path / "a.csv", "id,age\n0029, 61 \n=1+1,\n"), ("id",))
    assert table.to_dict("list") == {"id": ["0029", "=1+1"], "age": ["61", ""]}


def test_empty_cells_beyond_the_header_are_nothing(tmp_path: Path):
    assert read_table_file(written(tmp_path / "a.csv", "id,age\na,1,\nb,2,\n"), ("id",))["age"].tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("id,age\na,1,3\nb,2,4\n", "line 2 has more cells"),
        ("id,age\na,1\nb,2,4\n", "line 3 has more cells"),
        ("id,age\na\0b,1\n", "a byte of value zero"),
        ('id,age\n"a,1\n', "EOF"),
    ],
)
def test_a_broken_csv_is_refused_by_name(tmp_path: Path, text: str, named: str):
    with pytest.raises(DatasetError, match=rf"(?s)Received: .*a\.csv.*{named}"):
        read_table_file(written(tmp_path / "a.csv", text), ("id",))


def test_a_table_without_rows_has_its_columns(tmp_path: Path):
    table = read_table_file(written(tmp_path / "a.csv", "id,age\n"), ("id", "age"))
    assert len(table) == 0


def test_a_workbook_with_a_damaged_sheet_is_refused_by_name(tmp_path: Path):
    """The archive opens, and the sheet's compressed bytes do not unpack."""
    path = tmp_path / "a.xlsx"
    pd.DataFrame({"id": ["a"] * 50}).to_excel(path, index=False)
    with zipfile.ZipFile(path) as archive:
        sheet = archive.getinfo("xl/worksheets/sheet1.xml")
    data = bytearray(path.read_bytes())
    middle = sheet.header_offset + 60 + sheet.compress_size // 2
    data[middle : middle + 20] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"Expected a CSV \(UTF-8\) or XLSX table\. Received: .*a\.xlsx"):
        read_table_file(path, ("id",))
