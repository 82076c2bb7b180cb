"""Tables as text: what cannot be read whole is refused by name, never read in part."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mmdc_tf.datasets.tables import read_table_file
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
        ("id,age\na,1,3\nb,2,4\n", "row 2 has more cells"),
        ("id,age\na,1\nb,2,4\n", "row 3 has more cells"),
        ("id,age\na\0b,1\n", "a byte of value zero"),
        ('id,age\n"a,1\n', "a quote that is never closed in row 2"),
    ],
)
def test_a_broken_csv_is_refused_by_name(tmp_path: Path, text: str, named: str):
    with pytest.raises(DatasetError, match=rf"(?s)Received: .*a\.csv.*{named}"):
        read_table_file(written(tmp_path / "a.csv", text), ("id",))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\xd0\xcf\x11\xe0 of Excel 97", "an old Excel workbook, .xls, or one with a password"),
        ("id,name\na,Müller\n".encode("cp1252"), "line 2 is not UTF-8"),
        (b"ID,id\na,b\n", "the column id twice: 'ID' and 'id'"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_table_is_named_for_what_it_is(tmp_path: Path, content: bytes, named: str):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"Received: .*a\.csv \({named}"):
        read_table_file(tmp_path / "a.csv", ("id",))


def test_spaces_around_quotes_do_no_harm(tmp_path: Path):
    table = read_table_file(written(tmp_path / "a.csv", '"id" , "age"\n"a" , "x, ""y"""\n'), ("id",))
    assert table.to_dict("list") == {"id": ["a"], "age": ['x, "y"']}


def test_rows_are_numbered_as_in_the_file(tmp_path: Path):
    """The line that Excel reads the separator from, blank lines and a cell of two lines included."""
    table = read_table_file(written(tmp_path / "a.csv", 'sep=;\nid;age\n\na;"1\n2"\nb;"3;4"\n'), ("id",))
    assert list(table.index) == [4, 5] and table["age"].tolist() == ["1\n2", "3;4"]


def test_columns_without_a_name_or_with_that_of_another_are_kept_apart(tmp_path: Path):
    table = read_table_file(written(tmp_path / "a.csv", ",Id,x,x,\n0,a,1,2,\n"), ("id",))
    assert table.to_dict("list") == {"column 1": ["0"], "id": ["a"], "x": ["1"], "column 4": ["2"]}


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


def workbook(path: Path, rows: str, dimension: str = "A1:B2") -> Path:
    """A workbook with the columns id and age, the row a, 1, and further rows as XML."""
    pd.DataFrame({"id": ["a"], "age": ["1"]}).to_excel(path, index=False)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    text = (
        parts[sheet]
        .decode()
        .replace('ref="A1:B2"', f'ref="{dimension}"')
        .replace("</sheetData>", f"{rows}</sheetData>")
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**parts, sheet: text.encode()}.items():
            archive.writestr(name, content)
    return path


def most_memory(work: Callable[[], object]) -> int:
    """In bytes, of what Python holds."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_workbook_reads_as_it_looks(tmp_path: Path):
    """Numbers as typed, leading zeros of text kept, a formula by its last result, an empty row left out."""
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
def test_rows_without_content_cost_nothing(tmp_path: Path, rows: str, dimension: str):
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
def test_cells_far_away_are_refused_in_little_memory(tmp_path: Path, rows: str, named: str):
    """pandas fills all between with empty cells: 11 GB where the first stands in Excel's last row, in 5 kB."""
    path = workbook(tmp_path / "a.xlsx", rows)

    def read() -> None:
        with pytest.raises(DatasetError, match=rf"Received: .*a\.xlsx .*{named}"):
            read_table_file(path, ("id",))

    assert most_memory(read) < 30e6


def test_a_workbook_that_unpacks_to_far_more_is_refused_before_it_is_read(tmp_path: Path):
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
