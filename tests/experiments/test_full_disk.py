"""A disk that is full, read-only or gone ends a run in one line; mended, the same command ends as any other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from full_disk import full_after
from small_run import FUSED, execute, make_plan

from mmdc_tf.cli import main
from mmdc_tf.experiments.progress import Progress
from mmdc_tf.storage import StorageError

STEP = int(os.environ.get("MMDC_TF_TEST_DISK_FILES", "37"))
"""Files that can be written in each attempt: 1 tries every file of a run, in half an hour."""
KILOBYTES = os.environ.get("MMDC_TF_TEST_DISK_KILOBYTES", "900")
"""How much larger the disk is in each attempt."""
OPTIONS = "--table 2 --rows image_nearest_neighbour --protocol both --image-size 32 --folds 2 --tensorboard curves"
SCRIPT = Path(__file__).parents[1] / "disk_run.py"


def predictions(folder: Path) -> dict[str, bytes]:
    found = sorted(folder.rglob("*predictions*.csv"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def run(output: Path) -> int:
    return main(["run", *OPTIONS.split(), "--output", str(output)])


def require_whole(folder: Path) -> None:
    """No file is half-written, and none is left under a temporary name."""
    assert not list(folder.rglob(".mmdc-tf-*"))
    assert not list(folder.rglob("error.txt"))
    for path in folder.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    for path in folder.rglob("*.csv"):
        assert path.read_bytes().endswith(b"\n"), path
    for path in folder.rglob("*.png"):
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), path
    for path in folder.rglob("*.pdf"):
        assert path.read_bytes().rstrip().endswith(b"%%EOF"), path


@pytest.mark.timeout(3600)
def test_a_disk_full_at_any_file_ends_the_run_and_the_same_command_goes_on(tmp_path, small_phantoms, capsys):
    whole, short = tmp_path / "whole", tmp_path / "short"
    assert run(whole) == 0
    expected, files, stops, code = predictions(whole), STEP, 0, 2
    assert len(expected) == 6
    capsys.readouterr()
    while code == 2:
        with full_after(files, short) as refused:
            code = run(short)
        output = capsys.readouterr()
        require_whole(short)
        assert "failed" not in output.out  # no row is marked as failed, one after the other
        if code == 2:
            stops += 1
            files += STEP
            assert len(refused) <= 2  # the file, and the log of this failure: nothing else was tried
            assert output.err.count("\n") == 1
            assert f"Received: {'root=' * ('phantom' in output.err)}{short}" in output.err
            assert "(No space left on device)" in output.err
            assert "Traceback" not in output.err
    assert code == 0
    assert stops > 1
    assert predictions(short) == expected


def test_a_training_ends_after_the_epoch_in_which_its_folder_went_and_writes_nothing_more(
    dataset, tiny_backbone, tmp_path, monkeypatch
):
    plan = make_plan(dataset, tmp_path / "run", (FUSED,), protocols=("paper",), tensorboard="curves")

    class Gone(keras.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            Gone.epochs += 1
            shutil.rmtree(plan.output)

    monkeypatch.setattr(Progress, "callback", lambda *_: Gone())
    with pytest.raises(StorageError, match="the disk or mount that it was on is gone"):
        execute(plan)
    assert Gone.epochs == 1
    assert not plan.output.exists()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, str]:
    return on_a_disk("none", tmp_path_factory.mktemp("whole"))["files"]


@pytest.mark.timeout(3600)
@pytest.mark.skipif("MMDC_TF_TEST_DISKS" not in os.environ, reason="takes minutes: set MMDC_TF_TEST_DISKS=1")
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("full", "(No space left on device). Make room"),
        ("read-only", "(Read-only file system). Make it writable"),
        ("gone", "(the disk or mount that it was on is gone). Bring the disk back"),
    ],
)
def test_a_network_on_a_real_disk_of_its_own(tmp_path, undisturbed, kind, words):
    found = on_a_disk(kind, tmp_path)
    assert found["said"]
    assert all(words in line for line in found["said"])
    assert found["left"] == []
    assert found["files"] == undisturbed


def on_a_disk(kind: str, folder: Path) -> dict:
    """What ``disk_run.py`` prints."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    command = ["unshare", "-m", sys.executable, str(SCRIPT), kind, str(folder / "run"), KILOBYTES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
