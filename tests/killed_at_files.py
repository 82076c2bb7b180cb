"""A run that is killed at each of its files in turn, before or after the file has its name, and then goes on.

    python tests/killed_at_files.py FOLDER [EVERY]

Prints how often it was killed, and ends with code 1 where the predictions are not those of an undisturbed run. Each
attempt is a fork of one process that has loaded TensorFlow and not used it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

OPTIONS = "--table 2 --rows metadata_only,image_nearest_neighbour --image-size 32 --folds 2"


def killed_at(number: int) -> None:
    """Lets this process kill itself at the n-th file: an odd one before it is renamed, an even one afterwards."""
    rename, seen = Path.replace, 0

    def replace(path: Path, target: Path) -> Path:
        nonlocal seen
        seen += 1
        if seen == number and number % 2:
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        renamed = rename(path, target)
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return renamed

    Path.replace = replace  # type: ignore[method-assign]


def attempt(output: Path, number: int) -> int:
    """The run in a process of its own, killed at a file (0: at none); how that process ended."""
    process = os.fork()
    if process == 0:
        from mmdc_tf.cli import main

        with (output.parent / "log.txt").open("a") as log, contextlib.redirect_stdout(log):
            if number:
                killed_at(number)
            code = main(["run", *OPTIONS.split(), "--output", str(output)])
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def predictions(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*predictions*.csv")}


def main(folder: Path, every: int) -> int:
    """Kills at the files ``every``, 2 ``every`` … of each attempt until an attempt has fewer files."""
    import mmdc_tf.experiments.run
    import mmdc_tf.report.html  # noqa: F401  # loaded once, for all

    folder.mkdir(parents=True, exist_ok=True)
    if attempt(folder / "whole", 0) != 0:
        raise RuntimeError(f"Expected a run. Received: a failure. See {folder / 'log.txt'}.")
    kills, number, code = 0, 1, -signal.SIGKILL
    while code == -signal.SIGKILL:
        code = attempt(folder / "killed", number)
        kills += code == -signal.SIGKILL
        number += every
        print(kills, code, flush=True)
    same = predictions(folder / "whole") == predictions(folder / "killed")
    left = list((folder / "killed").rglob(".mmdc-tf-*"))
    print(f"killed {kills} times; ended with {code}; the same predictions: {same}; left: {left}")
    return 0 if same and code == 0 and not left else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int((sys.argv[2:] or [1])[0])))
