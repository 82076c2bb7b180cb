"""Files that are written whole or not at all, and what killed processes leave of them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmdc_tf.storage import StorageError
from mmdc_tf.whole_files import clear_leftovers, temporary_name, write_folder_with, write_with

KILLED = """
import sys, time
from pathlib import Path
from mmdc_tf.whole_files import write_folder_with, write_with
def write(path):
    (path / "part" if path.is_dir() else path).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
globals()[sys.argv[1]](Path(sys.argv[2]), write)
"""
DAY = 24 * 3600


def begin(function: str, path: Path) -> subprocess.Popen:
    """A process that is in the middle of writing."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, function, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


@pytest.mark.parametrize("function", ["write_with", "write_folder_with"])
def test_what_a_killed_process_leaves_is_removed_and_a_living_ones_is_not(tmp_path, function):
    process = begin(function, tmp_path / "table.csv")
    try:
        (left,) = tmp_path.iterdir()
        clear_leftovers([tmp_path, tmp_path / "absent"])
        assert left.exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    clear_leftovers([tmp_path])
    assert list(tmp_path.iterdir()) == []


def test_another_machines_files_stay_for_a_day_and_all_other_files_for_ever(tmp_path):
    names = {".mmdc-tf-00000000-1.csv", ".mmdc-tf-1.csv", ".mmdc-tf.lock", "table.csv", ".mmdc-tf-notes.txt"}
    for name in names:
        (tmp_path / name).touch()
    clear_leftovers([tmp_path])
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        os.utime(tmp_path / name, (time.time() - DAY - 60,) * 2)
    clear_leftovers([tmp_path])
    assert {path.name for path in tmp_path.iterdir()} == {".mmdc-tf.lock", "table.csv", ".mmdc-tf-notes.txt"}


def test_a_full_disk_leaves_the_earlier_file_and_names_it(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")

    def fill(temporary: Path) -> None:
        temporary.write_text("hal")
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))

    with pytest.raises(StorageError, match=rf"Received: {path} \(No space left on device\)\. Make room"):
        write_with(path, fill)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("table.csv", "before")]


def test_other_errors_pass_as_they_are(tmp_path):
    def fail(temporary: Path) -> None:
        temporary.touch()
        raise KeyError("x")

    with pytest.raises(KeyError):
        write_with(tmp_path / "a.csv", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_folders_temporary_name_is_one_that_is_cleared(tmp_path):
    seen: list[str] = []
    write_folder_with(tmp_path / "model", lambda path: seen.append(path.parent.name))
    assert seen[0].startswith(f"{temporary_name()}-")
