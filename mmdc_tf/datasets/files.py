"""What the readers share: folders, tables as text, and finding on disk what a table names."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from mmdc_tf.datasets.images import IMAGE_SUFFIXES
from mmdc_tf.datasets.workbook import sheet_as_csv
from mmdc_tf.errors import DatasetError, did_you_mean_path

UNKNOWN_MARKS = ("", "-", "?", "na", "n/a", "nan", "none", "null", "unknown")


def require_folder(root: str | Path) -> Path:
    """Returns the folder as an absolute path.

    Raises:
        DatasetError: it is absent, not a folder, or empty, or its name is no text.
    """
    folder = Path(root).expanduser().resolve()
    if folder.is_dir() and any(folder.iterdir()):
        require_text(folder)
        return folder
    state = "an empty folder" if folder.is_dir() else "a file" if folder.exists() else "no such folder"
    raise DatasetError(
        f"Expected a folder with a dataset. Received: root={str(root)!r} ({state}). "
        + did_you_mean_path(folder, "Give the folder that holds the files (layouts: data/README.md).")
    )


def require_text(path: Path) -> None:
    """Refuses a path whose bytes are no UTF-8: no table, page or JSON file could name it.

    Raises:
        DatasetError: names it, with what is no text as escapes.
    """
    if _printable_bytes(str(path)) != str(path):
        raise DatasetError(
            f"Expected names of files and folders in UTF-8. Received: {_printable_bytes(str(path))}. Rename it."
        )


def _printable_bytes(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, 64 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inner_folder(root: Path, pattern: str) -> Path:
    """Returns the only sub-folder that matches the pattern, or ``root`` where there is not exactly one.

    Archives unpack into a folder of their own, and a user may name the folder around it. A link out of it is none.
    """
    inner = [path for path in root.glob(pattern) if path.is_dir() and stays_inside(path, root)]
    return inner[0] if len(inner) == 1 else root


def stays_inside(path: Path, root: Path) -> bool:
    """Whether what a path leads to, its links followed, lies in the folder; ``root`` is resolved."""
    return path.resolve().is_relative_to(root)


def outside_note(links: Sequence[Path], root: Path) -> tuple[str, ...]:
    """Returns a note on links to a place outside the dataset's folder, which may be anybody's files."""
    if not links:
        return ()
    names = [path.relative_to(root).as_posix() for path in sorted(links)]
    return (f"links that leave the dataset's folder, not followed: {len(names):,}, for example {_examples(names)}",)


def read_table_file(path: Path, required: Sequence[str]) -> pd.DataFrame:
    """Reads a CSV or XLSX table as text: a patient ``0029`` stays ``0029``.

    Args:
        path: a ``.csv`` (UTF-8) or ``.xlsx`` file with one header row.
        required: the columns that must be there.

    Returns:
        One row a table row, all columns text without surrounding blanks, "" for empty cells.

    Raises:
        DatasetError: the file is absent, not such a table, a row has more cells than the header, a cell holds a byte
            of value zero, or a required column is missing.
    """
    table = _read_as_text(path)
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise DatasetError(
            f"Expected the columns {', '.join(required)}. Received: {path} without {', '.join(missing)}. "
            "Add the columns (data/README.md shows the layout)."
        )
    table = table.apply(lambda column: column.fillna("").astype(str).str.strip())
    if any("\0" in cell for column in table for cell in table[column]):
        raise DatasetError(
            f"Expected text in the cells. Received: {path} with a byte of value zero in one. Save the table again."
        )
    return table


def _read_as_text(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() == ".xlsx":
            return _read_csv(sheet_as_csv(path))
        _require_columns_for_cells(path)
        return _read_csv(path)
    except Exception as error:  # pandas, openpyxl and zlib raise errors of many classes
        raise DatasetError(
            f"Expected a CSV (UTF-8) or XLSX table. Received: {path} ({type(error).__name__}: {error}). "
            "Restore the file or save it again in one of these formats."
        ) from error


def _read_csv(source: Path | io.StringIO) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of empty cells beyond the header
        return pd.read_csv(source, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)


def _require_columns_for_cells(path: Path) -> None:
    """Raises ``ValueError`` where cells without a column would be lost; empty ones are none."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        width = len(next(rows, []))
        for row in rows:
            if any(row[width:]):
                raise ValueError(f"line {rows.line_num} has more cells than the header")


def without_unknown(values: pd.Series) -> pd.Series:
    """Returns the text column with ``-``, ``n/a``, ``unknown`` and the like turned into ""."""
    return values.mask(values.str.lower().isin(UNKNOWN_MARKS), "")


