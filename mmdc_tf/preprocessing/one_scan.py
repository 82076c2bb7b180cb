"""One scan of a folder into one PNG and one row of the manifest; runs in a worker process."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from mmdc_tf.errors import InputError, UnreadableImageError
from mmdc_tf.preprocessing.manifest import Row
from mmdc_tf.preprocessing.png import write_png
from mmdc_tf.preprocessing.recipes import get_recipe
from mmdc_tf.preprocessing.scan_file import PreprocessedScan, preprocess_scan


@dataclass(frozen=True)
class Job:
    """A scan to do.

    Args:
        source: the input folder.
        target: the output folder.
        scan: relative to ``source``.
        output: relative to ``target``.
        recipe: its name.
        size: height and width of the PNG in pixels.
        before: the scan's row of an earlier run.
    """

    source: Path
    target: Path
    scan: str
    output: str
    recipe: str
    size: int
    before: Row | None


def process(job: Job) -> tuple[Row, bool]:
    """Makes the PNG, unless the one of an earlier run is there and the scan has not changed.

    Returns:
        The line of the manifest, and whether anything was done.

    Raises:
        OSError: the PNG cannot be written.
    """
    started = time.perf_counter()
    try:
        digest = _sha256(job.source / job.scan)
        if (before := _done_before(job, digest)) is not None:
            return before, False
        scan = preprocess_scan(job.source / job.scan, get_recipe(job.recipe), job.size)
    except (OSError, UnreadableImageError) as error:
        return _failed_row(job, "unreadable", str(error), started), True
    except (InputError, RuntimeError, MemoryError) as error:
        return _failed_row(job, "failed", str(error) or type(error).__name__, started), True
    write_png(job.target / job.output, scan.image)
    return _row(job, digest, scan, started), True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _done_before(job: Job, digest: str) -> Row | None:
    """The scan's row of an earlier run, where it still holds and its PNG is in place."""
    before = job.before
    if before is None or before.failed or (before.sha256, before.output) != (digest, job.output):
        return None
    return before if (job.target / job.output).is_file() else None


def _row(job: Job, digest: str, scan: PreprocessedScan, started: float) -> Row:
    left, top, box_width, box_height = scan.box
    return Row(
        source=job.scan,
        output=job.output,
        sha256=digest,
        width=scan.width,
        height=scan.height,
        box_left=left,
        box_top=top,
        box_width=box_width,
        box_height=box_height,
        kept_fraction=round(box_width * box_height / (scan.width * scan.height), 4),
        side=scan.side,
        flags=";".join(scan.flags),
        reason="",
        seconds=round(time.perf_counter() - started, 3),
        recipe=job.recipe,
        size=job.size,
    )


def _failed_row(job: Job, flag: str, reason: str, started: float) -> Row:
    # An output of an earlier state of the scan would pass for one of its present state.
    (job.target / job.output).unlink(missing_ok=True)
    seconds = round(time.perf_counter() - started, 3)
    nothing = dict.fromkeys(("width", "height", "box_left", "box_top", "box_width", "box_height", "kept_fraction"))
    return Row(
        source=job.scan,
        output="",
        sha256="",
        side="",
        flags=flag,
        reason=" ".join(reason.split()),
        seconds=seconds,
        recipe=job.recipe,
        size=job.size,
        **nothing,
    )
