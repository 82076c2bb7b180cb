"""What a table's trainings were made with and on, from the files that each of them wrote before it started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdc_tf.io import read_json

TITLES = {
    "python": "Python",
    "platform": "Platform",
    "cores": "Cores",
    "git_revision": "Git revision",
    "dataset_fingerprint": "Dataset fingerprint",
    "written": "Trainings started",
}


def environment_lines(folder: Path) -> list[tuple[str, str]]:
    """Name and value of each fact in the ``environment.json`` files; where trainings differ, each value once.

    Args:
        folder: the table's, as ``OUT/table1``.

    Raises:
        ConfigurationError: a file is not JSON.
    """
    files = sorted(folder.glob("*/*/fold*-seed*/environment.json"))
    values: dict[str, set[str]] = {}
    for path in files:
        for name, value in _flat(read_json(path) or {}):
            values.setdefault(name, set()).add(value)
    lines = {name: " or ".join(sorted(found)) for name, found in values.items()}
    if "written" in values:
        first, last = min(values["written"]), max(values["written"])
        lines["written"] = first if first == last else f"{first} to {last}"
    return [(TITLES.get(name, name), text) for name, text in lines.items()]


def _flat(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Packages stand among the other facts; what is not known is left out."""
    for name, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value)
        elif value is not None:
            yield name, str(value)
