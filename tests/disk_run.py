"""A small run on a disk of its own that is too small, read-only or gone, until it is mended: prints what was said.

Needs the right to mount, in a name space of its own: ``unshare -m python tests/disk_run.py full FOLDER 72``.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import made_up_backbone

START, STEP = 40, 900
"""Kilobytes of the first disk, and how much larger the next one is."""


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def attempt(folder: Path, cut_in: Callable[[], object] = lambda: None) -> str | None:
    """The run in ``folder/disk/run``, up to its end (None) or to the message that ends it."""
    from small_run import FUSED, make_plan

    from mmdc_tf.datasets.phantom import phantom_mammograms
    from mmdc_tf.errors import InputError
    from mmdc_tf.experiments.grid import make_cells
    from mmdc_tf.experiments.runner import run_cells
    from mmdc_tf.report.tables import write_tables
    from mmdc_tf.storage import present
    from mmdc_tf.training.recipe import load_profile

    dataset = phantom_mammograms(folder / "data", patients=12, height=64, seed=1)
    profile = load_profile("quick", image_size=32, epochs=2, folds=2)
    output = folder / "disk" / "run"
    plan = make_plan(dataset, output, (FUSED,), profile=profile)

    def after_cell() -> None:
        write_tables(plan.table, output)
        cut_in()

    try:
        output.mkdir(exist_ok=True)
        with present(output), contextlib.redirect_stdout(io.StringIO()):
            failures = run_cells(plan, make_cells(plan), after_cell)
        return f"{failures} failed" if failures else None
    except InputError as error:
        return str(error)


def full(folder: Path, step: int) -> list[str]:
    """A disk that is too small, made a step larger each time that it is full."""
    size, said = START, []
    mount("-t", "tmpfs", "-o", f"size={size}k", "tmpfs", folder / "disk")
    while (message := attempt(folder)) is not None:
        said.append(f"{size}k: {message}")
        print(said[-1], file=sys.stderr, flush=True)
        size += step
        mount("-o", f"remount,size={size}k", folder / "disk")
    return said


def read_only(folder: Path, step: int) -> list[str]:
    """A disk that may not be written to after the first training, and then may again."""
    mount("-t", "tmpfs", "tmpfs", folder / "disk")
    message = attempt(folder, lambda: mount("-o", "remount,ro", folder / "disk"))
    mount("-o", "remount,rw", folder / "disk")
    return [str(message), *mended(folder)]


def gone(folder: Path, step: int) -> list[str]:
    """A disk that is unmounted after the first training, and then is back."""
    (folder / "kept").mkdir()
    mount("-t", "tmpfs", "tmpfs", folder / "kept")
    mount("--bind", folder / "kept", folder / "disk")
    message = attempt(folder, lambda: subprocess.run(["umount", "-l", str(folder / "disk")], check=True))
    written = [f"written below it: {path}" for path in (folder / "disk").rglob("*")]
    mount("--bind", folder / "kept", folder / "disk")
    return [str(message), *written, *mended(folder)]


def mended(folder: Path) -> list[str]:
    """What the same run says once the disk is as it should be: nothing."""
    return [message for message in [attempt(folder)] if message is not None]


def main(kind: str, folder: Path, step: int) -> None:
    """Prints JSON: what was said, and the bytes of each file that must not depend on what happened."""
    sys.path.insert(0, str(Path(__file__).with_name("experiments")))
    (folder / "disk").mkdir(parents=True)
    said = {"full": full, "read-only": read_only, "gone": gone, "none": lambda *_: []}[kind](folder, step)
    if kind == "none":
        attempt(folder)
    run = folder / "disk" / "run"
    names = ("predictions.csv", "validation_predictions.csv", "predictions-metadata.csv", "history.csv")
    files = {str(path.relative_to(run)): path.read_text() for name in names for path in sorted(run.rglob(name))}
    left = [path.name for path in run.rglob(".mmdc-tf-*")]
    print(json.dumps({"said": said, "files": files, "left": left}))


if __name__ == "__main__":
    with made_up_backbone.registered():
        main(sys.argv[1], Path(sys.argv[2]), int((sys.argv[3:] or [STEP])[0]))
