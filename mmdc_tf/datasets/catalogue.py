"""The datasets by name: reading one, and checking that a folder can be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mmdc_tf.datasets.breast_usg import BREAST, load_breast_usg
from mmdc_tf.datasets.bus_bra import BUS_BRA, load_bus_bra
from mmdc_tf.datasets.busi import BUSI, list_busi, load_busi
from mmdc_tf.datasets.cbis_ddsm import CBIS_DDSM, load_cbis_ddsm
from mmdc_tf.datasets.cdd_cesm import CDD_CESM, load_cdd_cesm
from mmdc_tf.datasets.cmmd import CMMD, load_cmmd
from mmdc_tf.datasets.files import sub_folders
from mmdc_tf.datasets.folder import load_folder
from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.inbreast import INBREAST, load_inbreast
from mmdc_tf.datasets.mini_ddsm import MINI_DDSM, list_mini_ddsm, load_mini_ddsm
from mmdc_tf.datasets.mini_mias import MINI_MIAS, load_mini_mias
from mmdc_tf.datasets.phantom import PHANTOM_MAMMOGRAM, PHANTOM_ULTRASOUND
from mmdc_tf.datasets.rsna_2022 import RSNA_2022, load_rsna_2022
from mmdc_tf.datasets.schema import NOTICE, Dataset, DatasetInfo
from mmdc_tf.datasets.values import positive_note
from mmdc_tf.datasets.vindr_mammo import VINDR_MAMMO, load_vindr_mammo
from mmdc_tf.errors import ConfigurationError, DatasetError, UnreadableImageError, did_you_mean

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula (OWASP, "CSV Injection")."""
_SHOWN = 20


class Reader(NamedTuple):
    """How a dataset is read.

    Args:
        load: with its groups.
        listing: without decoding an image, where grouping would: each image is a group of its own.
        table: every line of the dataset's table, images or not, where it holds more than the folders say.
        signature: the name of its table in lower case, as a pattern, by which a folder is recognised.
    """

    load: Callable[[Path], Dataset]
    listing: Callable[[Path], Dataset] | None = None
    table: Callable[[Path], Dataset] | None = None
    signature: str = ""


DATASETS = {
    "busi": Reader(load_busi, listing=list_busi),
    "mini-ddsm": Reader(load_mini_ddsm, table=list_mini_ddsm, signature="datawmask.*"),
    "bus-bra": Reader(load_bus_bra, signature="bus_data.csv"),
    "breast-usg": Reader(load_breast_usg, signature="breast-lesions-usg-clinical-data*.xlsx"),
    "mini-mias": Reader(load_mini_mias, signature="info.txt"),
    "cbis-ddsm": Reader(load_cbis_ddsm, signature="mass_case_description_train_set.csv"),
    "inbreast": Reader(load_inbreast, signature="inbreast.csv"),
    "vindr-mammo": Reader(load_vindr_mammo, signature="breast-level_annotations.csv"),
    "rsna-2022": Reader(load_rsna_2022, signature="train.csv"),
    "cmmd": Reader(load_cmmd, signature="cmmd_clinicaldata_revision.xlsx"),
    "cdd-cesm": Reader(load_cdd_cesm, signature="radiology*manual*annotations*.xlsx"),
    "folder": Reader(load_folder, signature="samples.*"),
}
PUBLISHED = (BUSI, BUS_BRA, BREAST, MINI_DDSM, MINI_MIAS, CBIS_DDSM, INBREAST, VINDR_MAMMO, RSNA_2022, CMMD, CDD_CESM)
DECLARED: dict[str, DatasetInfo] = {info.name: info for info in (*PUBLISHED, PHANTOM_MAMMOGRAM, PHANTOM_ULTRASOUND)}
"""What is known of a dataset whether or not it is on this machine; of a user's own folder nothing is."""


def load_dataset(name: str, root: str | Path) -> Dataset:
    """Reads one of ``DATASETS``; a note says where its counts differ from the declared ones.

    Raises:
        ConfigurationError: the name is unknown.
        DatasetError: the folder is absent, not a folder, empty, of another layout, or a class has no image.
        UnreadableImageError: an image that grouping must look at cannot be decoded.
    """
    return _checked(_reader(name).load(Path(root)))


def list_dataset(name: str, root: str | Path) -> Dataset:
    """Reads a dataset as ``load_dataset`` does without decoding images; for counts and checks, not for splits."""
    reader = _reader(name)
    return _checked((reader.listing or reader.load)(Path(root)))


