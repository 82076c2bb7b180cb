"""A folder of scans into a mirrored folder of PNG and a manifest, to be interrupted and continued."""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from filelock import FileLock, Timeout

from mmdc_tf.datasets.jobs import Executor, parallel
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError, InputError, UnreadableImageError, one_line
from mmdc_tf.io import clear_leftovers, require_writable, write_with
from mmdc_tf.preprocessing.operations import require_positive_whole
from mmdc_tf.preprocessing.recipes import Recipe, get_recipe
from mmdc_tf.preprocessing.scan_file import preprocess_scan
from mmdc_tf.preprocessing.scan_folder import Row, ScanFolder, list_scans, read_manifest, write_manifest

MANIFEST, LOCK = "manifest.csv", ".mmdc-tf.lock"
Job = tuple[str, str, Row | None]  # a scan and its PNG, relative to the folders, and its row of an earlier run


@dataclass(frozen=True)
class BatchResult:
    """A row a scan, in order of their names; what was left out is as in ``scan_folder.ScanFolder``."""

    rows: tuple[Row, ...]
    unchanged: int
    lesion_masks: tuple[str, ...]
    outside_links: tuple[str, ...]
    others: tuple[PurePosixPath, ...]

    @property
    def failed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.failed)


def preprocess_folder(
    source: Path,
    target: Path,
    recipe: str,
    size: int,
    workers: int | Executor,
    progress: Callable[[int, int], None] | None = None,
) -> BatchResult:
    """Preprocesses all scans below a folder.

    Each becomes a PNG of the same pixels that training sees, named by ``scan_folder.png_names``. ``manifest.csv`` in
    the target has a line for each (``Row``) and grows as they are done. A later run with the same recipe and size does
    only scans that are new, have changed, could not be read, or whose PNG is gone; lines of scans that are no longer
    there stay as long as their PNG does. Nothing is written outside the target.

    Args:
        source: the folder of scans; links are treated as ``scan_folder.list_scans`` says.
        target: the folder for the results; may lie inside ``source``, and is then not searched for scans.
        recipe: the name of a recipe.
        size: height and width of the PNG files in pixels.
        workers: number of processes, at least 1, or where else to preprocess; the result does not depend on it.
        progress: called with the number of scans done and of all scans, at the start and after each.

    Raises:
        DatasetError: the source is no folder or holds no scan.
        ConfigurationError: an option out of range, a target that does not fit, or a worker process was killed.
        OSError: the disk failed; what is done stays done.
    """
    get_recipe(recipe)
    require_positive_whole(size, "size")
    if isinstance(workers, int):
        require_positive_whole(workers, "workers")
        workers = Executor(workers, "workers")
    source, target = source.expanduser().resolve(), target.expanduser().resolve()
    if not source.is_dir():
        state = "a file" if source.exists() else "no such folder"
        raise DatasetError(
            f"Expected a folder of scans. Received: input={source} ({state}). Give the folder that holds the scans."
        )
    if source.is_relative_to(target):
        raise ConfigurationError(
            f"Expected an output folder that does not contain the input, whose files it could overwrite. Received: "
            f"output={target}, input={source}. Choose another --output."
        )
    scans = list_scans(source, target)
    if not scans.outputs:
        raise DatasetError(
            f"Expected a folder with PNG, JPEG, TIFF, BMP or DICOM files. Received: input={source} with none. "
            "Give the folder that holds the scans."
        )
    require_writable(target)
    with _locked(target):
        clear_leftovers({target, *((target / png).parent for png in scans.outputs.values())})
        before = _rows_before(target, scans, recipe, size)
        work = functools.partial(process_scan, source, target, get_recipe(recipe), size)
        rows, unchanged = _run(work, scans.outputs, target, before, workers, progress or (lambda done, total: None))
    return BatchResult(tuple(rows), unchanged, scans.lesion_masks, scans.outside_links, scans.others)


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keeps a second run out; the system frees the lock of a run that was killed."""
    try:
        with FileLock(target / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise ConfigurationError(
            f"Expected an output folder that no other run is writing to. Received: output={target}, in use. "
            "Wait for the other run, or choose another --output."
        ) from error


def _rows_before(target: Path, scans: ScanFolder, recipe: str, size: int) -> dict[str, Row]:
    """The rows of earlier runs, by scan; refused where they are of another recipe or something is in the way."""
    before = read_manifest(target / MANIFEST)
    for row in before.values():
        if (row.recipe, row.size) != (recipe, size):
            raise ConfigurationError(
                f"Expected the recipe and size that {target} was made with. Received: recipe: {row.recipe!r} → "
                f"{recipe!r}; size: {row.size} → {size}. Choose another --output, or the same options."
            )
    known = (target / MANIFEST).is_file()
    for png in scans.outputs.values():
        if not (target / png).parent.resolve().is_relative_to(target):
            raise ConfigurationError(
                f"Expected folders inside the output. Received: {target / png}, which a link leads outside. "
                "Remove the link, or choose another --output."
            )
        if not known and (target / png).exists():
            raise ConfigurationError(
                f"Expected an output folder with a {MANIFEST}, or without files where results go. Received: "
                f"{target / png}, of unknown origin. Choose another --output."
            )
    return before


def _run(
    work: Callable[[Job], tuple[Row, bool]],
    outputs: dict[str, str],
    target: Path,
    before: dict[str, Row],
    executor: Executor,
    progress: Callable[[int, int], None],
) -> tuple[list[Row], int]:
    """Does the scans; the manifest grows with each and is put in order at the end."""
    standing = _standing_rows(outputs, target, before)
    write_manifest(target / MANIFEST, standing.values())
    progress(0, len(outputs))
    jobs = [(scan, png, before.get(scan)) for scan, png in outputs.items()]
    rows: dict[str, Row] = {}
    unchanged = 0
    with (
        (target / MANIFEST).open("a", encoding="utf-8", errors="surrogateescape", newline="") as manifest,
        contextlib.closing(parallel(work, jobs, executor, bundle=16)) as results,
    ):
        for _, (row, made) in results:
            rows[row.source] = row
            unchanged += not made
            csv.writer(manifest, lineterminator="\n").writerow(astuple(row))
            manifest.flush()
            progress(len(rows), len(jobs))
    write_manifest(target / MANIFEST, (standing | rows).values())
    return [rows[scan] for scan in outputs], unchanged


def _standing_rows(outputs: dict[str, str], target: Path, before: dict[str, Row]) -> dict[str, Row]:
    """Earlier rows that stay; the PNG of a scan whose name for it has changed goes."""
    taken = set(outputs.values())
    standing = {}
    for source, row in before.items():
        png = target / row.output
        if not row.output or not png.resolve().is_relative_to(target) or not png.is_file():
            continue
        wanted = outputs.get(source)
        if wanted == row.output or (wanted is None and row.output not in taken):
            standing[source] = row
        elif row.output not in taken:
            png.unlink()
    return standing


def process_scan(source: Path, target: Path, recipe: Recipe, size: int, job: Job) -> tuple[Row, bool]:
    """The line of the manifest, and whether a PNG was made: not where an earlier run's is that of the same scan."""
    for name, folder, sign in (("input", source, source), ("output", target, target / LOCK)):
        if not sign.exists():
            raise ConfigurationError(
                f"Expected folders that every node reaches under the same path. Received: {name}={folder}, which node "
                f"{platform.node()} does not have. Mount it there."
            )
    scan, output, before = job
    started, path, png = time.perf_counter(), source / scan, target / output
    row = functools.partial(Row, scan, recipe=recipe.name, size=size)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if before and not before.failed and (before.sha256, before.output) == (digest, output) and png.is_file():
            return before, False
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pydicom")
            done = preprocess_scan(path, recipe, size)
    except (InputError, OSError, RuntimeError, MemoryError) as error:
        png.unlink(missing_ok=True)  # that of an earlier state of the scan would pass for one of its present state
        flag = "unreadable" if isinstance(error, OSError | UnreadableImageError) else "failed"
        reason = one_line(error) or type(error).__name__
        return row(flags=flag, reason=reason, seconds=round(time.perf_counter() - started, 3)), True
    write_png(png, done.image)
    share = round(done.box[2] * done.box[3] / (done.width * done.height), 4)
    pixels = (output, digest, done.width, done.height, *done.box, share, done.side, ";".join(done.flags))
    return row(*pixels, seconds=round(time.perf_counter() - started, 3)), True


def write_png(path: Path, image: np.ndarray) -> None:
    """Writes uint8 (H, W, 3) RGB as PNG, whole or not at all."""
    _, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    write_with(path, lambda temporary: temporary.write_bytes(content.tobytes()))
