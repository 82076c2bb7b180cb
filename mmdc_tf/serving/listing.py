"""Which images are to be predicted, and what is given with each: files, folders and a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdc_tf.datasets.files import PathFinder, kinds
from mmdc_tf.datasets.tables import read_table_file, unused_columns_note
from mmdc_tf.datasets.values import number_column
from mmdc_tf.errors import DatasetError
from mmdc_tf.preprocessing.scan_folder import list_scans

PATH_COLUMN, VALUES = "image_path", ("age", "density")


@dataclass(frozen=True)
class Listing:
    """What is to be predicted: images, none twice, and notes for the user.

    Of each image the age and density: None where none is given, NaN for "unknown".
    """

    paths: tuple[Path, ...]
    ages: tuple[float | None, ...]
    densities: tuple[float | None, ...]
    notes: tuple[str, ...]


def list_images(paths: Sequence[Path], table: Path | None, age: float | None, density: float | None) -> Listing:
    """Lists the images of files and folders, or of the table where no path is named.

    Args:
        paths: files, and folders that are searched as ``scan_folder.list_scans`` does, without lesion masks.
        table: with the columns image_path (absolute, or relative to the table), and age or density or both; an empty
            cell says nothing, "unknown" or an age of 0 that the value is unknown.
        age, density: for all images of which the table says nothing.

    Raises:
        DatasetError: a folder holds no image or cannot be read, or the table cannot be used.
    """
    rows, table_notes = ({}, ()) if table is None else _rows(table)
    found, notes = _search(paths) if paths else ([image for image, _, _ in rows.values()], [])
    notes += table_notes
    images: dict[Path, Path] = {}
    for image in found:
        images.setdefault(image.resolve(), image)
    given = [rows.get(real) for real in images]
    if unused := len(rows.keys() - images.keys()):
        notes.append(f"rows of {table} for images that are not asked for: {unused:,}")
    if table is not None and None in given:
        notes.append(f"images without a row in {table}: {given.count(None):,}")
    return Listing(
        tuple(images.values()),
        tuple(age if row is None or row[1] is None else row[1] for row in given),
        tuple(density if row is None or row[2] is None else row[2] for row in given),
        tuple(notes),
    )


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
        if scans.others:
            notes.append(f"files in {path} that are no scans, left out: {len(scans.others):,} ({kinds(scans.others)})")
    return found, notes


def _rows(path: Path) -> tuple[dict[Path, tuple[Path, float | None, float | None]], tuple[str, ...]]:
    """The table's rows, image, age and density, by the image's resolved path; and notes."""
    known = (PATH_COLUMN, *VALUES)
    table = read_table_file(path, known[:1], VALUES)
    if not set(VALUES) & set(table.columns):
        raise DatasetError(
            f"Expected a column age, density or both beside {PATH_COLUMN}. Received: {path} with "
            f"{', '.join(table.columns)}. Add one, with empty cells where a value is not known."
        )
    notes, given = unused_columns_note(table, known), table.reindex(columns=list(known), fill_value="")
    for name in VALUES:
        values, zeros = number_column(given[name], name, path, zero_is_unknown=name == "age")
        given[name], notes = values.astype(object).where(given[name] != "", None), (*notes, *zeros)
    finder, rows = PathFinder(path.parent), {}
    for number, text, age, density in given.itertuples():
        if not text:
            raise DatasetError(
                f"Expected a path in the column {PATH_COLUMN} of every row. Received: none in row {number} of {path}. "
                "Fill it in."
            )
        image = finder.find(text) or path.parent / text
        if image.resolve() in rows:
            raise DatasetError(
                f"Expected each image once. Received: {PATH_COLUMN}={text!r} again in row {number} of {path}. "
                "Remove the repeated row."
            )
        rows[image.resolve()] = (image, age, density)
    return rows, notes
