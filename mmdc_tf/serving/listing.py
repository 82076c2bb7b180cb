"""Which images are to be predicted, and what is given with each: files, folders and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.files import read_table_file
from mmdc_tf.errors import DatasetError, InputError
from mmdc_tf.preprocessing.scan_folder import list_scans
from mmdc_tf.serving.metadata import number

PATH_COLUMN, VALUES = "image_path", ("age", "density")


@dataclass(frozen=True)
class Listing:
    """What is to be predicted.

    Args:
        paths: the images, none twice.
        ages: for each; None where none is given, NaN for "unknown".
        densities: in the same way.
        notes: what a user must know, a line each.
    """

    paths: tuple[Path, ...]
    ages: tuple[float | None, ...]
    densities: tuple[float | None, ...]
    notes: tuple[str, ...]


def list_images(paths: Sequence[Path], table: Path | None, age: float | None, density: float | None) -> Listing:
    """Lists the images of files and folders, or of the table where no path is named.

    Args:
        paths: files, and folders that are searched as ``scan_folder.list_scans`` does, without lesion masks.
        table: a CSV or XLSX file with the columns image_path (absolute, or relative to the table), and age or density
            or both; an empty cell says nothing, "unknown" that the value is unknown.
        age, density: for all images of which the table says nothing.

    Raises:
        DatasetError: a folder holds no image or cannot be read, or the table cannot be used.
        InputError: a value of the table is no number or out of range.
    """
    rows = {} if table is None else _rows(table)
    found, notes = _search(paths) if paths else ([row.image for row in rows.values()], [])
    images: dict[Path, Path] = {}
    for image in found:
        images.setdefault(image.resolve(), image)
    given = [rows.get(real) for real in images]
    unused = len(rows) - sum(row is not None for row in given)
    if unused:
        notes.append(f"rows of {table} for images that are not asked for: {unused:,}")
    return Listing(
        tuple(images.values()),
        tuple(age if row is None or row.age is None else row.age for row in given),
        tuple(density if row is None or row.density is None else row.density for row in given),
        tuple(notes),
    )


@dataclass(frozen=True)
class _Row:
    image: Path
    age: float | None
    density: float | None


def _search(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    found: list[Path] = []
    notes = []
    for path in paths:
        if not path.is_dir():
            found.append(path)  # one that is absent is named when it is read
            continue
        scans = list_scans(path.resolve(), path.resolve() / ".none")  # a name that it passes over anyway
        if not scans.outputs:
            raise DatasetError(
                f"Expected PNG, JPEG, TIFF, BMP or DICOM files in the folder. Received: {path} with none. "
                "Give the folder that holds the scans."
            )
        found += [path / scan for scan in scans.outputs]
        if scans.lesion_masks:
            notes.append(f"lesion masks in {path}, left out: {len(scans.lesion_masks):,}")
        if scans.outside_links:
            notes.append(f"links that leave {path}, not followed: {len(scans.outside_links):,}")
    return found, notes


def _rows(path: Path) -> dict[Path, _Row]:
    """The table's rows by the image's resolved path."""
    table = read_table_file(path, (PATH_COLUMN,))
    if not set(VALUES) & set(table.columns):
        raise DatasetError(
            f"Expected a column age, density or both beside {PATH_COLUMN}. Received: {path} with "
            f"{', '.join(table.columns)}. Add one, with empty cells where a value is not known."
        )
    rows: dict[Path, _Row] = {}
    for line, (_, cells) in enumerate(table.iterrows(), start=2):
        row = _row(path, line, cells)
        if row.image.resolve() in rows:
            raise DatasetError(
                f"Expected each image once. Received: {PATH_COLUMN}={cells[PATH_COLUMN]!r} again in line {line} of "
                f"{path}. Remove the repeated row."
            )
        rows[row.image.resolve()] = row
    return rows


def _row(path: Path, line: int, cells: pd.Series) -> _Row:
    if not cells[PATH_COLUMN]:
        raise DatasetError(
            f"Expected a path in the column {PATH_COLUMN} of every row. Received: none in line {line} of {path}. "
            "Fill it in."
        )
    try:
        age, density = (number(name, cells.get(name, "")) for name in VALUES)
    except InputError as error:
        raise InputError(f"Line {line} of {path}: {error}") from error
    return _Row(path.parent / cells[PATH_COLUMN], age, density)
