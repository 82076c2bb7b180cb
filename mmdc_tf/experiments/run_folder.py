"""The run folder: its files, its lock, what the run was made with, and how far its rows are."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import PROTOCOLS, USUAL, folds_of
from mmdc_tf.errors import ConfigurationError, plain_line
from mmdc_tf.evaluation.comparison import compare_alike
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.io import clear_leftovers, read_json, write_json, write_table

NOT_RUN, RUNNING, OK, FAILED = "not run", "running", "ok", "failed"
PREDICTIONS, VALIDATION, CALIBRATION = "predictions.csv", "validation_predictions.csv", "calibration.json"
MODEL_CARD, SAMPLES = "model_card.md", "samples.csv"
TENSORBOARD, TEST, MADE_FROM = "tb", "test", "made_from.json"
SAMPLE_COLUMNS = ("sample_id", "patient_id", "group_id", "label", "age", "density", "view", "side", "digitizer")
PACKAGES = ("mmdc_tf", "tensorflow", "keras", "numpy", "pandas", "opencv-python", "scikit-learn", "ImageHash")
Version = tuple[Path, int, int]


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Keeps other processes from running into a table's folder, and removes what killed ones have left half-written.

    Raises:
        ConfigurationError: another process holds the lock, which ends with it.
    """
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigurationError(
            f"Expected a run folder that no other process writes. Received: {folder}, in use by one. Wait until it "
            "ends and give the command again, which continues it, or choose another --output."
        ) from error
    try:
        below = (Path(path) for path, _, _ in os.walk(folder))
        clear_leftovers([folder.parent, folder.parent / "figures", *below])
        yield
    finally:
        lock.release()


def require_same(path: Path, content: dict[str, Any]) -> None:
    """Writes ``content`` where the file is absent; where it is there it must say the same.

    Raises:
        ConfigurationError: names what differs.
    """
    stored = read_json(path)
    if stored is None:
        write_json(path, content)
        return
    before, now = _flat(stored), _flat(json.loads(json.dumps(content)))
    differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if differing:
        changes = "; ".join(f"{key}: {before.get(key)!r} → {now.get(key)!r}" for key in differing)
        raise ConfigurationError(
            f"Expected the configuration and dataset that {path.parent} was made with. Received: {changes}. "
            "Use another --output, the same options, or --fresh to start over."
        )


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"training": {"epochs": 4}}`` as ``{"training.epochs": 4}``."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def set_aside(folder: Path) -> Path | None:
    """Renames an earlier result so that a fresh run loses nothing; returns its new place."""
    if not folder.exists():
        return None
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return folder.rename(folder.with_name(f"{folder.name}.before-{stamp}"))


def environment(fingerprint: str) -> dict[str, Any]:
    """The content of ``environment.json``: versions, machine, git revision and the dataset's fingerprint."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpus": _said("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None,
        "packages": {name: _version(name) for name in PACKAGES},
        "all_packages": {one.name: one.version for one in importlib.metadata.distributions()},
        "git_revision": _said("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"),
        "dataset_fingerprint": fingerprint,
        "written": _now(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _said(*command: str) -> str | None:
    """What a program prints; None where it is not there or fails: no git, no checkout, no GPU."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None


def remember_command(folder: Path, command: str, dataset_root: Path) -> None:
    """Adds a command to ``commands.json``; the same one takes the place of the earlier.

    It stands beside ``run.json`` and not in it: that must stay the same for a run to continue.
    """
    entry = {"command": command, "dataset_root": str(dataset_root.resolve()), "written": _now()}
    earlier = [one for one in commands_of(folder) if one["command"] != command]
    write_json(folder / "commands.json", {"commands": [*earlier, entry]})


def commands_of(folder: Path) -> list[dict[str, Any]]:
    """The commands so far, each with ``command``, ``dataset_root`` and ``written`` (UTC), the last one last."""
    return (read_json(folder / "commands.json") or {"commands": []})["commands"]


def write_samples(dataset: Dataset, folder: Path) -> None:
    """Writes ``samples.csv`` beside ``run.json``, so that results by age, density or view need no dataset.

    One line an image with ``SAMPLE_COLUMNS``, and no path. ``digitizer`` is the letter that file names start with,
    where they say it (``DatasetInfo.digitizer_from_name``), or the site or device where the data set names it; else "".
    """
    digitizer: pd.Series | str = ""
    if dataset.info.digitizer_from_name:
        names = dataset.table["image_path"].map(lambda path: Path(path).name)
        digitizer = names.str.extract(r"^([A-Z])", expand=False).fillna("")
    elif dataset.site is not None:
        digitizer = dataset.table["sample_id"].map(dataset.site)
    write_table(folder / SAMPLES, dataset.table.assign(digitizer=digitizer)[list(SAMPLE_COLUMNS)])


def read_samples(folder: Path) -> pd.DataFrame | None:
    """What ``write_samples`` wrote, or None where the file is absent, as in runs of older versions.

    ``age`` (years) and ``density`` (1 to 4) are float64, NaN where unknown; the others are text, "" where unknown.

    Raises:
        ConfigurationError: the file lacks a column.
    """
    path = folder / SAMPLES
    if not path.is_file():
        return None
    numbers = ("age", "density")
    types = {name: "float64" if name in numbers else "str" for name in SAMPLE_COLUMNS}
    table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values={name: [""] for name in numbers})
    if missing := [name for name in SAMPLE_COLUMNS if name not in table.columns]:
        raise ConfigurationError(
            f"Expected the columns {', '.join(SAMPLE_COLUMNS)}. Received: {path} without {', '.join(missing)}. "
            "Delete the file and run the same command again."
        )
    return table