def relative_path(text: str, source: str | Path) -> str:
    """Returns a table's path with forward slashes.

    Args:
        text: a path relative to the dataset's root, with ``/`` or back-slashes.
        source: the table, for the message.

    Raises:
        DatasetError: the path is absolute or leaves the root with ``..``.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", text):
        raise DatasetError(
            f"Expected a path below the dataset's root. Received: {text!r} in {source}. "
            "Write it relative to the root, without '..'."
        )
    return str(path) if text else ""


@dataclass(frozen=True)
class FileIndex:
    """The files below a folder, found by relative path whatever its upper and lower case.

    Archives made on Windows name one file in two ways (``_Mask.jpg``, ``_MASK.jpg``).

    Args:
        exact: relative path to file.
        folded: the same in lower case.
        outside: links out of the folder, which are no files of it.
    """

    exact: dict[str, Path]
    folded: dict[str, Path]
    outside: tuple[Path, ...] = ()

    def find(self, relative: str) -> Path | None:
        """Returns the file of exactly this name, else of this name in another case, else None."""
        return self.exact.get(relative) or self.folded.get(relative.lower())


def index_files(root: Path) -> FileIndex:
    """Lists the files below the folder once; files whose name starts with a dot are left out.

    Links to files inside are followed, links to folders never; links that leave the folder are listed as such.
    """
    paths = sorted(path for path in root.rglob("*") if not path.name.startswith(".") and _is_file_or_link(path))
    outside = tuple(path for path in paths if path.is_symlink() and not stays_inside(path, root))
    left_out = set(outside)
    files = [path for path in paths if path not in left_out and path.is_file()]
    exact = {path.relative_to(root).as_posix(): path for path in files}
    return FileIndex(exact, {relative.lower(): path for relative, path in exact.items()}, outside)


def _is_file_or_link(path: Path) -> bool:
    """A link that leads nowhere, such as one of a circle, is neither."""
    return path.is_file() or (path.is_symlink() and path.is_dir())


def keep_found(table: pd.DataFrame, root: Path, index: FileIndex) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Keeps the rows whose image is on disk, and says how many are not.

    Args:
        table: a sample table whose ``image_path`` and ``lesion_masks`` are relative to ``root``.
        root: the dataset's folder.
        index: its files.

    Returns:
        The rows with paths as on disk (lesion masks that are absent dropped), and notes.

    Raises:
        DatasetError: no image of the table is there.
    """
    found = [index.find(path) for path in table["image_path"]]
    outside = outside_note(index.outside, root)
    here = pd.Series([path is not None for path in found], index=table.index)
    absent = table.loc[~here, "image_path"]
    if not here.any():
        raise DatasetError(
            f"Expected the images that the table lists. Received: root={str(root)!r} with none of "
            f"{len(table):,}, for example {absent.iloc[0]!r}. Unpack the images there, or give another root."
            + "".join(f" ({note}.)" for note in outside)
        )
    kept = table[here].assign(image_path=[str(path) for path in found if path is not None])
    masks = [[(mask, index.find(mask)) for mask in row] for row in kept["lesion_masks"]]
    lost = [mask for row in masks for mask, path in row if path is None]
    kept["lesion_masks"] = pd.Series([tuple(str(path) for _, path in row if path) for row in masks], kept.index, object)
    return kept.reset_index(drop=True), (*_absent_note(absent, table, root), *_lost_mask_note(lost), *outside)


def _absent_note(absent: pd.Series, table: pd.DataFrame, root: Path) -> tuple[str, ...]:
    if absent.empty:
        return ()
    verb = "was" if len(absent) == 1 else "were"
    return (
        f"the table lists {len(table):,} images, {len(absent):,} {verb} not found under {root}, "
        f"for example {_examples(list(absent))}; going on with {len(table) - len(absent):,}",
    )


def _lost_mask_note(lost: list[str]) -> tuple[str, ...]:
    if not lost:
        return ()
    return (f"lesion masks that the table names and that were not found: {len(lost):,}, for example {_examples(lost)}",)


def _examples(names: list[str]) -> str:
    return ", ".join(map(_printable_bytes, names[:3]))


def unlisted_note(table: pd.DataFrame, root: Path, index: FileIndex) -> tuple[str, ...]:
    """Returns a note on image files that no row names; masks (``mask`` in the name) are not counted."""
    named = {*table["image_path"], *(mask for row in table["lesion_masks"] for mask in row)}
    unlisted = [
        str(path.relative_to(root))
        for path in index.exact.values()
        if path.suffix.lower() in IMAGE_SUFFIXES and "mask" not in path.stem.lower() and str(path) not in named
    ]
    if not unlisted:
        return ()
    return (f"image files that no row of the table names: {len(unlisted):,}, for example {_examples(unlisted)}",)
