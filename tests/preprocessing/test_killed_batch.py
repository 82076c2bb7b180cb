"""``mmdc-tf preprocess`` that is killed goes on where it was, and leaves no process and no half-written file behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.opencv import cv2

KILLS = int(os.environ.get("MMDC_TF_TEST_KILLS", "2"))
SCANS, WORKERS = 40, 2
MOMENTS = random.Random(0)
COMMAND = "import sys; from mmdc_tf.cli import main\nif __name__ == '__main__': sys.exit(main(sys.argv[1:]))"
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux' list of processes")


@pytest.fixture
def scans(tmp_path) -> Path:
    folder = tmp_path / "in"
    for number in range(SCANS):
        path = folder / f"patient {number % 7}" / f"scan {number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.zeros((300, 240), np.uint8)
        image[40:260, :150] = np.random.default_rng(number).integers(90, 210, (220, 150))
        assert cv2.imwrite(str(path), image)
    return folder


def start(scans: Path, output: Path) -> subprocess.Popen:
    script = scans.parent / "command.py"
    script.write_text(COMMAND)
    options = ["--input", scans, "--output", output, "--recipe", "lesion-safe", "--size", "64", "--workers", WORKERS]
    words = [sys.executable, str(script), "preprocess", *map(str, options)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def done(output: Path) -> int:
    """Scans in the manifest."""
    manifest = output / "manifest.csv"
    return len(manifest.read_bytes().splitlines()) - 1 if manifest.is_file() else 0


def kill(process: subprocess.Popen, output: Path, scans_more: int) -> bool:
    """Kills the main process some scans on; whether it was still there. Its workers end by themselves."""
    wanted = done(output) + scans_more
    while process.poll() is None and done(output) < wanted:
        time.sleep(0.002)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGKILL)
    killed = process.wait(timeout=30) == -signal.SIGKILL
    until = time.monotonic() + 30
    while living := [worker for worker in workers if is_python(worker)]:
        assert time.monotonic() < until, living
        time.sleep(0.05)
    return killed


def is_python(process: str) -> bool:
    """Whether it runs: one that has ended and whom nobody has asked for has no command line any more."""
    try:
        return b"python" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def contents(output: Path) -> tuple[dict[str, bytes], str]:
    pngs = {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*.png")}
    return pngs, pd.read_csv(output / "manifest.csv").drop(columns="seconds").to_csv()


@pytest.mark.timeout(120 + 30 * KILLS)
def test_killed_at_random_moments_it_ends_as_an_undisturbed_one(scans, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(scans, whole).wait(timeout=100) == 0
    kills = sum(kill(start(scans, killed), killed, MOMENTS.randint(1, SCANS // (KILLS + 1))) for _ in range(KILLS))
    assert kills > 0
    process = start(scans, killed)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert f"{SCANS} scans: " in out
    assert contents(killed) == contents(whole)
    assert len(contents(whole)[0]) == SCANS
    assert not list(killed.rglob(".mmdc-tf-*"))
