"""One scan of a folder into one PNG and one row of the manifest; runs in a worker process."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdc_tf.datasets.images import read_image
from mmdc_tf.errors import InputError, UnreadableImageError
from mmdc_tf.opencv import cv2
from mmdc_tf.preprocessing.manifest import Row
from mmdc_tf.preprocessing.mirroring import light_of_halves
from mmdc_tf.preprocessing.operations import to_grey
from mmdc_tf.preprocessing.png import write_png
from mmdc_tf.preprocessing.recipes import Recipe, get_recipe


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


@dataclass(frozen=True)
class Result:
    """The pixels uint8 (S, S, 3) and what the manifest says of them: see ``Row``."""

    image: np.ndarray
    box: tuple[int, int, int, int]
    side: str
    flags: tuple[str, ...]


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
        if _is_done(job, digest) and job.before is not None:
            return job.before, False
        scan = read_image(job.source / job.scan)
    except (OSError, UnreadableImageError) as error:
        return _failed_row(job, "unreadable", str(error), started), True
    try:
        result = run_recipe(get_recipe(job.recipe), scan, job.size)
    except (InputError, RuntimeError, MemoryError) as error:
        return _failed_row(job, "failed", str(error) or type(error).__name__, started), True
    write_png(job.target / job.output, result.image)
    return _row(job, digest, scan, result, started), True


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_done(job: Job, digest: str) -> bool:
    before = job.before
    if before is None or before.failed or (before.sha256, before.output) != (digest, job.output):
        return False
    return (job.target / job.output).is_file()


def run_recipe(recipe: Recipe, scan: np.ndarray, size: int) -> Result:
    """As ``recipe.apply``, and what its crop kept.

    Args:
        recipe: any; its region is the mask that its step "crop" is given.
        scan: uint8 (H, W) or (H, W, 3).
        size: height and width of the result in pixels.

    Raises:
        InputError, ConfigurationError, RuntimeError: as ``recipe.apply``.
    """
    height, width = scan.shape[:2]
    box, kept, mask, image = (0, 0, width, height), None, None, scan
    flags = ["blank"] if scan.min() == scan.max() else []
    for step, state in recipe.states(scan, size):
        if step.name == "crop" and mask is not None:
            kept = state.image
            left, top, box_width, box_height = cv2.boundingRect(mask)
            box = (left, top, box_width, box_height) if box_width else box
            flags += [] if box_width else ["no_region"]
        mask, image = state.mask, state.image
    return Result(image, box, _side(to_grey(scan if kept is None else kept)), tuple(flags))


def _side(grey: np.ndarray) -> str:
    left, right = light_of_halves(grey)
    return "" if left == right else "L" if left > right else "R"


def _row(job: Job, digest: str, scan: np.ndarray, result: Result, started: float) -> Row:
    height, width = scan.shape[:2]
    left, top, box_width, box_height = result.box
    return Row(
        source=job.scan,
        output=job.output,
        sha256=digest,
        width=width,
        height=height,
        box_left=left,
        box_top=top,
        box_width=box_width,
        box_height=box_height,
        kept_fraction=round(box_width * box_height / (width * height), 4),
        side=result.side,
        flags=";".join(result.flags),
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
