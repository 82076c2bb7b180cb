"""``manifest.csv``: what became of each scan of a folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.io import write_with

FAILED_FLAGS = ("unreadable", "failed")


@dataclass(frozen=True)
class Row:
    """One scan; the fields are the manifest's columns, in order.

    Args:
        source: the scan, relative to the input folder.
        output: the PNG, relative to the output folder; "" where there is none.
        sha256: of the scan's file; "" where it cannot be opened.
        width: of the scan in pixels, as are all of the box; None where it cannot be read.
        height: see ``width``.
        box_left: the box that the recipe's crop kept; the whole scan where the recipe has no crop.
        box_top: see ``box_left``.
        box_width: see ``box_left``.
        box_height: see ``box_left``.
        kept_fraction: the box's area as a share of the scan's.
        side: "L" or "R", the half of the kept region that holds more light; "" where neither does.
        flags: separated by ";": ``unreadable`` (the file), ``failed`` (the recipe), ``no_region`` (none was found,
            so that all was kept), ``no_breast_found`` (lesion-safe kept the whole scan), ``blank`` (the scan has one
            value), ``transparent`` (black was put behind it), and of DICOM files ``window_skipped`` (not valid),
            ``lut_bits_corrected`` (other bits than declared), ``presentation_shape_differs`` (from the photometric
            interpretation; 0 is shown white).
        reason: why it is unreadable or failed.
        seconds: for reading, preprocessing and writing.
        recipe: its name.
        size: height and width of the PNG in pixels.
    """

    source: str
    output: str
    sha256: str
    width: int | None
    height: int | None
    box_left: int | None
    box_top: int | None
    box_width: int | None
    box_height: int | None
    kept_fraction: float | None
    side: str
    flags: str
    reason: str
    seconds: float
    recipe: str
    size: int

    @property
    def failed(self) -> bool:
        """Whether there is no PNG."""
        return any(flag in FAILED_FLAGS for flag in self.flags.split(";"))


COLUMNS = tuple(field.name for field in fields(Row))
_NUMBERS = {field.name: float if "float" in str(field.type) else int for field in fields(Row) if field.type != "str"}


def read_manifest(path: Path) -> dict[str, Row]:
    """The rows by source; none where the file is absent. A last line that was cut off is dropped.

    Raises:
        ConfigurationError: the file has other columns.
    """
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    if tuple(next(lines, ())) != COLUMNS:
        raise ConfigurationError(
            f"Expected a manifest with the columns {', '.join(COLUMNS)}. Received: {path} with others. "
            "Choose another --output."
        )
    rows = (_row(line) for line in lines)
    return {row.source: row for row in rows if row is not None}


def _row(line: list[str]) -> Row | None:
    if len(line) != len(COLUMNS):
        return None
    values: dict = dict(zip(COLUMNS, line, strict=True))
    try:
        return Row(**values | {name: kind(values[name]) if values[name] else None for name, kind in _NUMBERS.items()})
    except ValueError:
        return None


def csv_line(values: Iterable[object]) -> str:
    """One line of the manifest, with its end."""
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Writes the manifest whole, in order of the sources."""
    lines = [csv_line(COLUMNS), *(csv_line(astuple(row)) for row in sorted(rows, key=lambda row: row.source))]
    content = "".join(lines).encode("utf-8", errors="surrogateescape")
    write_with(path, lambda temporary: temporary.write_bytes(content))
