"""The scans below a folder, the name of the PNG that each becomes, and the manifest of what became of them."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import NoReturn

from mmdc_tf.datasets.dicom import is_dicom
from mmdc_tf.datasets.files import MASK_NAME
from mmdc_tf.datasets.images import IMAGE_SUFFIXES
from mmdc_tf.errors import ConfigurationError, DatasetError
from mmdc_tf.io import write_with


@dataclass(frozen=True)
class ScanFolder:
    """What is below a folder: the PNG of each scan, lesion masks, links to a place outside, and other files.

    All paths are relative to the folder, with forward slashes, in order; links to a place outside are not followed.
    """

    outputs: dict[str, str]
    lesion_masks: tuple[str, ...]
    outside_links: tuple[str, ...]
    others: tuple[PurePosixPath, ...]


def list_scans(source: Path, left_out: Path) -> ScanFolder:
    """Lists the scans: files with a suffix of ``IMAGE_SUFFIXES``, and DICOM files of any name, without lesion masks.

    Names that start with a dot are passed over. Links to files inside the folder are followed; links to folders
    never: inside the folder they lead only to what is found anyway.

    Args:
        source: a folder, resolved.
        left_out: a folder whose content is no source, such as the results; resolved.

    Raises:
        DatasetError: a folder cannot be listed.
    """
    scans, outside, others = [], [], []
    for path in _entries(source, left_out):
        relative, real = path.relative_to(source).as_posix(), path.resolve()
        if not real.is_relative_to(source):
            outside.append(relative)
        elif path.is_dir() or real.is_relative_to(left_out):
            continue
        elif _is_scan(path):
            scans.append(relative)
        else:
            others.append(PurePosixPath(relative))
    masks = {mask for of_scan in masks_by_scan(scans).values() for mask in of_scan}
    outputs = png_names(sorted(set(scans) - masks))
    return ScanFolder(outputs, tuple(sorted(masks)), tuple(sorted(outside)), tuple(sorted(others)))


def _entries(source: Path, left_out: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(source, onerror=_cannot_be_listed):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(".") and here / name != left_out]
        yield from (here / name for name in [*links, *files] if not name.startswith("."))


def _cannot_be_listed(error: OSError) -> NoReturn:
    raise DatasetError(
        f"Expected folders that can be read. Received: {error.filename} ({error.strerror}). Change its permissions, "
        "or move it out of the input."
    ) from error


def _is_scan(path: Path) -> bool:
    # A link to nothing is a scan that cannot be read; a pipe or device is none and would block whoever opens it.
    if path.exists() and not path.is_file():
        return False
    return path.suffix.lower() in IMAGE_SUFFIXES or is_dicom(path)


def masks_by_scan(images: Iterable[str]) -> dict[str, list[str]]:
    """The lesion masks of each image that has some, by their names (relative paths); both in order.

    Beside a scan ``NAME.jpg``, images named ``NAME_Mask``, ``NAME_MASK2``, ``NAME_mask_1`` or ``Mask_NAME``, of any
    suffix and in upper or lower case, are its masks. An image of such a name without its scan beside it is a scan.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for image in sorted(images):
        by_name[_name(image).casefold()].append(image)
    masks: dict[str, list[str]] = defaultdict(list)
    for name, files in by_name.items():
        for scan in by_name.get(_name_of_scan(name), []):
            masks[scan] += files
    return {scan: sorted(masks[scan]) for scan in sorted(masks)}


@functools.cache
def masks_in(folder: Path) -> dict[str, list[Path]]:
    """The lesion masks beside each file of a folder, by its name; the folder is listed once for all its scans."""
    found = masks_by_scan(path.name for path in folder.iterdir())
    return {scan: [folder / one for one in masks if _has_suffix(one)] for scan, masks in found.items()}


def _name_of_scan(name: str) -> str:
    """The scan whose lesion mask an image of this name would be; "" where it would be none."""
    path = PurePosixPath(name)
    match = MASK_NAME.fullmatch(path.name)
    return str(path.parent / (match["before"] or match["after"])) if match else ""


