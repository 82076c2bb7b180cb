"""Two processes do not write one run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import refused

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.run_lock import only_run

HOLDER = """
import sys, time
from pathlib import Path
from mmdc_tf.experiments.run_lock import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder: Path) -> subprocess.Popen:
    """Another process that runs into the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_refused_until_the_first_is_gone_even_by_a_kill(tmp_path: Path):
    process = hold(tmp_path / "table2")
    try:
        with pytest.raises(ConfigurationError, match="no other process writes"), only_run(tmp_path / "table2"):
            pass
        with only_run(tmp_path / "table1"):
            pass
    finally:
        process.kill()
        process.wait()
    with only_run(tmp_path / "table2"):
        pass


def test_the_command_says_so_in_one_line_and_writes_nothing(tmp_path: Path, capsys, small_phantoms):
    with only_run(tmp_path / "table2"):
        before = sorted(tmp_path.iterdir())
        error = refused(capsys, "run", "--table", "2", "--rows", "metadata_only", "--output", str(tmp_path))
        assert f"Received: {tmp_path / 'table2'}, in use by one." in error
        assert sorted(tmp_path.iterdir()) == before
