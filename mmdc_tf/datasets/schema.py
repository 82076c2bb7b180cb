"""The sample table: one row an image, the same columns whatever the source."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mmdc_tf.errors import DatasetError

COLUMNS = (
    "sample_id",
    "image_path",
    "label",
    "patient_id",
    "group_id",
    "age",
    "density",
    "view",
    "side",
    "lesion_masks",
)
VIEWS = ("CC", "MLO")
SIDES = ("LEFT", "RIGHT")
DENSITY_RANGE = (1, 4)
AGE_RANGE = (0, 120)
TWIN_UNIT = "near-twin cluster"
"""The ``group_unit`` of datasets that name no patients: their groups are images that look alike."""


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a dataset before a file of it is read.

    Args:
        name: the name used on the command line, for example ``"busi"``.
        title: the name for people.
        modality: ``"mammography"`` or ``"ultrasound"``; it chooses the default preprocessing recipe.
        class_names: the ordered class names; a label's index is its place here.
        expected_counts: images a class in the complete dataset; empty where nothing is declared.
        group_unit: what ``group_id`` stands for: ``"patient"`` or ``TWIN_UNIT``.
        citation, licence, homepage: where it comes from and on what terms.
        synthetic: True for phantoms: everything made from them says "phantom: not a reproduction".
        digitizer_from_name: True where the letter that starts a file name is the site and digitizer of the image.
        positive_class: the class that decisions are about, where a user named it; None for the one that is recognised.
    """

    name: str
    title: str
    modality: str
    class_names: tuple[str, ...]
    expected_counts: dict[str, int]
    group_unit: str
    citation: str
    licence: str
    homepage: str
    synthetic: bool = False
    digitizer_from_name: bool = False
    positive_class: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A dataset's facts, its sample table, and what was noticed while it was read.

    Args:
        info: the declared facts.
        table: the sample table (columns ``COLUMNS``), sorted by ``sample_id``.
        root: the folder that was read.
        notes: one clear line each for what a user must know (absent images, skipped files, counts
            that differ from the declared ones).
        has_images: False where only the table was read and no image need exist.
        found_counts: images a class on disk.
    """

    info: DatasetInfo
    table: pd.DataFrame
    root: Path
    notes: tuple[str, ...] = field(default=())
    has_images: bool = True

    @property
    def found_counts(self) -> dict[str, int]:
        counts = self.table["label"].value_counts()
        return {name: int(counts.get(name, 0)) for name in self.info.class_names}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what the table says and of each image file's content: 16 hexadecimal digits."""
        digest = hashlib.sha256()
        facts = self.table[["sample_id", "label", "group_id", "age", "density"]]
        digest.update(facts.to_csv(index=False).encode())
        for path in self.table["image_path"] if self.has_images else ():
            with Path(path).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]


def check_sample_table(table: pd.DataFrame, class_names: tuple[str, ...], source: str) -> pd.DataFrame:
    """Returns the table with exact columns, dtypes and order, or raises naming what is wrong.

    Args:
        table: one row an image; its index numbers the rows in messages. ``age`` in years and ``density`` 1 to 4
            (BI-RADS), NaN where unknown; ``lesion_masks`` a tuple of paths; ``view``/``side`` "" where unknown.
        class_names: the labels that may occur, lower case.
        source: the file or folder that the table comes from, for messages.

    Raises:
        DatasetError: a column is missing, an image is listed twice, a label is unknown, a value is out
            of range, a group or path is empty, or no row is left.
    """
    _require_columns(table, source)
    table = table.loc[:, list(COLUMNS)].copy()
    if table.empty:
        raise DatasetError(
            f"Expected at least one image. Received: source={source} with none. "
            "Check the folder's layout (data/README.md)."
        )
    for column in ("sample_id", "image_path", "label", "patient_id", "group_id", "view", "side"):
        table[column] = table[column].fillna("").astype(str)
    for column in ("age", "density"):
        table[column] = _as_number(table[column], source)
    _require_unique(table, "sample_id", source)
    _require_unique(table, "image_path", source)
    _require_known(table, "label", class_names, source)
    _require_known(table, "view", (*VIEWS, ""), source)
    _require_known(table, "side", (*SIDES, ""), source)
    _require_filled(table, ("sample_id", "image_path", "group_id"), source)
    _require_range(table, "age", AGE_RANGE, source)
    _require_range(table, "density", DENSITY_RANGE, source)
    return table.sort_values("sample_id", kind="stable").reset_index(drop=True)


def _require_columns(table: pd.DataFrame, source: str) -> None:
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DatasetError(
            f"Expected the columns {', '.join(COLUMNS)}. Received: {source} without {', '.join(missing)}. "
            "Add the columns (empty cells mean unknown)."
        )


def _as_number(values: pd.Series, source: str) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    broken = values[numbers.isna() & values.notna() & (values.astype(str).str.strip() != "")]
    if len(broken):
        raise DatasetError(
            f"Expected numbers in the column {values.name!r} of {source}. Received: {broken.iloc[0]!r}. "
            "Leave the cell empty where the value is unknown."
        )
    return numbers.astype("float64")


def _require_unique(table: pd.DataFrame, column: str, source: str) -> None:
    repeated = table.loc[table[column].duplicated(), column]
    if len(repeated):
        raise DatasetError(
            f"Expected each image once. Received: {column}={repeated.iloc[0]!r} more than once in {source} "
            f"({len(repeated)} repeats in all). Remove the repeated rows."
        )


def _require_known(table: pd.DataFrame, column: str, known: tuple[str, ...], source: str) -> None:
    unknown = table.loc[~table[column].isin(known), ["sample_id", column]]
    if len(unknown):
        first = unknown.iloc[0]
        names = ", ".join(repr(name) for name in known)
        raise DatasetError(
            f"Expected {column} to be one of {names}. Received: {column}={first[column]!r} for "
            f"{first['sample_id']!r} in {source}. Correct the value."
        )


def _require_filled(table: pd.DataFrame, columns: tuple[str, ...], source: str) -> None:
    for column in columns:
        blank = (table[column].str.strip() == "").to_numpy()
        if blank.any():
            raise DatasetError(
                f"Expected a value in the column {column!r} of every row of {source}. "
                f"Received: an empty cell in row {table.index[blank][0]}. Fill it in."
            )


def _require_range(table: pd.DataFrame, column: str, limits: tuple[int, int], source: str) -> None:
    low, high = limits
    outside = table.loc[table[column].notna() & ~table[column].between(low, high), ["sample_id", column]]
    if len(outside):
        first = outside.iloc[0]
        raise DatasetError(
            f"Expected {column} between {low} and {high}, or empty where unknown. Received: "
            f"{column}={first[column]:g} for {first['sample_id']!r} in {source}. Correct the value."
        )
