"""Damaged images and tables are read or refused with a clear error: no crash, no hang, no memory without bound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("mutated_files.py")
COUNTS = {"images": int(os.environ.get("MMDC_TF_TEST_IMAGES", "320")), "tables": 100}
MOST_MB, MOST_SECONDS = 5_000, 10
"""The steps on an image of the 200 million pixels that are allowed take up to 4,100 MB."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", COUNTS)
def test_damaged_files_are_read_or_refused(kind: str, tmp_path: Path):
    command = [sys.executable, PROGRAM, kind, str(COUNTS[kind]), "0", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["others"] == []
    assert found["read"] + found["refused"] == COUNTS[kind]
    # some of each: the damage is neither nothing nor all
    assert min(found["read"], found["refused"]) > COUNTS[kind] / 10
    assert found["slowest"] < MOST_SECONDS
    assert found["grew_mb"] < MOST_MB
