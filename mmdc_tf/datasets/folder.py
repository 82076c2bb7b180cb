"""A user's own images: a folder with a CSV of the sample table's columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.files import (
    content_of,
    index_files,
    keep_found,
    relative_path,
    require_folder,
    unlisted_notes,
)
from mmdc_tf.datasets.schema import COLUMNS, Dataset, DatasetInfo, check_sample_table
from mmdc_tf.datasets.tables import read_table_file, unused_columns_note, without_unknown
from mmdc_tf.datasets.values import number_column, one_spelling
from mmdc_tf.errors import ConfigurationError, DatasetError

TABLE_NAMES = ("samples.csv", "samples.xlsx", "samples.tsv", "samples.txt", "samples.xls")
REQUIRED_COLUMNS = ("sample_id", "image_path", "label")
MODALITIES = ("mammography", "ultrasound")


def load_folder(root: str | Path, class_names: Sequence[str] | None = None, modality: str = "mammography") -> Dataset:
    """Reads a folder with ``samples.csv`` or another of ``TABLE_NAMES``, in any case; one row an image.

    The table has the columns of the sample table; ``sample_id``, ``image_path`` and ``label`` must be there, a
    missing column or an empty cell elsewhere means unknown. ``image_path`` and ``lesion_masks`` (several masks
    separated by ``;``) are relative to the folder. ``group_id`` is the unit that never crosses a split; where the
    table has none it is the patient.

    Args:
        root: the folder.
        class_names: the ordered class names; by default the labels in lower case, in alphabetical order.
        modality: ``"mammography"`` or ``"ultrasound"``.

    Returns:
        The samples whose image is on disk; notes count and name those that are not.

    Raises:
        ConfigurationError: the modality is unknown.
        DatasetError: the folder, the table or all images are absent, a needed column is missing, neither patient
            nor group is known for a row, a patient is in two groups, fewer than two classes occur, or a value
            cannot be used.
    """
    if modality not in MODALITIES:
        raise ConfigurationError(
            f"Expected modality to be one of {', '.join(MODALITIES)}. Received: modality={modality!r}. Choose one."
        )
    folder = require_folder(root)
    files = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    path = next((files[name] for name in TABLE_NAMES if name in files), None)
    if path is None:
        raise DatasetError(
            f"Expected {TABLE_NAMES[0]} or {TABLE_NAMES[1]}. Received: root={str(folder)!r} without one; it holds "
            f"{content_of(folder)}. Write the table (docs/datasets.md shows its columns), or give its folder."
        )
    read = read_table_file(path, REQUIRED_COLUMNS, COLUMNS)
    raw, value_notes = _complete(read, path, class_names or ())
    classes = tuple(class_names or sorted(set(raw["label"]) - {""}))
    unit = "patient" if raw["group_id"].equals(raw["patient_id"]) else "group"
    index = index_files(folder)
    table, notes = keep_found(check_sample_table(raw, classes, str(path)), folder, index)
    table = check_sample_table(table, classes, str(path))
    labels = set(table["label"])
    if len(labels) < 2:
        raise DatasetError(
            f"Expected images of at least two classes. Received: {path} with label={labels.pop()!r} only. "
            "Add the images of the other classes."
        )
    info = DatasetInfo("folder", folder.name, modality, classes, group_unit=unit)
    notes = (*unused_columns_note(read, COLUMNS), *value_notes, *notes, *unlisted_notes(table, path, folder, index))
    return Dataset(info, table, folder, notes)


def _complete(raw: pd.DataFrame, path: Path, class_names: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Adds the columns that are not there, turns cells into what the sample table holds, and says what was noticed."""
    table = raw.reindex(columns=list(COLUMNS), fill_value="")
    for column in ("label", "patient_id", "group_id", "view", "side", "lesion_masks"):
        table[column] = without_unknown(table[column])
    table["label"], notes = one_spelling(table["label"], class_names)
    for column in ("age", "density"):
        table[column], zeros = number_column(table[column], column, path, zero_is_unknown=column == "age")
        none = (f"{column} is not known for any row of {path.name}",) if table[column].isna().all() else ()
        notes = (*notes, *zeros, *none)
    table["image_path"] = [relative_path(text, path) for text in table["image_path"]]
    table["view"], table["side"] = table["view"].str.upper(), table["side"].str.upper()
    table["lesion_masks"] = [
        tuple(relative_path(mask.strip(), path) for mask in text.split(";") if mask.strip())
        for text in table["lesion_masks"]
    ]
    return table.assign(group_id=_groups(table, path)), notes


def _groups(table: pd.DataFrame, path: Path) -> pd.Series:
    """Groups as given, else patients; both rules at once would tear a patient apart, so that raises."""
    groups = table["group_id"].where(table["group_id"] != "", table["patient_id"])
    homeless = table.loc[groups == "", "sample_id"]
    if len(homeless):
        raise DatasetError(
            f"Expected patient_id or group_id in every row. Received: {path} with neither for {len(homeless):,} of "
            f"{len(table):,} rows, for example sample_id={homeless.iloc[0]!r}. Add one of the columns: the leak-free "
            "protocol must know which images stay together (where each is on its own, repeat sample_id as group_id)."
        )
    known = table["patient_id"] != ""
    spread = groups[known].groupby(table.loc[known, "patient_id"]).nunique()
    if (spread > 1).any():
        raise DatasetError(
            f"Expected each patient in one group. Received: patient_id={spread.idxmax()!r} in {spread.max()} groups "
            f"in {path}. Give all images of a patient the same group_id, or leave the column out."
        )
    return groups
