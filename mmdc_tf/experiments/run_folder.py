"""Reads a run folder: which rows are in it, how far they are, and what they predicted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.datasets.splits import PROTOCOLS, USUAL, folds_of
from mmdc_tf.errors import ConfigurationError, plain_line
from mmdc_tf.evaluation.comparison import compare_alike
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.io import read_json

NOT_RUN, OK, FAILED = "not run", "ok", "failed"
PREDICTIONS = "predictions.csv"
Version = tuple[Path, int, int]


def run_of(folder: Path) -> dict[str, Any]:
    """The content of ``run.json``: what a table's trainings were made with; empty where nothing was run yet.

    Args:
        folder: of a table, as ``OUT/table1``.

    Raises:
        ConfigurationError: the file is not JSON.
    """
    return read_json(folder / "run.json") or {}


def rows_in(folder: Path) -> list[str]:
    """The rows that have a folder, by name.

    Args:
        folder: of a table, as ``OUT/table1``.
    """
    rows = (path for path in folder.iterdir() if any((path / protocol).is_dir() for protocol in PROTOCOLS))
    return sorted(path.name for path in rows)


def protocols_in(folder: Path) -> tuple[str, ...]:
    """The usual protocols, and the control where a row was run under it, in the order of ``PROTOCOLS``.

    Args:
        folder: of a table, as ``OUT/table1``.
    """
    return tuple(name for name in PROTOCOLS if name in USUAL or any(folder.glob(f"*/{name}")))


def row_status(folder: Path, row: str, protocol: str) -> str:
    """``"ok"``, ``"not run"``, ``"incomplete: 2 of 5 folds"`` or ``"failed: …"``; arguments as ``row_predictions``."""
    return status_of(cells_of(folder / row / protocol))


def row_predictions(folder: Path, row: str, protocol: str) -> pd.DataFrame:
    """All folds and seeds of a finished row.

    Args:
        folder: of a table, as ``OUT/table1``.
        row: its name.
        protocol: one of ``splits.PROTOCOLS``.

    Returns:
        The predictions table (``mmdc_tf.evaluation.predictions``).

    Raises:
        ConfigurationError: the row is not finished.
        InputError: a predictions file lacks a column.
    """
    cells = cells_of(folder / row / protocol)
    status = status_of(cells)
    if status != OK:
        raise ConfigurationError(
            f"Expected a finished row under {protocol}. Received: row={row!r} in {folder} ({status}). "
            "Run the command that made the folder again: it continues."
        )
    return read_predictions(finished_files(cells, PREDICTIONS))


def compare_in_folder(
    folder: Path, baseline: str, rows: Iterable[str], protocol: str
) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """Compares the finished rows of a table with one of them.

    Args:
        folder: of a table, as ``OUT/table1``.
        baseline: a row's name.
        rows: the others, by name, in the order of the result.
        protocol: one of ``splits.PROTOCOLS``.

    Returns:
        The lines of ``mmdc_tf.evaluation.comparison.compare_alike``, None where there is nothing to compare; and why
        rows were left out: their status, or what differs (rows trained with another number of seeds, for example).
    """
    names = list(dict.fromkeys([baseline, *rows]))
    cells = {row: cells_of(folder / row / protocol) for row in names}
    unfinished = {row: status for row in names if (status := status_of(cells[row])) != OK}
    if baseline in unfinished:
        return None, unfinished
    files = {row: finished_files(cells[row], PREDICTIONS) for row in names if row not in unfinished}
    lines, unlike = compare_alike({row: read_predictions(paths) for row, paths in files.items()}, baseline)
    return lines, unfinished | unlike


def cells_of(folder: Path) -> list[dict[str, Any]]:
    """What each fold's folder says of itself, by name; without its predictions a fold counts as not run.

    Args:
        folder: of a row and protocol, as ``OUT/table1/bcdnet_alpha/leak-free``.

    Returns:
        The content of each ``status.json``, with ``folder`` and ``config`` (the content of ``config.json``).
    """
    cells = []
    for path in sorted(folder.glob("fold*-seed*")):
        status, config = read_json(path / "status.json") or {"status": NOT_RUN}, read_json(path / "config.json")
        if status["status"] == OK and not (path / PREDICTIONS).is_file():
            status = {"status": NOT_RUN}
        if config is not None:
            cells.append({**status, "folder": path, "config": config})
    return cells


def status_of(cells: list[dict[str, Any]]) -> str:
    """A row's status, from its cells: as ``row_status``."""
    started = [cell for cell in cells if cell["status"] != NOT_RUN]
    if not started:
        return NOT_RUN
    failed = [cell for cell in started if cell["status"] == FAILED]
    if failed:
        return f"failed: {plain_line(failed[0]['error'])}"
    finished = [cell for cell in started if cell["status"] == OK]
    seeds = {cell["config"]["training_seed"] for cell in cells}
    expected = len(seeds) * folds_of(cells[0]["config"]["protocol"], cells[0]["config"]["folds"])
    return OK if len(finished) == expected else f"incomplete: {len(finished)} of {expected} folds"


def finished_cells(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The finished trainings of a finished row; none where the row is not finished.

    Args:
        cells: as from ``cells_of``.
    """
    return [cell for cell in cells if cell["status"] == OK] if status_of(cells) == OK else []


def finished_files(cells: list[dict[str, Any]], name: str) -> list[Path]:
    """The files of this name of all trainings of a finished row; none where the row or a file is not there.

    Args:
        cells: as from ``cells_of``.
        name: as ``PREDICTIONS``.
    """
    files = [cell["folder"] / name for cell in finished_cells(cells)]
    return files if all(path.is_file() for path in files) else []


def version_of(path: Path) -> Version:
    """What tells one content of a file from another without reading it."""
    facts = path.stat()
    return path.resolve(), facts.st_size, facts.st_mtime_ns
