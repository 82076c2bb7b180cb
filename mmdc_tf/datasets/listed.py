"""What the readers of published data sets share: a table of theirs becomes a dataset whose images are on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.files import content_of, index_files, inner_folder, keep_found, require_folder, unlisted_notes
from mmdc_tf.datasets.images import IMAGE_SUFFIXES
from mmdc_tf.datasets.schema import COLUMNS, Dataset, DatasetInfo, check_sample_table
from mmdc_tf.datasets.values import number_column
from mmdc_tf.errors import DatasetError, counted

SIDES = {"L": "LEFT", "R": "RIGHT", "LEFT": "LEFT", "RIGHT": "RIGHT"}
STANDARD_VIEWS = {"CC": "CC", "MLO": "MLO", "ML": "MLO", "LM": "MLO", "LMO": "MLO"}
"""Laterals count as MLO: INbreast writes ML for its oblique views, elsewhere it is our assumption. Other views stay
unknown."""
CATEGORIES = {"1": "normal", "2": "benign", "3": "benign", "4": "suspicious", "5": "suspicious", "6": "suspicious"}
"""BI-RADS → label, the usual mapping; a reader's assessment, not a biopsy."""
NOT_BIOPSY = "labels are BI-RADS assessments (1 normal, 2 and 3 benign, 4 to 6 suspicious), not pathology"


def find_tables(root: str | Path, patterns: Sequence[str]) -> tuple[Path, list[Path]]:
    """The data set's folder, ``root`` or one below it, and in it one file for each pattern.

    Args:
        root: as given.
        patterns: of file names, in any case, such as ``"bus_data.csv"``.

    Raises:
        DatasetError: a table is absent; says what is there.
    """

    def tables(folder: Path) -> dict[str, Path]:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        matching = {one: [p for p in files if fnmatch(p.name.lower(), one.lower())] for one in patterns}
        return {one: paths[0] for one, paths in matching.items() if paths}

    folder, _ = inner_folder(require_folder(root), "\0", lambda one: len(tables(one)) == len(patterns))
    found = tables(folder)
    if absent := [one for one in patterns if one not in found]:
        raise DatasetError(
            f"Expected the tables {', '.join(patterns)}. Received: root={str(folder)!r} without {', '.join(absent)}; "
            f"it holds {content_of(folder)}. Give the folder that holds them (layouts: docs/datasets.md)."
        )
    return folder, list(found.values())


def labels_of(cells: pd.Series, known: dict[str, str], source: Path) -> pd.Series:
    """Each cell's label; ``known`` has the cells in lower case.

    Raises:
        DatasetError: a cell is none of them; names the first with its row.
    """
    read = cells.str.lower().map(known)
    unknown = cells[read.isna()]
    if len(unknown):
        raise DatasetError(
            f"Expected labels of {', '.join(known)}. Received: {unknown.iloc[0]!r} in row {unknown.index[0]} of "
            f"{source}, one of {len(unknown):,}. Correct the table."
        )
    return read


def listed_dataset(
    info: DatasetInfo,
    folder: Path,
    source: Path,
    rows: pd.DataFrame,
    notes: Iterable[str] = (),
    official: pd.Series | None = None,
) -> Dataset:
    """A dataset from rows that name images below ``folder``; what is not there is counted and named.

    Args:
        info: the declared facts.
        folder: the data set's.
        source: the table, for messages.
        rows: some columns of the sample table: ``image_path`` (relative), ``label``, ``patient_id``; the others may be
            absent, which means unknown. ``age`` and ``density`` may be text as people write it. ``site``, of no sample
            table, is the hospital or device.
        notes: what the reader has to say.
        official: ``image_path`` → number of the official test fold, -1 for images that only train.

    Raises:
        DatasetError: an image is listed twice, a value cannot be used, or no image is on disk.
    """
    table = rows.reindex(columns=list(COLUMNS), fill_value="")
    for column in ("age", "density"):
        cells = table[column].fillna("").astype(str)
        table[column], zeros = number_column(cells, column, source, zero_is_unknown=True)
        notes = (*notes, *zeros)
    if (table["sample_id"] == "").all():
        table["sample_id"] = [str(Path(path).with_suffix("")) for path in table["image_path"]]
    if (table["group_id"] == "").all():
        table["group_id"] = table["patient_id"]
    if (table["lesion_masks"] == "").all():
        table["lesion_masks"] = [()] * len(table)
    table["side"] = table["side"].str.upper().map(SIDES).fillna("")
    views = table["view"].str.upper().map(STANDARD_VIEWS)
    if (other := views.isna() & (table["view"] != "")).any():
        notes = (*notes, f"views other than CC and MLO, taken as unknown: {int(other.sum()):,}")
    table["view"] = views.fillna("")
    index = index_files(folder)
    found, more = keep_found(check_sample_table(table, info.class_names, str(source)), folder, index)
    found = check_sample_table(found, info.class_names, str(source))
    folds = None
    if official is not None:
        by_sample = pd.Series(official.to_numpy(), index=table["sample_id"])
        folds = by_sample.loc[found["sample_id"]].astype(int)
    notes = (*notes, *more, *unlisted_notes(found, source, folder, index))
    site = None
    if "site" in rows:
        by_sample = pd.Series(rows["site"].fillna("").to_numpy(), index=table["sample_id"])
        site = by_sample.loc[found["sample_id"]]
    return Dataset(info, found, folder, notes, official=folds, site=site)


def together(parts: pd.Series, patients: pd.Series) -> tuple[pd.Series, tuple[str, ...]]:
    """Official parts in which no patient stands twice: one with any image in a test part has all of them there.

    Args:
        parts: number of the test fold, -1 for training alone.
        patients: of the same rows.

    Returns:
        The parts, and a note on patients that were in several.
    """
    moved = parts.groupby(patients).transform("max")
    several = patients[moved != parts].nunique()
    note = f"{counted(several, 'patient')} in several official parts, kept in the test part"
    return moved, (note,) if several else ()


def images_below(folder: Path) -> list[Path]:
    """Every image file below a folder, in order; hidden ones are left out."""
    return sorted(p for p in index_files(folder).files if p.suffix.lower() in IMAGE_SUFFIXES)


def match_by_name(folder: Path, names: pd.Series, key: Callable[[Path], str]) -> pd.Series:
    """The relative path of the image that each name stands for, as the table wrote it where there is none.

    Args:
        folder: the data set's.
        names: what the table writes.
        key: from an image's path to what the table writes.
    """
    known = {key(path): path.relative_to(folder).as_posix() for path in images_below(folder)}
    return names.map(known).fillna(names)
