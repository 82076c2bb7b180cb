"""A folder of scans into a mirrored folder of PNG, by several processes, to be interrupted and continued."""

from __future__ import annotations

import contextlib
import platform
import warnings
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock, Timeout

from mmdc_tf.datasets.jobs import Executor, parallel
from mmdc_tf.errors import ConfigurationError, DatasetError
from mmdc_tf.io import clear_leftovers
from mmdc_tf.preprocessing.checks import require_positive_whole
from mmdc_tf.preprocessing.manifest import Row, csv_line, read_manifest, write_manifest
from mmdc_tf.preprocessing.one_scan import Job, process
from mmdc_tf.preprocessing.progress import Progress, silent
from mmdc_tf.preprocessing.recipes import get_recipe
from mmdc_tf.preprocessing.scan_folder import ScanFolder, list_scans

MANIFEST, LOCK = "manifest.csv", ".mmdc-tf.lock"


@dataclass(frozen=True)
class BatchResult:
    """How a folder ended.

    Args:
        rows: one a scan, in order of their names.
        unchanged: number of scans that an earlier run had done.
        lesion_masks: image files that are lesion masks of a scan, by their names (``scan_folder.masks_by_scan``), and
            were left out.
        outside_links: links that leave the input folder and were not followed.
        others: files that are no scans.
    """

    rows: tuple[Row, ...]
    unchanged: int
    lesion_masks: tuple[str, ...]
    outside_links: tuple[str, ...]
    others: tuple[PurePosixPath, ...]

    @property
    def failed(self) -> tuple[Row, ...]:
        """The scans without a PNG."""
        return tuple(row for row in self.rows if row.failed)


def preprocess_folder(
    source: Path, target: Path, recipe: str, size: int, workers: int | Executor, progress: Progress | None = None
) -> BatchResult:
    """Preprocesses all scans below a folder.

    Each becomes a PNG of the same pixels that training sees; its name is ``scan_folder.png_names``'. ``manifest.csv``
    in the target has a line for each (``manifest.Row``) and grows as they are done. A later run with the same recipe
    and size does only scans that are new, have changed, could not be read, or whose PNG is gone; lines of scans that
    are no longer there stay as long as their PNG does. Nothing is written outside the target. A script that calls
    this needs ``if __name__ == "__main__":``, since the worker processes import it.

    Args:
        source: the folder of scans; links are treated as ``scan_folder.list_scans`` says.
        target: the folder for the results; may lie inside ``source``, and is then not searched for scans.
        recipe: the name of a recipe.
        size: height and width of the PNG files in pixels.
        workers: number of processes, at least 1, or where else the scans are preprocessed;
            the result does not depend on it.
        progress: called with the number of scans done and of all scans, at the start and after each.

    Raises:
        DatasetError: the source is no folder or holds no scan.
        ConfigurationError: an unknown recipe, a size or number of workers below 1, a target that cannot be written,
            contains the source, was made with another recipe or size, holds PNG files of other origin where results
            would go, has a link that leads outside, or is in use by another run; or a worker process was killed.
    """
    get_recipe(recipe)
    require_positive_whole(size, "size")
    if isinstance(workers, int):
        require_positive_whole(workers, "workers")
    source, target = source.expanduser().resolve(), target.expanduser().resolve()
    _require_source(source, target)
    scans = list_scans(source, target)
    if not scans.outputs:
        raise DatasetError(
            f"Expected a folder with PNG, JPEG, TIFF, BMP or DICOM files. Received: input={source} with none. "
            "Give the folder that holds the scans."
        )
    with _writing_to(target), _locked(target):
        clear_leftovers({target, *((target / png).parent for png in scans.outputs.values())})
        before = _rows_before(target, scans, recipe, size)
        jobs = [Job(source, target, scan, png, recipe, size, before.get(scan)) for scan, png in scans.outputs.items()]
        executor = Executor(workers, "workers") if isinstance(workers, int) else workers
        rows, unchanged = _run(
            jobs,
            target,
            before,
            executor,
            progress or silent,
        )
    return BatchResult(tuple(rows), unchanged, scans.lesion_masks, scans.outside_links, scans.others)


def _require_source(source: Path, target: Path) -> None:
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


@contextlib.contextmanager
def _writing_to(target: Path) -> Iterator[None]:
    """Makes the folder; what cannot be written there is one clear line."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ConfigurationError(
            f"Expected a folder that can be written to. Received: output={target} ({error.strerror or error}). "
            "Make room, or choose another --output; what is done stays done."
        ) from error


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keeps a second run out; the system frees the lock of a run that was killed."""
    lock = FileLock(target / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigurationError(
            f"Expected an output folder that no other run is writing to. Received: output={target}, in use. "
            "Wait for the other run, or choose another --output."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _rows_before(target: Path, scans: ScanFolder, recipe: str, size: int) -> dict[str, Row]:
    """The rows of earlier runs, of which the recipe and size are the same and the PNG files are in place."""
    before = read_manifest(target / MANIFEST)
    for row in before.values():
        if (row.recipe, row.size) != (recipe, size):
            raise ConfigurationError(
                f"Expected the recipe and size that {target} was made with. Received: recipe: {row.recipe!r} → "
                f"{recipe!r}; size: {row.size} → {size}. Choose another --output, or the same options."
            )
    known = (target / MANIFEST).is_file()
    for png in scans.outputs.values():
        _require_own_place(target, png, known)
    return before


def _require_own_place(target: Path, png: str, known: bool) -> None:
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


def _run(
    jobs: list[Job], target: Path, before: dict[str, Row], executor: Executor, progress: Progress
) -> tuple[list[Row], int]:
    """Does the jobs; the manifest grows with each and is put in order at the end, whatever ends the run."""
    kept = _kept_rows(jobs, target, before)
    write_manifest(target / MANIFEST, kept.values())
    progress(0, len(jobs))
    rows: dict[str, Row] = {}
    unchanged = 0
    with (target / MANIFEST).open("a", encoding="utf-8", errors="surrogateescape", newline="") as manifest:
        for _, (row, made) in parallel(_process, jobs, executor, bundle=16):
            rows[row.source] = row
            unchanged += not made
            manifest.write(csv_line(astuple(row)))
            manifest.flush()
            progress(len(rows), len(jobs))
    write_manifest(target / MANIFEST, (kept | rows).values())
    return [rows[job.scan] for job in jobs], unchanged


def _kept_rows(jobs: list[Job], target: Path, before: dict[str, Row]) -> dict[str, Row]:
    """Earlier rows that stay; the PNG of a scan whose name for it has changed goes."""
    outputs = {job.scan: job.output for job in jobs}
    taken = set(outputs.values())
    kept = {}
    for source, row in before.items():
        png = target / row.output
        if not row.output or not png.resolve().is_relative_to(target) or not png.is_file():
            continue
        wanted = outputs.get(source)
        if wanted == row.output or (wanted is None and row.output not in taken):
            kept[source] = row
        elif row.output not in taken:
            png.unlink()
    return kept


def _process(job: Job) -> tuple[Row, bool]:
    """On whatever machine it runs."""
    warnings.filterwarnings("ignore", module="pydicom")
    # the lock: of an output whose mount has vanished, the empty folder is still there
    for name, folder, sign in (("input", job.source, job.source), ("output", job.target, job.target / LOCK)):
        if not sign.exists():
            raise ConfigurationError(
                f"Expected folders that every node reaches under the same path. Received: {name}={folder}, which node "
                f"{platform.node()} does not have. Mount it there."
            )
    return process(job)
