"""A run that is killed at random moments and started again ends with the files of a run that was not.

As a script, the run: it keeps the state of each training after every epoch.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = int(os.environ.get("MMDC_TF_TEST_KILLS", "1"))
"""Twenty take minutes: the number is for the tests of every day."""
COMPARED = ("predictions.csv", "validation_predictions.csv", "predictions-metadata.csv", "history.csv")
MOMENTS = random.Random(0)
TESTS = Path(__file__).parents[1]


def run(output: Path) -> int:
    """Runs, or goes on with, the run in ``output``."""
    from made_up_backbone import registered
    from small_run import FUSED, execute, make_plan

    from mmdc_tf.datasets.phantom import phantom_mammograms
    from mmdc_tf.experiments import learners
    from mmdc_tf.experiments.run_folder import only_run
    from mmdc_tf.training.recipe import load_profile

    learners.Checkpoint = functools.partial(learners.Checkpoint, seconds=0)
    dataset = phantom_mammograms(output / "data", patients=12, height=64, seed=1)
    profile = load_profile("quick", image_size=32, epochs=5, folds=2)
    plan = make_plan(dataset, output, (FUSED,), profile=profile, protocols=("leak-free",))
    with registered(), only_run(plan.folder):
        return execute(plan)[0]


def start(output: Path) -> subprocess.Popen:
    output.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    with (output / "run.log").open("a") as log:
        return subprocess.Popen([sys.executable, __file__, str(output)], stdout=log, stderr=log, env=environment)


def finish(output: Path) -> float:
    """Runs to the end; how many seconds that took."""
    began = time.monotonic()
    assert start(output).wait(timeout=280) == 0, (output / "run.log").read_text()
    return time.monotonic() - began


def kill(output: Path, after: float) -> bool:
    """Starts the run and kills it some seconds after its first training began; whether it was still there."""
    process = start(output)
    # TensorFlow's events name who writes them
    while process.poll() is None and not list(output.rglob(f"events.out.tfevents.*.{process.pid}.*")):
        time.sleep(0.05)
    time.sleep(after)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    return alive


@pytest.mark.timeout(60 + 40 * (KILLS + 4))
def test_killed_at_random_moments_it_ends_as_an_undisturbed_run(tmp_path: Path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    seconds = finish(whole)
    kills = 0
    while kills < KILLS and kill(killed, MOMENTS.uniform(0, seconds / (KILLS + 2))):
        kills += 1
    finish(killed)
    assert kills > 0
    names = sorted(str(path.relative_to(whole)) for name in COMPARED for path in whole.rglob(name))
    assert len(names) == 2 * 4
    for name in names:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    assert not list(killed.rglob("checkpoint.npz"))
    assert not list(killed.rglob(".mmdc-tf-*"))


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
