"""Tables as text: what cannot be read whole is refused by name, never read in part."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from mmdc_tf.datasets.tables import read_table_file, unused_columns_note
from mmdc_tf.errors import DatasetError


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,age\n0029, 61 \n=1+1,\n", {"id": ["0029", "=1+1"], "age": ["61", ""]}),
        ("id,age\na,1,\nb,2,\n", {"id": ["a", "b"], "age": ["1", "2"]}),  # nothing beyond the header
        ('"id" , "age"\n"a" , "x, ""y"""\n', {"id": ["a"], "age": ['x, "y"']}),
        (",Id,x,x,\n0,a,1,2,\n", {"column 1": ["0"], "id": ["a"], "x": ["1"], "column 4": ["2"]}),
        ("id,age\n", {"id": [], "age": []}),
    ],
)
def test_text_stays_text_and_empty_cells_empty(tmp_path, text, expected):
    assert read_table_file(written(tmp_path / "a.csv", text), ("id",)).to_dict("list") == expected


def test_rows_are_numbered_as_in_the_file(tmp_path):
    """The line that Excel reads the separator from, blank lines and a cell of two lines included."""
    table = read_table_file(written(tmp_path / "a.csv", 'sep=;\nid;age\n\na;"1\n2"\nb;"3;4"\n'), ("id",))
    assert list(table.index) == [4, 5] and table["age"].tolist() == ["1\n2", "3;4"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("id,age\na,1,3\nb,2,4\n", "row 2 has more cells"),
        ("id,age\na,1\nb,2,4\n", "row 3 has more cells"),
        ("id,age\na\0b,1\n", "a byte of value zero"),
        ('id,age\n"a,1\n', "a quote that is never closed in row 2"),
        (b"\xd0\xcf\x11\xe0 of Excel 97", "an old Excel workbook, .xls, or one with a password"),
        ("id,name\na,Müller\n".encode("cp1252"), "line 2 is not UTF-8"),
        ("ID,id\na,b\n", "the column id twice: 'ID' and 'id'"),
        ("", "an empty file"),
    ],
)
def test_what_is_no_table_is_named_for_what_it_is(tmp_path, content, named):
    with pytest.raises(DatasetError, match=rf"Expected a CSV \(UTF-8\) or XLSX table. Received: .*a\.csv \({named}"):
        read_table_file(written(tmp_path / "a.csv", content), ("id",))


def test_a_workbook_with_a_damaged_sheet_is_refused_by_name(tmp_path):
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


def test_what_a_sheet_shows_is_read_and_what_is_not_read_is_named(tmp_path):
    book = openpyxl.Workbook()
    for row in (["id", "age", "site"], [29, 50.0, 7], [1234567, 0.5, 123], ["0030", "45", None]):
        book.active.append(row)
    for cell, form in {"A2": "0000", "A3": "0000", "C2": '"S"00', "C3": '"S"00', "B2": "0.00"}.items():
        book.active[cell].number_format = form
    book.create_sheet("empty")
    book.create_sheet("notes")["B7"] = "left out"
    book.save(tmp_path / "a.xlsx")
    table = read_table_file(tmp_path / "a.xlsx", ("id",))
    expected = {"id": ["0029", "1234567", "0030"], "age": ["50", "0.5", "45"], "site": ["S07", "S123", ""]}
    assert table.to_dict("list") == expected
    assert unused_columns_note(table, ("id", "site")) == (
        "sheets of the workbook that are not read: 'notes'",
        "columns of the table that are not used: 'age'",
    )
    book.active["B3"] = "=1+1"
    book.save(tmp_path / "a.xlsx")  # which computes nothing
    with pytest.raises(DatasetError, match=r"a\.xlsx \(a formula without a result in B3; open the file in Excel"):
        read_table_file(tmp_path / "a.xlsx", ("id",))
    book.active["B3"] = 2
    book.active.merge_cells("A2:A4")
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(DatasetError, match=r"a\.xlsx \(merged cells, A2:A4 of the sheet 'Sheet'; unmerge and fill"):
        read_table_file(tmp_path / "a.xlsx", ("id",))


