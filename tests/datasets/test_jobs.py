"""Jobs in processes and on a Ray cluster: what they give, and that none is left behind."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmdc_tf.datasets.jobs import Executor, parallel
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError

TWO = Executor(2)


def added(shared: int, job: int) -> int:
    return shared + job


def where_and_threads(job: int) -> tuple[int, int, str | None]:
    return os.getpid(), cv2.getNumThreads(), os.environ.get("TF_NUM_INTRAOP_THREADS")


def refused(job: int) -> None:
    """The job 0 is refused; the others take a minute."""
    if job == 0:
        raise DatasetError("the job 0")
    time.sleep(60)


def killed(job: int) -> None:
    """Ends its process as the system does where memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed_once(folder: Path, job: int) -> int:
    if not (folder / f"{job}").exists():
        (folder / f"{job}").touch()
        killed(job)
    return job


def long(folder: Path, job: int) -> None:
    """Says which process it is, and takes a minute."""
    (folder / f"{os.getpid()}").touch()
    time.sleep(60)


@pytest.mark.parametrize("executor", [Executor(), TWO], ids=["here", "processes"])
def test_each_job_comes_with_its_result(executor):
    function = functools.partial(added, 10)
    assert sorted(parallel(function, [1, 2, 3], executor)) == [(1, 11), (2, 12), (3, 13)]
    assert not list(parallel(function, [], executor))


def test_processes_share_the_cores():
    found = [result for _, result in parallel(where_and_threads, range(4), Executor(64))]
    assert all(pid != os.getpid() for pid, _, _ in found)
    assert {threads for _, *threads_ in found for threads in threads_} == {1, "1"}


@pytest.mark.parametrize("executor", [Executor(), TWO], ids=["here", "processes"])
def test_an_error_gives_up_the_other_jobs_at_once(executor):
    started = time.monotonic()
    with pytest.raises(DatasetError, match="the job 0"):
        list(parallel(refused, [0, 1, 2, 3], executor))
    assert time.monotonic() - started < 30  # not the minute that the others take


def test_a_process_that_was_killed_is_one_line_and_the_next_call_works():
    with pytest.raises(ConfigurationError, match=r"one that was killed.*jobs=2.*use fewer --jobs"):
        list(parallel(killed, [1, 2], TWO))
    assert list(parallel(functools.partial(added, 10), [1], TWO)) == [(1, 11)]


def test_a_killed_parent_leaves_no_process_behind(tmp_path: Path):
    code = (
        f"import functools, pathlib, test_jobs as t\nlist(t.parallel(functools.partial(t.long, pathlib.Path("
        f"{str(tmp_path)!r})), [1, 2], t.TWO))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent, stderr=subprocess.DEVNULL)
    children = wait_for(lambda: [int(path.name) for path in tmp_path.iterdir()], lambda found: len(found) == 2)
    assert len(children) == 2 and all(map(is_alive, children))
    parent.kill()
    parent.wait()
    assert not any(wait_for(lambda: list(map(is_alive, children)), lambda alive: not any(alive)))


def test_a_cluster_that_does_not_answer_is_one_line():
    pytest.importorskip("ray")
    with pytest.raises(ConfigurationError, match=r"Ray cluster that answers.*ray_address=127\.0\.0\.1:1 "):
        list(parallel(killed, [1], Executor(ray=True, address="127.0.0.1:1")))


def test_a_cluster(tmp_path: Path):
    """One, started for all of these: that takes seconds."""
    ray, path = pytest.importorskip("ray"), {"PYTHONPATH": str(Path(__file__).parent)}
    ray.init(num_cpus=2, log_to_driver=False, object_store_memory=10**8, runtime_env={"env_vars": path})
    cluster = Executor(ray=True)
    try:
        assert sorted(parallel(functools.partial(added, 10), [1, 2, 3], cluster, bundle=2)) == [
            (1, 11),
            (2, 12),
            (3, 13),
        ]
        assert sorted(parallel(functools.partial(killed_once, tmp_path), [1, 2], cluster)) == [(1, 1), (2, 2)]
        with pytest.raises(DatasetError, match=r"^the job 0$"):
            list(parallel(refused, [1, 0], cluster))
        with pytest.raises(ConfigurationError, match=r"3 CPUs, 0 GPUs.*1 nodes, at most 2 CPUs.*Lower --task-cpus"):
            list(parallel(killed, [1], Executor(ray=True, cpus=3)))
    finally:
        ray.shutdown()


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
    return state != "Z"