def load_table_alone(name: str, root: str | Path) -> Dataset:
    """Reads the table of ``"mini-ddsm"`` without its images, as ``load_dataset`` does otherwise.

    Raises:
        ConfigurationError: the name is unknown or the dataset has no such table.
    """
    read = _reader(name).table
    if read is None:
        raise ConfigurationError(
            "Expected a dataset whose table can be used alone: "
            f"{', '.join(one for one, reader in DATASETS.items() if reader.table)}. "
            f"Received: dataset={name!r}. Leave --without-images out."
        )
    return _checked(read(Path(root)))


def recognise(root: str | Path) -> str | None:
    """Which data set a folder holds, by its table there or up to two folders below; BUSI, without one, by its classes.

    None where nothing is recognised.
    """
    folders = [Path(root).expanduser()]
    for _ in range(3):
        names = [path.name.lower() for folder in folders if folder.is_dir() for path in folder.iterdir()]
        is_busi = {"benign", "malignant"} <= set(names)
        for dataset, reader in DATASETS.items():
            if (dataset == "busi" and is_busi) or any(fnmatch(name, reader.signature) for name in names):
                return dataset
        folders = [inner for folder in folders if folder.is_dir() for inner in sub_folders(folder)]
    return None


def _reader(name: str) -> Reader:
    if name in DATASETS:
        return DATASETS[name]
    hint = did_you_mean(name, DATASETS, "Choose one of them; 'folder' reads your own images.", cutoff=0.4)
    raise ConfigurationError(
        f"Expected a dataset of {', '.join(map(repr, DATASETS))}. Received: dataset={name!r}. {hint}"
    )


def _checked(dataset: Dataset) -> Dataset:
    expected, found = dataset.info.expected_counts, dataset.found_counts
    empty = [name for name, count in found.items() if count == 0]
    if empty:
        noticed = "".join(f"; {note}" for note in dataset.notes)
        raise DatasetError(
            f"Expected images of every class. Received: root={str(dataset.root)!r} with none of "
            f"{', '.join(empty)}{noticed}. Add them: a class without images can be neither trained nor scored."
        )
    if dataset.info.synthetic or not expected or expected == found:
        return dataset
    counts = [", ".join(f"{count:,} {name}" for name, count in some.items()) for some in (expected, found)]
    note = f"not the complete dataset as declared: expected {counts[0]}; found {counts[1]}"
    return replace(dataset, notes=(*dataset.notes, note))


def check_dataset(name: str, root: str | Path) -> dict[str, Any]:
    """Reads a dataset and decodes each of its images and lesion masks.

    Returns:
        A report that ``json.dumps`` takes: ``dataset``, ``title``, ``root``, ``synthetic``, ``images``, ``classes``
        (name to ``{"expected", "found"}``, expected None where nothing is declared), ``patients`` (None where not
        known), ``groups`` (None where an image that grouping needs is unreadable), ``group_unit``,
        ``missing_age``, ``missing_density``, ``images_with_masks``, ``lesion_masks``, ``unreadable`` (list of
        ``{"path", "kind", "reason"}``), ``notes``, ``problems`` and ``usable``: whether there are no problems. A
        folder that cannot be read at all has zero images and its error as the problem.
    """
    report: dict[str, Any] = {"dataset": name, "title": name, "root": str(root), "synthetic": False, "images": 0}
    report |= {"classes": {}, "patients": None, "groups": None, "group_unit": ""}
    report |= dict.fromkeys(("missing_age", "missing_density", "images_with_masks", "lesion_masks"), 0)
    try:
        dataset = list_dataset(name, root)
    except DatasetError as error:
        return {**report, "unreadable": [], "notes": [], "problems": [str(error)], "usable": False}
    table, masks = dataset.table, dataset.table["lesion_masks"]
    broken = _unreadable(table["image_path"], "image")
    problems = [f"{len(broken):,} of {len(table):,} images cannot be read"] if broken else []
    if DATASETS[name].listing and not broken:
        dataset = load_dataset(name, root)
    groups = None if DATASETS[name].listing and broken else int(dataset.table["group_id"].nunique())
    info, expected = dataset.info, dataset.info.expected_counts
    return report | {
        "title": info.title,
        "root": str(dataset.root),
        "synthetic": info.synthetic,
        "images": len(table),
        "classes": {
            one: {"expected": expected.get(one), "found": found} for one, found in dataset.found_counts.items()
        },
        "patients": int(table.loc[table["patient_id"] != "", "patient_id"].nunique()) or None,
        "groups": groups,
        "group_unit": info.group_unit,
        "missing_age": int(table["age"].isna().sum()),
        "missing_density": int(table["density"].isna().sum()),
        "images_with_masks": int(masks.map(bool).sum()),
        "lesion_masks": int(masks.map(len).sum()),
        "unreadable": broken + _unreadable((mask for row in masks for mask in row), "lesion mask"),
        "notes": [*dataset.notes, *positive_note(info), *_formula_note(table)],
        "problems": problems,
        "usable": not problems,
    }


