"""A run that is killed at random moments and started again ends with the files of a run that was not."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from killable_run import LOG, start

KILLS = int(os.environ.get("MMDC_TF_TEST_KILLS", "2"))
"""Twenty take minutes: the number is for the tests of every day."""
COMPARED = ("predictions.csv", "validation_predictions.csv", "predictions-metadata.csv", "history.csv", "table2.csv")
MOMENTS = random.Random(0)


def finish(output: Path) -> float:
    """Runs to the end; how many seconds that took."""
    began = time.monotonic()
    assert start(output).wait(timeout=280) == 0, (output / LOG).read_text()
    return time.monotonic() - began


def kill(output: Path, after: float) -> bool:
    """Starts the run and kills it some seconds after its first training began; whether it was still there."""
    process = start(output)
    while process.poll() is None and not is_training(output, process.pid):
        time.sleep(0.05)
    time.sleep(after)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    return alive


def is_training(output: Path, pid: int) -> bool:
    """Whether this process has begun a training: TensorFlow's events name who writes them."""
    return any(f".{pid}." in path.name for path in output.rglob("events.out.tfevents.*"))


def contents(output: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(output)): path for name in COMPARED for path in output.rglob(name)}
    return {name: path.read_bytes() for name, path in found.items()}


def without_seconds(files: dict[str, bytes]) -> dict[str, bytes]:
    """A table says how long its trainings took."""
    import io

    import pandas as pd

    table = pd.read_csv(io.BytesIO(files["table2.csv"])).drop(columns="seconds")
    return {**files, "table2.csv": table.to_csv().encode()}


@pytest.mark.timeout(60 + 40 * (KILLS + 4))
def test_killed_at_random_moments_it_ends_as_an_undisturbed_run(tmp_path: Path, tiny_backbone):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    seconds = finish(whole)
    kills = 0
    while kills < KILLS and kill(killed, MOMENTS.uniform(0, seconds / (KILLS + 2))):
        kills += 1
    finish(killed)
    assert kills > 0
    expected, found = without_seconds(contents(whole)), without_seconds(contents(killed))
    assert len(expected) == 3 * 4 + 1
    assert found == expected
    models = [sorted(folder.rglob("model.keras")) for folder in (whole, killed)]
    for one, two in zip(*models, strict=True):
        pair = [keras.models.load_model(path).get_weights() for path in (one, two)]
        for first, second in zip(*pair, strict=True):
            np.testing.assert_array_equal(first, second)
    assert not list(killed.rglob("checkpoint.npz"))
    assert not list(killed.rglob(".mmdc-tf-*"))
