"""How commands end that fail: one line, an exit code, and the trace in a log."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from mmdc_tf.failure_log import FILE_NAME, log_failure

from mmdc_tf.cli import main

pytestmark = pytest.mark.usefixtures("small_phantoms")
TRACE = "Traceback (most recent call last)"
LIST = ["run", "--list", "--table", "1"]


@pytest.fixture
def failing(monkeypatch):
    """Lets the trainings of a run end in an error."""

    def let(error: BaseException) -> None:
        def run_cells(*_, **__):
            raise error

        monkeypatch.setattr("mmdc_tf.experiments.runner.run_cells", run_cells)

    return let


@pytest.fixture
def temporary(monkeypatch, tmp_path) -> Path:
    """The system's folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def run(output: Path, *more: str) -> list[str]:
    return ["run", "--table", "2", "--rows", "metadata_only", "--output", str(output), *more]


def test_an_error_of_this_package_is_one_line_with_its_trace_in_the_runs_log(failing, shared_output, capsys):
    failing(KeyError("age"))
    assert main(run(shared_output)) == 70
    log = shared_output / FILE_NAME
    error = capsys.readouterr().err
    assert error == f"mmdc-tf: internal error: KeyError: 'age'. The trace is in {log}: please report it.\n"
    text = log.read_text(encoding="utf-8")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 mmdc-tf run --table 2 --rows metadata_only ", text)
    assert "\ninternal error: KeyError: 'age'\nTraceback" in text
    assert text.rstrip().endswith("KeyError: 'age'")


def test_each_failure_is_added_and_debug_shows_the_trace(failing, shared_output, capsys):
    failing(KeyError("density"))
    before = (shared_output / FILE_NAME).read_text() if (shared_output / FILE_NAME).is_file() else ""
    assert main(run(shared_output, "--debug")) == 70
    assert TRACE in capsys.readouterr().err
    text = (shared_output / FILE_NAME).read_text(encoding="utf-8")
    assert text.startswith(before)
    assert text.count(TRACE) == before.count(TRACE) + 1


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "Make room"), (errno.EROFS, "Make it writable"), (errno.EIO, "Bring the")],
)
def test_a_disk_that_refuses_is_exit_code_2(failing, shared_output, capsys, number, advice):
    failing(OSError(number, os.strerror(number), "out/history.csv"))
    assert main(run(shared_output)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"Received: out/history.csv ({os.strerror(number)}). {advice}" in error
    assert os.strerror(number) in (shared_output / FILE_NAME).read_text(encoding="utf-8")


def test_bad_input_leaves_its_trace_where_there_is_a_run(shared_output, capsys):
    assert main(run(shared_output, "--cut", "no_such_layer", "--weights", "none", "--rows", "vgg16")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    last = (shared_output / FILE_NAME).read_text(encoding="utf-8").split("\n\n")[-2]
    assert error.removeprefix("mmdc-tf: ") in last
    assert TRACE in last


def test_without_a_folder_the_trace_goes_to_a_temporary_file(monkeypatch, capsys, temporary):
    def load_table(name):
        raise ZeroDivisionError("of rows")

    monkeypatch.setattr("mmdc_tf.commands.run.load_table", load_table)
    assert main(LIST) == 70
    (log,) = temporary.iterdir()
    assert capsys.readouterr().err == (
        f"mmdc-tf: internal error: ZeroDivisionError: of rows. The trace is in {log}: please report it.\n"
    )
    assert TRACE in log.read_text(encoding="utf-8")


def test_a_log_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / FILE_NAME).mkdir()
    assert log_failure(tmp_path, "mmdc-tf", "line", ValueError("x")) is None


@pytest.mark.parametrize("more", [[], ["--json-log"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_is_full_is_one_line(more):
    code = "import sys; from mmdc_tf.cli import main; sys.exit(main(sys.argv[1:]))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, *LIST, *more], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


def test_a_reader_that_has_gone_is_one_line():
    code = "import sys; from mmdc_tf.cli import main; sys.exit(main(sys.argv[1:]))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, *LIST], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writer)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "closed by its reader" in done.stderr


def test_preprocess_writes_no_log_into_a_folder_that_it_refuses(busi, tmp_path, capsys):
    options = ["preprocess", "--input", str(busi / "normal"), "--recipe", "plain", "--size", "16"]
    assert main([*options, "--output", str(busi)]) == 2
    assert not list(busi.rglob(FILE_NAME))
    out = tmp_path / "out"
    assert main([*options, "--output", str(out)]) == 0
    assert main([*options, "--output", str(out), "--recipe", "ultrasound"]) == 2
    assert "Choose another --output" in capsys.readouterr().err
    assert TRACE in (out / FILE_NAME).read_text(encoding="utf-8")
