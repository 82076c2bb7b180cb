"""Mini-DDSM: mammograms of four views a patient, with age and breast density in a table."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pandas as pd

from mmdc_tf.datasets.files import (
    content_of,
    index_files,
    inner_folder,
    keep_found,
    relative_path,
    require_folder,
    unlisted_notes,
)
from mmdc_tf.datasets.schema import Dataset, DatasetInfo, check_sample_table
from mmdc_tf.datasets.tables import read_table_file, unused_columns_note, without_unknown
from mmdc_tf.datasets.values import number_column
from mmdc_tf.errors import DatasetError

MINI_DDSM = DatasetInfo(
    name="mini-ddsm",
    title="Mini-DDSM",
    modality="mammography",
    class_names=("benign", "cancer", "normal"),
    expected_counts={"benign": 2684, "cancer": 2716, "normal": 2408},
    group_unit="patient",
    citation=(
        "C. D. Lekamlage, F. Afzal, E. Westerberg, A. Cheddad, "
        '"Mini-DDSM: Mammography-based Automatic Age Estimation", DMIP 2020'
    ),
    licence="see the data page",
    homepage="https://www.kaggle.com/datasets/cheddad/miniddsm2",
    digitizer_from_name=True,
    patients=1952,
    offers=("age", "density", "masks"),
)

TABLE_NAMES = ("DataWMask.xlsx", "DataWMask.csv")
TABLE_COLUMNS = ("fullPath", "View", "Side", "Status", "Tumour_Contour", "Tumour_Contour2", "Age", "Density")
FURTHER_COLUMNS = ("fileName",)


def load_mini_ddsm(root: str | Path, info: DatasetInfo = MINI_DDSM) -> Dataset:
    """Reads Mini-DDSM, the whole or a part of its images, or a folder in its layout.

    Args:
        root: the folder ``MINI-DDSM-Complete-JPEG-8`` (or the one around it) with ``DataWMask.xlsx``,
            ``DataWMask.csv`` or one CSV of any name with the same columns, and the folders of the images.
        info: the declared facts; a phantom in this layout gives its own.

    Returns:
        The samples whose image is on disk; notes count and name those that are not.

    Raises:
        DatasetError: the folder, the table or all images are absent, or the table cannot be used.
    """
    folder, path, beside = _find_table(root)
    index = index_files(folder)
    listed, table_notes = read_mini_ddsm_table(path, info)
    table, notes = keep_found(listed, folder, index)
    table = check_sample_table(table, info.class_names, str(path))
    return Dataset(info, table, folder, (*table_notes, *notes, *unlisted_notes(table, path, folder, index), *beside))


def list_mini_ddsm(root: str | Path) -> Dataset:
    """All samples of Mini-DDSM's table, images or not, for models of age and density; else as ``load_mini_ddsm``."""
    folder, path, _ = _find_table(root)
    table, notes = read_mini_ddsm_table(path, MINI_DDSM)
    return Dataset(MINI_DDSM, table, folder, (*notes, "the table alone: no image is read"), has_images=False)


def read_mini_ddsm_table(path: str | Path, info: DatasetInfo = MINI_DDSM) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Reads Mini-DDSM's table, ``DataWMask.xlsx`` or a CSV with the columns ``TABLE_COLUMNS``; no image need exist.

    Returns:
        The sample table of all rows, with ``image_path`` and ``lesion_masks`` relative to the table's folder.
        Age is NaN where empty or 0, density NaN where 0 (its scale is 1 to 4), the patient is ``STATUS/NUMBER`` since
        numbers repeat across folders, and ``group_id`` is the patient. And notes on what was not used.

    Raises:
        DatasetError: the table cannot be read, lacks a column, lists an image twice, names a path outside its
            folder, or holds a value out of range.
    """
    path = Path(path)
    raw = read_table_file(path, TABLE_COLUMNS, FURTHER_COLUMNS)
    notes = unused_columns_note(raw, (*TABLE_COLUMNS, *FURTHER_COLUMNS))
    raw["fullPath"] = [relative_path(text, path) for text in raw["fullPath"]]
    patients = [_patient(*row, path) for row in zip(raw["fullPath"], raw["Status"], strict=True)]
    contours = zip(without_unknown(raw["Tumour_Contour"]), without_unknown(raw["Tumour_Contour2"]), strict=True)
    age, no_age = number_column(raw["Age"], "age", path, zero_is_unknown=True)
    density, no_density = number_column(raw["Density"], "density", path, zero_is_unknown=True)
    table = pd.DataFrame(
        {
            "sample_id": [str(PurePosixPath(name).with_suffix("")) for name in raw["fullPath"]],
            "image_path": raw["fullPath"],
            "label": raw["Status"].str.lower(),
            "patient_id": patients,
            "group_id": patients,
            "age": age,
            "density": density,
            "view": without_unknown(raw["View"]).str.upper(),
            "side": without_unknown(raw["Side"]).str.upper(),
            "lesion_masks": [tuple(relative_path(mask, path) for mask in pair if mask) for pair in contours],
        }
    )
    return check_sample_table(table, info.class_names, str(path)), (*notes, *no_age, *no_density)


def _find_table(root: str | Path) -> tuple[Path, Path, tuple[str, ...]]:
    """The dataset's folder, the table in it, and a note on files beside the folder."""
    folder, beside = inner_folder(require_folder(root), "MINI-DDSM-Complete", lambda path: bool(_tables(path)))
    tables = _tables(folder)
    if len(tables) == 1:
        return folder, tables[0], beside
    found = ", ".join(path.name for path in tables) or f"no CSV file; it holds {content_of(folder)}"
    raise DatasetError(
        f"Expected {TABLE_NAMES[0]}, {TABLE_NAMES[1]} or one CSV of the same columns. Received: "
        f"root={str(folder)!r} with {found}. Give the folder that holds the table (layout: docs/datasets.md); "
        "--dataset folder reads images of another layout, with a table samples.csv."
    )


def _tables(folder: Path) -> list[Path]:
    """The table by its name, in any case; else every CSV."""
    files = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    named = [files[name.lower()] for name in TABLE_NAMES if name.lower() in files]
    return named[:1] or [path for name, path in files.items() if name.endswith(".csv")]


def _patient(full_path: str, status: str, source: Path) -> str:
    folders = PurePosixPath(full_path).parts[:-1]
    if len(folders) < 2 or folders[-2].lower() != status.lower():
        raise DatasetError(
            f"Expected paths STATUS/NUMBER/FILE whose folder agrees with the column Status. Received: "
            f"fullPath={full_path!r} with Status={status!r} in {source}. Correct the row."
        )
    return f"{status.capitalize()}/{folders[-1].casefold()}"  # however the row spells them: one patient, one group
