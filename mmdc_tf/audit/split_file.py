"""Whether a saved split keeps every group (patient, near-twin cluster) on one side: proved or disproved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.datasets.splits import PARTS, Split
from mmdc_tf.datasets.tables import read_table_file
from mmdc_tf.errors import SplitError

_OTHER_NAMES = {"training": "train", "val": "validation", "valid": "validation", "dev": "validation"}

Parts = dict[str, list[str]]


def check_split(path: Path, groups: pd.Series, source: str) -> dict[str, Any]:
    """Checks a split file against the groups of its samples; nothing is raised for a split that leaks.

    A validation part that is the test part, as in the paper's protocol, is not disjoint from it, which a note says;
    the groups listed are then only those that stand in the training part too.

    Args:
        path: ``split.json`` of a run, checked against its hash; or a split made elsewhere, with nothing to check it
            against: JSON with lists of sample ids under at least two of ``train``, ``validation`` and ``test``, or a
            CSV with the columns ``sample_id`` and ``part``.
        groups: ``group_id``, which holds each patient whole, indexed by ``sample_id``.
        source: where they come from, for messages.

    Returns:
        - ``disjoint``: True where it is proved that no group stands in two parts.
        - ``sizes``: the number of samples of each part.
        - ``shared``: ``group_id``, ``parts`` and ``samples`` of each part, for each group in several parts.
        - ``unknown``: samples without a group, sorted.
        - ``notes``: one clear line each on what a reader must know besides.

    Raises:
        SplitError: the file is absent, is no such split, does not fit its hash, or none of its samples has a group.
    """
    parts, notes = _read_parts(path)
    named = pd.Index(sorted({sample for samples in parts.values() for sample in samples}))
    unknown, left_out = named.difference(groups.index), groups.index.difference(named)
    if len(unknown) == len(named):
        example = f", for example {unknown[0]!r}" if len(unknown) else ""
        raise SplitError(
            f"Expected samples of {source}. Received: {path} with {len(named):,} samples, none "
            f"of them there{example}. Give the dataset that was split."
        )
    chosen_on_test = bool(parts.get("validation")) and set(parts["validation"]) == set(parts.get("test", ()))
    if chosen_on_test:
        notes += ["the validation part is the test part: what is chosen on the one is scored on the same images"]
    if len(left_out):
        notes += [f"images of the dataset that stand in no part: {len(left_out):,}, for example {left_out[0]}"]
    shared = _shared_groups(parts, groups, chosen_on_test)
    return {
        "disjoint": not shared and unknown.empty and not chosen_on_test,
        "sizes": {name: len(samples) for name, samples in parts.items()},
        "shared": shared,
        "unknown": list(unknown),
        "notes": notes,
    }


def _read_parts(path: Path) -> tuple[Parts, list[str]]:
    """The samples of each part that is there, in the order of ``splits.PARTS``, and notes."""
    if path.suffix.lower() == ".csv" and path.is_file():
        table = read_table_file(path, (), ("sample_id", "part"))
        if not {"sample_id", "part"} <= set(table.columns):
            raise _no_split(path, f"columns {', '.join(table.columns)}")
        return _foreign({str(name): list(samples) for name, samples in table.groupby("part")["sample_id"]}, path)
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise _no_split(path, str(error)) from error
    if isinstance(content, dict) and "hash" in content:
        split = Split.from_json(text)
        return {name: list(getattr(split, name)) for name in PARTS}, []
    return _foreign(content, path)


def _foreign(content: object, path: Path) -> tuple[Parts, list[str]]:
    """The parts of a split made elsewhere; other entries of the file are passed over."""
    if not isinstance(content, dict):
        raise _no_split(path, f"a {type(content).__name__}")
    named = {_OTHER_NAMES.get(str(name).lower(), str(name).lower()): samples for name, samples in content.items()}
    parts = {name: named[name] for name in PARTS if name in named}
    if len(parts) < 2:
        raise _no_split(path, f"the parts {', '.join(map(str, content)) or 'none'}")
    for name, samples in parts.items():
        if not isinstance(samples, list) or not all(isinstance(sample, str) for sample in samples):
            raise _no_split(path, f"{name} that is no list of sample ids")
    return parts, ["the split carries no hash: whether it was changed after it was made is not known"]


def _no_split(path: Path, reason: str) -> SplitError:
    return SplitError(
        "Expected a split: split.json of a run, JSON with lists of sample ids under train, validation and test (at "
        f"least two of them), or a CSV with the columns sample_id and part. Received: {path} ({reason}). "
        "Give another file."
    )


def _shared_groups(parts: Parts, groups: pd.Series, chosen_on_test: bool) -> list[dict[str, Any]]:
    rows = pd.Series(parts, name="sample_id").explode().rename_axis("part").reset_index().drop_duplicates()
    rows = rows.assign(group_id=rows["sample_id"].map(groups)).dropna(subset="group_id")
    sides = rows["part"].replace("validation", "test") if chosen_on_test else rows["part"]
    crossing = rows[sides.groupby(rows["group_id"]).transform("nunique") > 1]
    shared = []
    for group_id, members in crossing.groupby("group_id"):
        samples = {name: sorted(of_part) for name, of_part in members.groupby("part", sort=False)["sample_id"]}
        shared.append({"group_id": group_id, "parts": list(samples), "samples": samples})
    return shared
