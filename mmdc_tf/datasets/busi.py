"""BUSI: breast ultrasound images, one folder a class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from mmdc_tf.datasets.copies import near_twin_clusters
from mmdc_tf.datasets.files import (
    MASK_NAME,
    content_of,
    index_files,
    inner_folder,
    links_notes,
    passed_over_note,
    require_folder,
    require_text,
    sub_folders,
)
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
    offers=("masks",),
)

_IMAGE_FOLDERS, _MASK_FOLDERS = {"image", "images"}, {"mask", "masks"}


def load_busi(root: str | Path, info: DatasetInfo = BUSI) -> Dataset:
    """Reads BUSI, or a folder in its layout, and groups its images by looks.

    BUSI names no patients, so ``group_id`` is the near-twin cluster, named after its first image.

    Args:
        root: the folder ``Dataset_BUSI_with_GT``, or one around it; it holds a folder for each class (two are
            enough) with files like ``benign (1).png`` and, beside them, lesion masks like ``benign (1)_mask.png``.
            Images and masks may also stand in folders ``images`` and ``masks`` inside these or around them.
        info: the declared facts; a phantom in this layout gives its own.

    Returns:
        The samples, with ids like ``benign/benign (1)``; age and density NaN, patient, view and side "". A note says
        where a class has no folder; it is then none of the classes.

    Raises:
        DatasetError: the folder is absent, empty or of another layout, or a file's name is no text.
        UnreadableImageError: an image cannot be decoded.
    """
    listed = list_busi(root, info)
    clusters, unsearched = near_twin_clusters(listed.table["image_path"], info.modality)
    table = listed.table.assign(group_id=listed.table.groupby(clusters)["sample_id"].transform("first"))
    return replace(listed, table=table, notes=(*listed.notes, _twin_note(table), *unsearched))


def list_busi(root: str | Path, info: DatasetInfo = BUSI) -> Dataset:
    """Lists BUSI's files without decoding one: as ``load_busi``, but each image is a group of its own.

    For counts and checks; not for splits. Raises DatasetError as ``load_busi``.
    """
    classes = {name.casefold(): name for name in info.class_names}
    folder, beside = inner_folder(
        require_folder(root), "Dataset_BUSI_with_GT", lambda path: bool(_classes_in(path, classes))
    )
    info, class_note = _with_folders_found(folder, classes, info)
    index = index_files(folder)
    files, passed = [], []
    masks: dict[str, list[str]] = {}
    for path in sorted(index.files):
        name, is_mask = _place(PurePosixPath(path.relative_to(folder)), classes)
        if name is None or path.suffix.lower() not in IMAGE_SUFFIXES:
            passed.append(path)
            continue
        require_text(path)
        match = MASK_NAME.fullmatch(path.stem)
        if match or is_mask:
            image = (match["before"] or match["after"]) if match else path.stem
            masks.setdefault(f"{name}/{image}", []).append(str(path))
        else:
            files.append((f"{name}/{path.stem}", name, str(path)))
    notes = (*class_note, *passed_over_note(passed, folder), *beside, *links_notes(index))
    if not files:
        raise DatasetError(
            f"Expected at least one image. Received: root={str(folder)!r} with none in its folders of classes"
            f"{''.join(f'; {note}' for note in notes)}. "
            "Give the folder that holds the images (layout: docs/datasets.md)."
        )
    rows = pd.DataFrame(files, columns=["sample_id", "label", "image_path"])
    rows = rows.assign(group_id=rows["sample_id"], patient_id="", age=None, density=None, view="", side="")
    rows["lesion_masks"] = [tuple(masks.get(sample, ())) for sample in rows["sample_id"]]
    table = check_sample_table(rows, info.class_names, str(folder))
    if orphans := sorted(set(masks) - set(table["sample_id"])):
        example = f"for example of {orphans[0]}; they are left out"
        notes = (f"lesion masks without an image: {len(orphans):,}, {example}", *notes)
    return Dataset(info, table, folder, notes)


def _place(path: PurePosixPath, classes: dict[str, str]) -> tuple[str | None, bool]:
    """Of which class a file is, by its folders, and whether these say that it is a mask; no class for other folders."""
    folders = {part.strip().casefold() for part in path.parts[:-1]}
    named = folders & classes.keys()
    if len(named) != 1 or folders - named - _IMAGE_FOLDERS - _MASK_FOLDERS:
        return None, False
    return classes[named.pop()], bool(folders & _MASK_FOLDERS)


def _classes_in(folder: Path, classes: dict[str, str]) -> set[str]:
    """The classes that have a folder, or a link to one, here or in a folder of images."""
    places = [folder, *(path for path in sub_folders(folder) if path.name.strip().casefold() in _IMAGE_FOLDERS)]
    names = {path.name.strip().casefold() for place in places for path in place.iterdir() if path.is_dir()}
    return {classes[name] for name in names & classes.keys()}


def _with_folders_found(
    folder: Path, classes: dict[str, str], info: DatasetInfo
) -> tuple[DatasetInfo, tuple[str, ...]]:
    """The facts with the classes that have a folder, and a note on those that have none."""
    found = _classes_in(folder, classes)
    missing = [name for name in info.class_names if name not in found]
    if len(found) < 2:
        raise DatasetError(
            f"Expected the folders {', '.join(info.class_names)}, or two of them. Received: root={str(folder)!r} "
            f"without {', '.join(missing)}; it holds {content_of(folder)}. Give the folder Dataset_BUSI_with_GT "
            "(layout: docs/datasets.md); --dataset folder reads images of another layout, with a table samples.csv."
        )
    if not missing:
        return info, ()
    names = tuple(name for name in info.class_names if name in found)
    note = f"no folder of {', '.join(missing)}: the classes are {', '.join(names)} alone"
    return replace(info, class_names=names), (note,)


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
