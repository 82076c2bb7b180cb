"""BUSI: breast ultrasound images, one folder a class."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.copies import near_twin_clusters
from mmdc_tf.datasets.files import inner_folder, outside_note, require_folder, require_text, stays_inside
from mmdc_tf.datasets.images import IMAGE_SUFFIXES
from mmdc_tf.datasets.schema import TWIN_UNIT, Dataset, DatasetInfo, check_sample_table
from mmdc_tf.errors import DatasetError

BUSI = DatasetInfo(
    name="busi",
    title="BUSI, Dataset of breast ultrasound images",
    modality="ultrasound",
    class_names=("benign", "malignant", "normal"),
    expected_counts={"benign": 437, "malignant": 210, "normal": 133},
    group_unit=TWIN_UNIT,
    citation=(
        "W. Al-Dhabyani, M. Gomaa, H. Khaled, A. Fahmy, "
        '"Dataset of breast ultrasound images", Data in Brief 28 (2020) 104863'
    ),
    licence="see the data page",
    homepage="https://scholar.cu.edu.eg/?q=afahmy/pages/dataset",
)

_MASK = re.compile(r"(?P<image>.+?)_mask.*", re.IGNORECASE)


def load_busi(root: str | Path, info: DatasetInfo = BUSI) -> Dataset:
    """Reads BUSI, or a folder in its layout, and groups its images by looks.

    BUSI names no patients, so ``group_id`` is the near-twin cluster, named after its first image.

    Args:
        root: the folder ``Dataset_BUSI_with_GT``, or the one around it; it holds a folder for each class with
            files like ``benign (1).png`` and, beside them, lesion masks like ``benign (1)_mask.png``.
        info: the declared facts; a phantom in this layout gives its own.

    Returns:
        The samples, with ids like ``benign/benign (1)``; age and density NaN, patient, view and side "".

    Raises:
        DatasetError: the folder is absent, empty or of another layout, or a file's name is no text.
        UnreadableImageError: an image cannot be decoded.
    """
    listed = list_busi(root, info)
    clusters, unsearched = near_twin_clusters(listed.table["image_path"], info.modality)
    groups = listed.table.groupby(clusters)["sample_id"].transform("first")
    table = listed.table.assign(group_id=groups)
    return replace(listed, table=table, notes=(*listed.notes, _twin_note(table), *unsearched))


def list_busi(root: str | Path, info: DatasetInfo = BUSI) -> Dataset:
    """Lists BUSI's files without decoding one: as ``load_busi``, but each image is a group of its own.

    For counts and checks; not for splits.

    Raises:
        DatasetError: the folder is absent, empty or of another layout.
    """
    folder = inner_folder(require_folder(root), "Dataset_BUSI_with_GT")
    _require_class_folders(folder, info)
    entries = [(name, path) for name in info.class_names for path in _image_files(folder / name)]
    root = folder.resolve()
    files = [(name, path) for name, path in entries if stays_inside(path, root)]
    outside = sorted({path for _, path in entries} - {path for _, path in files})
    masks: dict[str, list[str]] = {}
    for name, path in files:
        require_text(path)
        if match := _MASK.fullmatch(path.stem):
            masks.setdefault(f"{name}/{match['image']}", []).append(str(path))
    rows = [_row(name, path, masks) for name, path in files if not _MASK.fullmatch(path.stem)]
    table = check_sample_table(pd.DataFrame(rows, columns=list(_row("", Path(), {}))), info.class_names, str(folder))
    return Dataset(info, table, folder, (*_orphan_note(masks, table), *outside_note(outside, folder)))


def _require_class_folders(folder: Path, info: DatasetInfo) -> None:
    missing = [name for name in info.class_names if not (folder / name).is_dir()]
    if missing:
        raise DatasetError(
            f"Expected the folders {', '.join(info.class_names)}. Received: root={str(folder)!r} without "
            f"{', '.join(missing)}. Give the folder Dataset_BUSI_with_GT (layout: data/README.md)."
        )


def _image_files(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.suffix.lower() in IMAGE_SUFFIXES)


def _row(name: str, path: Path, masks: dict[str, list[str]]) -> dict[str, object]:
    sample_id = f"{name}/{path.stem}"
    return {
        "sample_id": sample_id,
        "image_path": str(path),
        "label": name,
        "patient_id": "",
        "group_id": sample_id,
        "age": float("nan"),
        "density": float("nan"),
        "view": "",
        "side": "",
        "lesion_masks": tuple(masks.get(sample_id, ())),
    }


def _orphan_note(masks: dict[str, list[str]], table: pd.DataFrame) -> tuple[str, ...]:
    orphans = sorted(set(masks) - set(table["sample_id"]))
    if not orphans:
        return ()
    return (f"lesion masks without an image: {len(orphans):,}, for example of {orphans[0]}; they are left out",)


def _twin_note(table: pd.DataFrame) -> str:
    groups = table.groupby("group_id")
    note = (
        f"no patient identifiers: the {len(table):,} images form {groups.ngroups:,} near-twin clusters, "
        f"the largest of {groups.size().max():,}"
    )
    mixed = table[groups["label"].transform("nunique") > 1].groupby("group_id")["sample_id"].agg(list)
    if mixed.empty:
        return note
    return f"{note}; clusters with more than one label: {len(mixed)}, for example {', '.join(mixed.iloc[0])}"
