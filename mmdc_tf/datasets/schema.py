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
NOTICE = "phantom: not a reproduction"
"""Stands on everything made from a phantom, whose folder holds the two files."""
NOTICE_FILE, PARAMETERS_FILE = "PHANTOM.txt", "phantom.json"


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a dataset before a file of it is read.

    Args:
        name: as on the command line, for example ``"busi"``; ``title`` is for people.
        modality: ``"mammography"`` or ``"ultrasound"``; it chooses the default preprocessing recipe.
        class_names: the ordered class names; a label's index is its place here.
        expected_counts: images a class in the complete dataset; empty where nothing is declared.
        group_unit: what ``group_id`` stands for: ``"patient"`` or ``TWIN_UNIT``.
        synthetic: True for phantoms: everything made from them says "phantom: not a reproduction".
        digitizer_from_name: True where the letter that starts a file name is the site and digitizer of the image.
        positive_class: the class that decisions are about, where a user named it; None for the one that is recognised.
        patients: in the complete dataset; None where it names none.
        offers: what it has besides images and labels: "age", "density", "masks", "official folds".
        size: of the download, where it matters.
    """

    name: str
    title: str
    modality: str
    class_names: tuple[str, ...]
    expected_counts: dict[str, int] = field(default_factory=dict)
    group_unit: str = "patient"
    citation: str = ""
    licence: str = ""
    homepage: str = ""
    synthetic: bool = False
    digitizer_from_name: bool = False
    positive_class: str | None = None
    patients: int | None = None
    offers: tuple[str, ...] = ()
    size: str = ""


@dataclass(frozen=True)
class Dataset:
    """A dataset's facts, its sample table, and what was noticed while it was read.

    Args:
        table: the sample table (columns ``COLUMNS``), sorted by ``sample_id``.
        root: the folder that was read.
        notes: one clear line each for what a user must know (absent images, skipped files, other counts than declared).
        has_images: False where only the table was read and no image need exist.
        site: ``sample_id`` → hospital or device of an image, "" where unknown; None where the data set does not say.
        official: ``sample_id`` → number of the publisher's test fold, -1 for images that only train; None without any.
    """

    info: DatasetInfo
    table: pd.DataFrame
    root: Path
    notes: tuple[str, ...] = ()
    has_images: bool = True
    official: pd.Series | None = None
    site: pd.Series | None = None

    @property
    def found_counts(self) -> dict[str, int]:
        """Images a class."""
        counts = self.table["label"].value_counts()
        return {name: int(counts.get(name, 0)) for name in self.info.class_names}

    @property
    def is_phantom(self) -> bool:
        """Declared as one, or read from a phantom's folder under any other name."""
        return self.info.synthetic or (self.root / NOTICE_FILE).is_file()

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
        DatasetError: a column is missing, an image is listed twice, a label is unknown, a value is out of range, a
            group or path is empty, or no row is left.
    """
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DatasetError(
            f"Expected the columns {', '.join(COLUMNS)}. Received: {source} without {', '.join(missing)}. "
            "Add the columns (empty cells mean unknown)."
        )
    table = table.loc[:, list(COLUMNS)].copy()
    if table.empty:
        raise DatasetError(
            f"Expected at least one image. Received: source={source} with none. "
            "Check the folder's layout (docs/datasets.md)."
        )
    for column in ("sample_id", "image_path", "label", "patient_id", "group_id", "view", "side"):
        table[column] = table[column].fillna("").astype(str)
    for column in ("age", "density"):
        table[column] = _as_number(table[column], source)
    for column in ("sample_id", "image_path"):
        repeated = table.loc[table[column].duplicated(), column]
        if len(repeated):
            raise DatasetError(
                f"Expected each image once. Received: {column}={repeated.iloc[0]!r} more than once in {source} "
                f"({len(repeated)} repeats in all). Remove the repeated rows."
            )
    for column, known in (("label", class_names), ("view", (*VIEWS, "")), ("side", (*SIDES, ""))):
        wanted = f"Expected {column} to be one of {', '.join(map(repr, known))}."
        _refuse(table[~table[column].isin(known)], column, source, wanted)
    for column in ("sample_id", "image_path", "group_id"):
        blank = (table[column].str.strip() == "").to_numpy()
        if blank.any():
            raise DatasetError(
                f"Expected a value in the column {column!r} of every row of {source}. "
                f"Received: an empty cell in row {table.index[blank][0]}. Fill it in."
            )
    for column, (low, high) in (("age", AGE_RANGE), ("density", DENSITY_RANGE)):
        wanted = f"Expected {column} between {low} and {high}, or empty where unknown."
        _refuse(table[table[column].notna() & ~table[column].between(low, high)], column, source, wanted)
    return table.sort_values("sample_id", kind="stable").reset_index(drop=True)


def _refuse(rows: pd.DataFrame, column: str, source: str, wanted: str) -> None:
    if len(rows):
        value, sample = rows.iloc[0][[column, "sample_id"]]
        shown = repr(value) if isinstance(value, str) else f"{value:g}"
        raise DatasetError(f"{wanted} Received: {column}={shown} for {sample!r} in {source}. Correct the value.")


def _as_number(values: pd.Series, source: str) -> pd.Series:
    numbers = pd.to_numeric(values, errors="coerce")
    broken = values[numbers.isna() & values.notna() & (values.astype(str).str.strip() != "")]
    if len(broken):
        raise DatasetError(
            f"Expected numbers in the column {values.name!r} of {source}. Received: {broken.iloc[0]!r}. "
            "Leave the cell empty where the value is unknown."
        )
    return numbers.astype("float64")
