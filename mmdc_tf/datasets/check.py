"""What is in a dataset's folder, what is missing, and whether it can be used."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.catalogue import DATASETS, LISTINGS, list_dataset, load_dataset
from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.values import positive_note
from mmdc_tf.errors import DatasetError, UnreadableImageError

_SHOWN = 20
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula (OWASP, "CSV Injection")."""


def check_dataset(name: str, root: str | Path) -> dict:
    """Reads a dataset and decodes each of its images and lesion masks.

    Args:
        name: a name of the catalogue.
        root: the dataset's folder.

    Returns:
        A report that ``json.dumps`` takes: ``dataset``, ``title``, ``root``, ``synthetic``, ``images``, ``classes``
        (name to ``{"expected", "found"}``, expected None where nothing is declared), ``patients`` (None where not
        known), ``groups`` (None where an image that grouping needs is unreadable), ``group_unit``,
        ``missing_age``, ``missing_density``, ``images_with_masks``, ``lesion_masks``, ``unreadable`` (list of
        ``{"path", "kind", "reason"}``), ``notes``, ``problems`` and ``usable``: whether there are no problems. A
        folder that cannot be read at all has zero images and its error as the problem.

    Raises:
        ConfigurationError: the name is unknown.
    """
    try:
        dataset = list_dataset(name, root)
    except DatasetError as error:
        return _empty_report(name, root, str(error))
    table = dataset.table
    images = _unreadable(table["image_path"], "image")
    masks = _unreadable((mask for row in table["lesion_masks"] for mask in row), "lesion mask")
    grouped = not images or LISTINGS[name] is DATASETS[name]
    if grouped and LISTINGS[name] is not DATASETS[name]:
        dataset = load_dataset(name, root)
    return _report(name, dataset, images + masks, grouped)


def require_readable(dataset: Dataset) -> None:
    """Decodes every image, so that a broken one ends a command before hours of training and not after.

    Raises:
        UnreadableImageError: names the first that cannot be read and says how many there are.
    """
    broken = _unreadable(dataset.table["image_path"], "image")
    if broken:
        raise UnreadableImageError(
            f"Expected images that can be decoded. Received: {broken[0]['path']} ({broken[0]['reason']}), one of "
            f"{len(broken):,} unreadable images. Restore or remove them; `mmdc-tf datasets check` lists them all."
        )


def _report(name: str, dataset: Dataset, unreadable: list[dict], grouped: bool) -> dict:
    table, info = dataset.table, dataset.info
    broken = sum(entry["kind"] == "image" for entry in unreadable)
    problems = [f"{broken:,} of {len(table):,} images cannot be read"] if broken else []
    patients = table.loc[table["patient_id"] != "", "patient_id"]
    return {
        "dataset": name,
        "title": info.title,
        "root": str(dataset.root),
        "synthetic": info.synthetic,
        "images": len(table),
        "classes": _classes(dataset),
        "patients": int(patients.nunique()) if len(patients) else None,
        "groups": int(table["group_id"].nunique()) if grouped else None,
        "group_unit": info.group_unit,
        **_missing(table),
        "unreadable": unreadable,
        "notes": [*dataset.notes, *positive_note(info), *formula_note(table)],
        "problems": problems,
        "usable": not problems,
    }


def formula_note(table: pd.DataFrame) -> tuple[str, ...]:
    """A note on names that a spreadsheet would compute; tables hold them as they are, since programs read them back.

    Args:
        table: a sample table.
    """
    columns = ("sample_id", "label", "patient_id", "group_id")
    names = sorted({name for column in columns for name in table[column] if name.startswith(FORMULA_STARTS)})
    if not names:
        return ()
    shown = ", ".join(map(repr, names[:3]))
    return (
        f"names that a spreadsheet takes for formulas: {len(names):,}, for example {shown}; rename them, or open "
        "samples.csv and predictions.csv as text",
    )


def _empty_report(name: str, root: str | Path, problem: str) -> dict:
    return {
        "dataset": name,
        "title": name,
        "root": str(root),
        "synthetic": False,
        "images": 0,
        "classes": {},
        "patients": None,
        "groups": None,
        "group_unit": "",
        "missing_age": 0,
        "missing_density": 0,
        "images_with_masks": 0,
        "lesion_masks": 0,
        "unreadable": [],
        "notes": [],
        "problems": [problem],
        "usable": False,
    }


def _classes(dataset: Dataset) -> dict[str, dict[str, int | None]]:
    expected = dataset.info.expected_counts
    return {name: {"expected": expected.get(name), "found": found} for name, found in dataset.found_counts.items()}


def _missing(table: pd.DataFrame) -> dict[str, int]:
    masks = table["lesion_masks"].map(len)
    return {
        "missing_age": int(table["age"].isna().sum()),
        "missing_density": int(table["density"].isna().sum()),
        "images_with_masks": int((masks > 0).sum()),
        "lesion_masks": int(masks.sum()),
    }


def _unreadable(paths: Iterable[str], kind: str) -> list[dict]:
    paths = list(paths)
    # OpenCV decodes outside Python's lock, so threads use every core.
    with ThreadPoolExecutor() as pool:
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


def format_report(report: dict) -> str:
    """Sets a report of ``check_dataset`` as aligned plain text, without a final line break."""
    if not report["images"]:
        lines = [_fact("dataset", report["title"]), _fact("root", report["root"])]
    else:
        lines = [*_head(report), "", *_class_lines(report["classes"]), "", *_fact_lines(report)]
    lines += _section("unreadable", [_unreadable_line(entry) for entry in report["unreadable"]])
    lines += _section("notes", report["notes"]) + _section("problems", report["problems"])
    return "\n".join([*lines, "", _fact("usable", "yes" if report["usable"] else "NO")])


def _head(report: dict) -> list[str]:
    lines = [_fact("dataset", report["title"]), _fact("root", report["root"])]
    return [*lines, _fact("data", "phantom: not a reproduction")] if report["synthetic"] else lines


def _class_lines(classes: dict[str, dict]) -> list[str]:
    rows = [(name, counts["expected"], counts["found"]) for name, counts in classes.items()]
    known = [expected for _, expected, _ in rows if expected is not None]
    rows.append(("all", sum(known) if known else None, sum(found for *_, found in rows)))
    lines = [f"{'class':<18}{'expected':>10}{'found':>10}"]
    return lines + [f"{name:<18}{_count(expected):>10}{found:>10,}" for name, expected, found in rows]


def _fact_lines(report: dict) -> list[str]:
    groups = "not formed: some images cannot be read" if report["groups"] is None else f"{report['groups']:,}"
    return [
        _fact("patients", "not known" if report["patients"] is None else f"{report['patients']:,}"),
        _fact("groups", f"{groups} (unit: {report['group_unit']})"),
        _fact("age unknown", f"{report['missing_age']:,}"),
        _fact("density unknown", f"{report['missing_density']:,}"),
        _fact("lesion masks", f"{report['lesion_masks']:,} on {report['images_with_masks']:,} images"),
        _fact("unreadable files", f"{len(report['unreadable']):,}"),
    ]


def _section(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    more = [f"  and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    return ["", title, *(f"  - {line}" for line in lines[:_SHOWN]), *more]


def _unreadable_line(entry: dict) -> str:
    return f"{entry['path']} ({entry['kind']}: {entry['reason']})"


def _fact(name: str, value: str) -> str:
    return f"{name:<18}{value}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
