"""Processes of this machine: what they give, and that none is left behind."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sleepy_jobs

from mmdc_tf.errors import ConfigurationError, DatasetError
from mmdc_tf.workers.processes import Processes


def results(function, shared, jobs) -> list:
    return sorted(Processes(2, "jobs", sleepy_jobs.nothing).results(function, shared, jobs))


def test_each_job_comes_with_its_result():
    assert results(sleepy_jobs.added, 10, [1, 2, 3]) == [(1, 11), (2, 12), (3, 13)]
    assert results(sleepy_jobs.added, 10, []) == []


def test_an_error_gives_up_the_other_jobs_at_once():
    started = time.monotonic()
    with pytest.raises(DatasetError, match="the job 0"):
        results(sleepy_jobs.refused, None, [1, 0, 2, 3])
    assert time.monotonic() - started < 30  # not the minute that the others take
    assert not multiprocessing.active_children()


def test_a_process_that_was_killed_is_one_line():
    with pytest.raises(ConfigurationError, match=r"one that was killed.*jobs=2.*use fewer --jobs"):
        results(sleepy_jobs.killed, None, [1, 2])


def test_a_killed_parent_leaves_no_process_behind(tmp_path: Path):
    parent = subprocess.Popen([sys.executable, sleepy_jobs.__file__, str(tmp_path)])
    children = wait_for(lambda: [int(path.name) for path in tmp_path.iterdir()], lambda found: len(found) == 2)
    assert all(map(is_alive, children))
    parent.kill()
    parent.wait()
    assert not any(wait_for(lambda: list(map(is_alive, children)), lambda alive: not any(alive)))


def wait_for(look, fits, seconds: float = 50):
    """What is seen as soon as it fits, or at the end."""
    end = time.monotonic() + seconds
    while not fits(seen := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return seen


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z" and os.getpid() != pid