def png_names(sources: Iterable[str]) -> dict[str, str]:
    """Names of PNG files for relative paths, no two alike even where upper and lower case are one.

    ``a.jpg`` becomes ``a.png``; where that is also what another file or a folder would be called, all of them keep
    their suffix: ``a.jpg.png``. The names depend on the sources' names alone.
    """
    sources = list(sources)
    folders = {str(parent).casefold() for source in sources for parent in PurePosixPath(source).parents}
    names = {source: f"{_name(source)}.png" for source in sources}
    while True:
        counts = Counter(name.casefold() for name in names.values())
        shared = [
            source
            for source, name in names.items()
            if name != f"{source}.png" and (counts[name.casefold()] > 1 or name.casefold() in folders)
        ]
        if not shared:
            return names
        names |= {source: f"{source}.png" for source in shared}


def _name(source: str) -> str:
    """The path without the suffix of an image. A DICOM file's name may be a number with dots: no suffix."""
    return str(PurePosixPath(source).with_suffix("")) if _has_suffix(source) else source


def _has_suffix(source: str) -> bool:
    return PurePosixPath(source).suffix.lower() in IMAGE_SUFFIXES


@dataclass(frozen=True)
class Row:
    """One scan in ``manifest.csv``; the fields are its columns, in order.

    Args:
        source: the scan, relative to the input folder.
        output: the PNG, relative to the output folder; "" where there is none.
        sha256: of the scan's file; "" where it has no PNG.
        width, height: of the scan in pixels; None where it cannot be read.
        box_left, box_top, box_width, box_height: in pixels of the scan, the box that the recipe cuts to; the whole scan
            where the recipe has no crop.
        kept_fraction: the box's area as a share of the scan's.
        side: "L" or "R", the half of the box that holds more light; "" where neither does.
        flags: separated by ";": ``unreadable`` (the file), ``failed`` (the recipe), ``no_region`` and
            ``no_breast_found`` (all was kept), ``blank`` (one value), ``transparent`` (black was put behind it), and of
            DICOM files ``window_skipped``, ``lut_bits_corrected``, ``presentation_shape_differs``.
        reason: why it is unreadable or failed.
        seconds: for reading, preprocessing and writing.
        recipe: its name.
        size: height and width of the PNG in pixels.
    """

    source: str
    output: str = ""
    sha256: str = ""
    width: int | None = None
    height: int | None = None
    box_left: int | None = None
    box_top: int | None = None
    box_width: int | None = None
    box_height: int | None = None
    kept_fraction: float | None = None
    side: str = ""
    flags: str = ""
    reason: str = ""
    seconds: float = 0.0
    recipe: str = ""
    size: int = 0

    @property
    def failed(self) -> bool:
        return not {"unreadable", "failed"}.isdisjoint(self.flags.split(";"))


COLUMNS = tuple(field.name for field in fields(Row))
_NUMBERS = {field.name: float if "float" in str(field.type) else int for field in fields(Row) if field.type != "str"}


def read_manifest(path: Path) -> dict[str, Row]:
    """The rows by source, none without a file and none of a cut-off line; ``ConfigurationError`` on other columns."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    if tuple(next(lines, ())) != COLUMNS:
        raise ConfigurationError(
            f"Expected a manifest with the columns {', '.join(COLUMNS)}. Received: {path} with others. "
            "Choose another --output."
        )
    rows = {}
    for line in lines:
        with contextlib.suppress(ValueError):  # of a line that was cut off
            values: dict = dict(zip(COLUMNS, line, strict=True))
            numbers = {name: kind(values[name]) if values[name] else None for name, kind in _NUMBERS.items()}
            rows[values["source"]] = Row(**values | numbers)
    return rows


def write_manifest(path: Path, rows: Iterable[Row]) -> None:
    """Writes the manifest whole, in order of the sources."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(COLUMNS)
            lines.writerows(astuple(row) for row in sorted(rows, key=lambda row: row.source))

    write_with(path, write)