def workbook(path: Path, rows: str, dimension: str = "A1:B2") -> Path:
    """A workbook with the columns id and age, the row a, 1, and further rows as XML."""
    pd.DataFrame({"id": ["a"], "age": ["1"]}).to_excel(path, index=False)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    sheet = parts[name].decode().replace('ref="A1:B2"', f'ref="{dimension}"')
    parts[name] = sheet.replace("</sheetData>", f"{rows}</sheetData>").encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    return path


def most_memory(work: Callable[[], object]) -> int:
    """In bytes, of what Python holds."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_formula_is_read_by_its_last_result_and_empty_rows_are_left_out(tmp_path):
    rows = (
        '<row r="4"><c r="A4" t="inlineStr"><is><t>0029</t></is></c><c r="B4"><v>61</v></c></row>'
        '<row r="5"><c r="A5"><v>50.5</v></c><c r="B5"><f>1+1</f><v>2</v></c></row>'
    )
    table = read_table_file(workbook(tmp_path / "a.xlsx", rows), ("id",))
    assert table.to_dict("list") == {"id": ["a", "0029", "50.5"], "age": ["1", "61", "2"]}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("rows", "dimension"),
    [
        ("", "A1:XFD1048576"),
        ("".join(f'<row r="{n}"/>' for n in range(3, 20_000)), "A1:B20000"),
        ("".join(f'<row r="{n}"><c r="A{n}" s="1"/><c r="B{n}" s="1"/></row>' for n in range(3, 10_000)), "A1:B10000"),
        ('<row r="1048577"><c r="A1048577" t="inlineStr"><is><t>x</t></is></c></row>', "A1:B2"),
        ('<row r="99999999999"><c r="A1" t="inlineStr"><is><t>x</t></is></c></row>', "A1:B2"),
    ],
    ids=["claimed", "empty", "formatted", "beyond Excel", "hang"],
)
def test_rows_without_content_cost_nothing(tmp_path, rows, dimension):
    path = workbook(tmp_path / "a.xlsx", rows, dimension)
    assert read_table_file(path, ("id",)).to_dict("list") == {"id": ["a"], "age": ["1"]}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ('<row r="2000"><c r="XFD2000" t="inlineStr"><is><t>x</t></is></c></row>', "row 2000 has more cells"),
        ("".join(f'<row r="{n}"><c r="XFD{n}" s="1"/></row>' for n in range(3, 400)), "more than 5,000,000 cells"),
        (
            '<row r="3"><c r="A3" t="inlineStr"><is><t>b</t></is></c><c r="C3"><v>1</v></c></row>',
            "row 3 has more cells",
        ),
    ],
    ids=["one far cell", "many far cells", "no column"],
)
def test_cells_far_away_are_refused_in_little_memory(tmp_path, rows, named):
    """pandas fills all between with empty cells: 11 GB where the first stands in Excel's last row, in 5 kB."""
    path = workbook(tmp_path / "a.xlsx", rows)

    def read() -> None:
        with pytest.raises(DatasetError, match=rf"Received: .*a\.xlsx .*{named}"):
            read_table_file(path, ("id",))

    assert most_memory(read) < 30e6


def test_a_workbook_that_unpacks_to_far_more_is_refused_before_it_is_read(tmp_path):
    """256 MB of empty rows in a quarter of a megabyte."""
    path = workbook(tmp_path / "a.xlsx", "")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("xl/more.xml", "w") as part:
        for _ in range(256):
            part.write(b"<row r='5'/>    " * 2**16)
    assert path.stat().st_size < 2**21

    def read() -> None:
        with pytest.raises(DatasetError, match="unpacks to 256 MB of at most 50; delete empty rows"):
            read_table_file(path, ("id",))

    assert most_memory(read) < 5e6