def require_readable(dataset: Dataset) -> None:
    """Decodes every image, so that a broken one ends a command before hours of training: UnreadableImageError."""
    broken = _unreadable(dataset.table["image_path"], "image")
    if broken:
        raise UnreadableImageError(
            f"Expected images that can be decoded. Received: {broken[0]['path']} ({broken[0]['reason']}), one of "
            f"{len(broken):,} unreadable images. Restore or remove them; `mmdc-tf datasets check` lists them all."
        )


def format_report(report: dict[str, Any]) -> str:
    """Sets a report of ``check_dataset`` as aligned plain text, without a final line break."""
    facts = {"dataset": report["title"], "root": report["root"]}
    lines = []
    if report["images"]:
        classes = [(name, counts["expected"], counts["found"]) for name, counts in report["classes"].items()]
        known = [expected for _, expected, _ in classes if expected is not None]
        classes.append(("all", sum(known) if known else None, sum(found for *_, found in classes)))
        counts = [f"{name:<18}{_count(expected, '-'):>10}{found:>10,}" for name, expected, found in classes]
        groups = _count(report["groups"], "not formed: some images cannot be read")
        facts |= {"data": NOTICE} if report["synthetic"] else {}
        more = {
            "patients": _count(report["patients"], "not known"),
            "groups": f"{groups} (unit: {report['group_unit']})",
            "age unknown": f"{report['missing_age']:,}",
            "density unknown": f"{report['missing_density']:,}",
            "lesion masks": f"{report['lesion_masks']:,} on {report['images_with_masks']:,} images",
            "unreadable files": f"{len(report['unreadable']):,}",
        }
        lines = ["", f"{'class':<18}{'expected':>10}{'found':>10}", *counts, "", *_facts(more)]
    unreadable = [f"{entry['path']} ({entry['kind']}: {entry['reason']})" for entry in report["unreadable"]]
    for title, entries in {"unreadable": unreadable, **{name: report[name] for name in ("notes", "problems")}}.items():
        if entries:
            further = [f"  and {len(entries) - _SHOWN:,} more"] if len(entries) > _SHOWN else []
            lines += ["", title, *(f"  - {entry}" for entry in entries[:_SHOWN]), *further]
    return "\n".join([*_facts(facts), *lines, "", *_facts({"usable": "yes" if report["usable"] else "NO"})])


def _facts(facts: dict[str, str]) -> list[str]:
    return [f"{name:<18}{value}" for name, value in facts.items()]


def _count(value: int | None, otherwise: str) -> str:
    return otherwise if value is None else f"{value:,}"


def _formula_note(table: pd.DataFrame) -> tuple[str, ...]:
    """A note on names that a spreadsheet would compute; tables hold them as they are, since programs read them back."""
    columns = ("sample_id", "label", "patient_id", "group_id")
    names = sorted({name for column in columns for name in table[column] if name.startswith(FORMULA_STARTS)})
    if not names:
        return ()
    shown = ", ".join(map(repr, names[:3]))
    return (
        f"names that a spreadsheet takes for formulas: {len(names):,}, for example {shown}; rename them, or open "
        "samples.csv and predictions.csv as text",
    )


def _unreadable(paths: Iterable[str], kind: str) -> list[dict[str, str]]:
    paths = list(paths)
    with ThreadPoolExecutor() as pool:  # OpenCV decodes outside Python's lock, so threads use every core
        reasons = list(pool.map(_why_unreadable, paths))
    return [{"path": p, "kind": kind, "reason": reason} for p, reason in zip(paths, reasons, strict=True) if reason]


def _why_unreadable(path: str) -> str:
    try:
        read_image(path)
    except UnreadableImageError as error:
        # The message reads "… Received: PATH (REASON). …"; the path stands beside it in the report.
        reason = str(error).partition(f"{path} (")[2].partition(").")[0]
        return reason or str(error)
    return ""


def format_catalogue() -> str:
    """The published data sets that can be read, a line each, as aligned plain text."""
    lines = [("name", "images", "patients", "labels", "also", "licence", "size")]
    for info in PUBLISHED:
        count = sum(info.expected_counts.values())
        labels = ", ".join(info.class_names)
        patients = _count(info.patients, "-")
        lines.append(
            (
                info.name,
                f"{count:,}" if count else "-",
                patients,
                labels,
                ", ".join(info.offers),
                info.licence,
                info.size,
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*texts, "", "Your own images: --dataset folder, with a table samples.csv (docs/datasets.md)."])
