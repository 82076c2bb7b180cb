"""Jobs that need nothing from one another: in this process, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import joblib

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, one_line, require_packages

Job = TypeVar("Job")
Result = TypeVar("Result")
Results = Generator[tuple[Job, Result], None, None]
RETRIES = 5
"""How often a job of a cluster is begun again after its process or node was lost."""


@dataclass(frozen=True)
class Executor:
    """Where jobs are done.

    Args:
        processes: of this machine; with 1 the jobs are done in the process that calls.
        option: which sets that number, for messages.
        ray: a Ray cluster does them instead (``pip install "mmdc-tf[ray]"``).
        address: ``"HOST:PORT"`` of its head node; None for the one in ``RAY_ADDRESS``, or one that is started on this
            machine for the time of the work.
        cpus: cores that Ray keeps for a job, and its threads.
        gpus: GPUs, or a share of one, that Ray keeps for a job.
        memory: bytes of main memory that Ray keeps for a job.
    """

    processes: int = 1
    option: str = "jobs"
    ray: bool = False
    address: str | None = None
    cpus: int = 1
    gpus: float = 0.0
    memory: int = 0

    @property
    def is_here(self) -> bool:
        """Whether the process that calls does the jobs."""
        return self.processes == 1 and not self.ray


def parallel(
    function: Callable[[Job], Result], jobs: Sequence[Job], executor: Executor, bundle: int = 1
) -> Results[Job, Result]:
    """Each job with its result, in the order in which they end; to be closed where it is left early.

    Processes share the cores among their threads (OpenCV, TensorFlow, linear algebra), are deaf to Ctrl-C, which ends
    the one that calls, and end with it.

    Args:
        function: of a module, or ``functools.partial`` of one; sent to the processes, as the jobs are.
        jobs: in the order in which they are begun.
        executor: where they are done.
        bundle: jobs that a task of a cluster does at most: a task costs some milliseconds (docs/cluster.md).

    Raises:
        ConfigurationError: a process was killed, or the cluster cannot be had or has no room for a job.
        Exception: whatever the function raises; the other jobs are given up.
    """
    if executor.is_here:
        return ((job, function(job)) for job in jobs)
    return _on_ray(function, jobs, executor, bundle) if executor.ray else _in_processes(function, jobs, executor)


def _in_processes(function: Callable[[Job], Result], jobs: Sequence[Job], executor: Executor) -> Results[Job, Result]:
    count = max(2, min(executor.processes, len(jobs)))
    threads = max(1, joblib.cpu_count() // count)
    begin: dict[str, Any] = {"initializer": _begin, "initargs": (threads, os.getpid())}
    pool = joblib.Parallel(count, return_as="generator_unordered", backend="loky", max_nbytes=None, **begin)
    results = pool(joblib.delayed(_numbered)(function, number, job) for number, job in enumerate(jobs))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)  # it is replaced
            for number, result in results:
                yield jobs[number], result
    except BrokenExecutor as error:
        raise ConfigurationError(
            "Expected worker processes that run to the end. Received: one that was killed, most often for lack of "
            f"memory, with {executor.option}={executor.processes}. The same command continues; use fewer "
            f"--{executor.option}."
        ) from error
    finally:
        results.close()  # ends the processes where jobs are left


def _numbered(function: Callable[[Job], Result], number: int, job: Job) -> tuple[int, Result]:
    return number, function(job)


def _begin(threads: int, parent: int | None = None) -> None:
    """In a worker, before its first job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # others may have a share of it
    cv2.setNumThreads(threads)
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "0":  # TensorFlow says more than its level when it is imported
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _end_with(parent: int) -> None:
    """A killed parent frees its lock on a folder: nobody else may go on writing there."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _on_ray(
    function: Callable[[Job], Result], jobs: Sequence[Job], executor: Executor, bundle: int
) -> Results[Job, Result]:
    """Tasks, not joblib's Ray backend: that deals jobs out in turn, however long each takes, and never again."""
    with _cluster(executor) as ray:
        resources = {"num_cpus": executor.cpus, "num_gpus": executor.gpus, "memory": executor.memory}
        task = ray.remote(_task).options(max_retries=RETRIES, **resources)
        shared = [ray.put(function)]  # in a list the task fetches it
        ahead = _ahead(ray, executor)
        size = max(1, min(bundle, len(jobs) // ahead))
        waiting = [jobs[start : start + size] for start in range(0, len(jobs), size)][::-1]
        running: dict[Any, Sequence[Job]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < ahead:
                    some = waiting.pop()
                    running[task.remote(shared, some, executor.cpus)] = some
                (done,), _ = ray.wait(list(running))
                yield from zip(running.pop(done), _result(ray, done), strict=True)
                ahead = _ahead(ray, executor)  # nodes may join and leave
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _ahead(ray: Any, executor: Executor) -> int:
    """Tasks that are sent ahead, four a core: the rest waits here, not in the cluster's memory."""
    return 4 * max(1, int(ray.cluster_resources().get("CPU", 1) // executor.cpus))


def _task(shared: list[Any], jobs: Sequence[Any], threads: int) -> list[Any]:
    import ray

    _begin(threads)
    function = ray.get(shared[0])
    return [function(job) for job in jobs]


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        if isinstance(error, ray.exceptions.RayTaskError) and not isinstance(error.cause, ray.exceptions.RayError):
            raise error.cause from None
        raise ConfigurationError(
            f"Expected Ray tasks that run to the end. Received: {type(error).__name__}, "
            f"{str(error).strip().splitlines()[-1]} Install the same versions of mmdc_tf on all nodes; where memory is "
            "short, give a task more cores with --task-cpus, so that fewer run at a time. The same command continues."
        ) from error


@contextmanager
def _cluster(executor: Executor) -> Iterator[Any]:
    """Ray, connected for the time inside, or as whoever calls this has connected it."""
    require_packages(("ray",), "ray", "--executor ray, on all nodes")
    import ray

    begun_here = not ray.is_initialized()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        if begun_here:
            _require_answer(executor.address)
            ray.init(address=executor.address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"Expected a Ray cluster that answers. Received: ray_address={executor.address} ({one_line(error)}). "
            "Start one with `ray start --head`; set RAY_AUTH_MODE=token where it asks for a token; or unset "
            "RAY_ADDRESS to use this machine alone."
        ) from error
    try:
        _require_room(ray, executor)
        yield ray
    finally:
        if begun_here:
            ray.shutdown()


def _require_answer(address: str | None) -> None:
    """Ray itself waits for minutes, and then ends the process."""
    host, _, port = (address or "").rpartition("//")[2].partition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _require_room(ray: Any, executor: Executor) -> None:
    wanted = {"CPU": executor.cpus, "GPU": executor.gpus, "memory": executor.memory}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(name, 0) >= value for name, value in wanted.items()) for node in nodes):
        largest = {name: max((node.get(name, 0) for node in nodes), default=0) for name in wanted}
        raise ConfigurationError(
            f"Expected a node with {_in_words(wanted)} for a task. Received: {len(nodes)} nodes, at most "
            f"{_in_words(largest)}. Lower --task-cpus or --task-gpus, or add a larger node."
        )


def _in_words(resources: dict[str, float]) -> str:
    return f"{resources['CPU']:g} CPUs, {resources['GPU']:g} GPUs and {resources['memory'] / 1e9:.1f} GB"