def forget(folder: Path, part: str) -> None:
    """Removes what TensorBoard shows of the test parts of a row and protocol, and the curves of one training.

    Args:
        folder: of the row and protocol, as ``OUT/table1/bcdnet_alpha/leak-free``.
        part: the training's, as ``fold0-seed0``; "" for none.
    """
    shown = folder / TENSORBOARD
    (shown / MADE_FROM).unlink(missing_ok=True)
    for name in filter(None, (TEST, part)):
        for path in shown.glob(f"*.{name}"):
            path.unlink()


def run_of(folder: Path) -> dict[str, Any]:
    """The content of ``run.json`` in a table's folder; empty where nothing was run yet."""
    return read_json(folder / "run.json") or {}


def rows_in(folder: Path) -> list[str]:
    """The rows that have a folder in a table's folder, by name."""
    return sorted({path.parent.name for protocol in PROTOCOLS for path in folder.glob(f"*/{protocol}/")})


def protocols_in(folder: Path) -> tuple[str, ...]:
    """The usual protocols, and the control where a row of the table was run under it, in the order of ``PROTOCOLS``."""
    return tuple(name for name in PROTOCOLS if name in USUAL or any(folder.glob(f"*/{name}")))


def trainings_of(folder: Path) -> list[dict[str, Any]]:
    """The content of each training's ``status.json``, with ``folder`` and ``config`` (the content of ``config.json``).

    Without its predictions a training counts as not run.

    Args:
        folder: of a row and protocol, as ``OUT/table1/bcdnet_alpha/leak-free``.
    """
    trainings = []
    for path in sorted(folder.glob("fold*-seed*")):
        status, config = read_json(path / "status.json"), read_json(path / "config.json")
        if status is None or (status["status"] == OK and not (path / PREDICTIONS).is_file()):
            status = {"status": NOT_RUN}
        if config is not None:
            trainings.append({**status, "folder": path, "config": config})
    return trainings


def status_of(trainings: list[dict[str, Any]]) -> str:
    """A row's status: ``"ok"``, ``"not run"``, ``"incomplete: 2 of 5 folds"`` or ``"failed: …"``."""
    started = [one for one in trainings if one["status"] != NOT_RUN]
    if not started:
        return NOT_RUN
    failed = [one for one in started if one["status"] == FAILED]
    if failed:
        return f"failed: {plain_line(failed[0]['error'])}"
    finished = [one for one in started if one["status"] == OK]
    config, seeds = trainings[0]["config"], {one["config"]["training_seed"] for one in trainings}
    expected = len(seeds) * folds_of(config["protocol"], config["folds"])
    return OK if len(finished) == expected else f"incomplete: {len(finished)} of {expected} folds"


def finished_trainings(trainings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The finished trainings of a finished row; none where the row is not finished."""
    return [one for one in trainings if one["status"] == OK] if status_of(trainings) == OK else []


def finished_files(trainings: list[dict[str, Any]], name: str) -> list[Path]:
    """The files of this name of all trainings of a finished row; none where the row or a file is not there."""
    files = [one["folder"] / name for one in finished_trainings(trainings)]
    return files if all(path.is_file() for path in files) else []


def row_status(folder: Path, row: str, protocol: str) -> str:
    """As ``status_of``, of a row in a table's folder."""
    return status_of(trainings_of(folder / row / protocol))


def row_predictions(folder: Path, row: str, protocol: str) -> pd.DataFrame:
    """The predictions of all folds and seeds of a row in a table's folder.

    Raises:
        ConfigurationError: the row is not finished.
    """
    trainings = trainings_of(folder / row / protocol)
    if (status := status_of(trainings)) != OK:
        raise ConfigurationError(
            f"Expected a finished row under {protocol}. Received: row={row!r} in {folder} ({status}). "
            "Run the command that made the folder again: it continues."
        )
    return read_predictions(finished_files(trainings, PREDICTIONS))


def compare_in_folder(
    folder: Path, baseline: str, rows: Iterable[str], protocol: str
) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """Compares the finished rows in a table's folder with one of them, in the order given.

    Returns:
        The lines of ``mmdc_tf.evaluation.comparison.compare_alike``, None where there is nothing to compare; and why
        rows were left out: their status, or what differs (another number of seeds, for example).
    """
    trainings = {row: trainings_of(folder / row / protocol) for row in dict.fromkeys([baseline, *rows])}
    unfinished = {row: status for row, found in trainings.items() if (status := status_of(found)) != OK}
    if baseline in unfinished:
        return None, unfinished
    files = {row: finished_files(found, PREDICTIONS) for row, found in trainings.items() if row not in unfinished}
    lines, unlike = compare_alike({row: read_predictions(paths) for row, paths in files.items()}, baseline)
    return lines, unfinished | unlike


def version_of(path: Path) -> Version:
    """What tells one content of a file from another without reading it."""
    facts = path.stat()
    return path.resolve(), facts.st_size, facts.st_mtime_ns
