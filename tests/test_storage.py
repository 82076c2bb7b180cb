"""What a disk refuses is told from other errors, whatever library it comes through."""

from __future__ import annotations

import errno
import pickle
import shutil
from pathlib import Path

import pytest

from mmdc_tf.errors import InputError
from mmdc_tf.storage import FORBIDDEN, StorageError, present, refusal
from mmdc_tf.whole_files import write_with

HERE = Path("run/model.keras")
HDF5 = "Can't write data (file write failed: errno = 28, error message = 'No space left on device', buf = 0x5581)"


def refused(error: Exception) -> StorageError:
    found = refusal(error, HERE)
    assert found is not None
    return found


def test_a_full_disk_is_one_line_that_names_the_file_and_says_what_to_do():
    error = refused(OSError(errno.ENOSPC, "No space left on device", "run/history.csv"))
    assert isinstance(error, InputError)
    assert str(error) == (
        "Expected a disk that can be written to. Received: run/history.csv (No space left on device). "
        "Make room and give the same command again; what is finished stays."
    )


@pytest.mark.parametrize("error", [OSError(HDF5), RuntimeError(HDF5), Exception("tb/events: No space left on device")])
def test_libraries_that_keep_no_number_are_understood_by_the_systems_words(error):
    assert str(HERE) in str(refused(error))
    assert refused(error).errno == errno.ENOSPC


def test_it_is_found_behind_the_error_that_it_led_to():
    try:
        try:
            raise OSError(errno.EROFS, "Read-only file system", "run/tb")
        except OSError as error:
            raise RuntimeError("cannot create the writer") from error
    except RuntimeError as error:
        assert "run/tb (Read-only file system). Make it writable" in str(refused(error))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad shape"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "x.png"),
        PermissionError(errno.EACCES, "Permission denied", "weights.h5"),
        RuntimeError("OOM when allocating tensor"),
    ],
)
def test_other_errors_are_none_of_the_disks(error):
    assert refusal(error, HERE) is None


def test_what_is_not_allowed_counts_where_it_is_asked_for():
    error = PermissionError(errno.EACCES, "Permission denied", "run")
    assert "Make it writable" in str(refusal(error, HERE, FORBIDDEN))


def test_it_passes_between_processes():
    error = pickle.loads(pickle.dumps(StorageError(errno.ENOSPC, "No space left on device", "a.csv")))
    assert (error.errno, error.filename) == (errno.ENOSPC, "a.csv")
    assert "Make room" in str(error)


def test_nothing_is_written_once_the_folder_is_gone(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with present(folder):
        write_with(folder / "a.txt", lambda path: path.write_text("a"))
        shutil.rmtree(folder)
        with pytest.raises(StorageError, match=r"run \(the disk or mount that it was on is gone\)\. Bring"):
            write_with(folder / "b.txt", lambda path: path.write_text("b"))
        assert not folder.exists()
    write_with(folder / "b.txt", lambda path: path.write_text("b"))  # nobody holds to it any more


def test_nothing_is_written_once_the_folder_lies_on_another_disk(tmp_path, monkeypatch):
    """As below the place where a mount was; on a file system of memory, which every Linux has."""
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second disk")
    run = tmp_path / "run"
    run.symlink_to(other)
    with present(run):
        run.unlink()
        run.mkdir()
        with pytest.raises(StorageError, match="is gone"):
            write_with(run / "a.txt", lambda path: path.write_text("a"))
        assert list(run.iterdir()) == []


def test_bad_input_on_another_disk_is_traced_to_the_file_that_it_is_about():
    try:
        try:
            raise OSError(errno.EIO, "Input/output error", "scans/a.dcm")
        except OSError as error:
            raise InputError("Expected an image. Received: scans/a.dcm (Input/output error).") from error
    except InputError as error:
        assert refused(error).filename == "scans/a.dcm"
