"""Jobs on a Ray cluster (optional: ``pip install "mmdc-tf[ray]"``)."""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from mmdc_tf.errors import ConfigurationError, one_line
from mmdc_tf.workers import Job, Prepare, Result, Shared

RETRIES = 5
"""How often a job is begun again after its process or node was lost."""
IN_FLIGHT = 4
"""Jobs a core of the cluster that are sent ahead: the rest waits here, not in the cluster's memory."""
LOOK = 10.0
"""Seconds after which the cluster's cores are counted again: nodes may join and leave."""
_NO_IMPORT = "failed to import on the worker"
"""In Ray's words."""
_MUST_AGREE = ("mmdc_tf", "tensorflow", "keras", "numpy")
_prepared = False
_unpacked: dict[str, Any] = {}


@dataclass(frozen=True)
class TaskResources:
    """What Ray keeps for each job: it starts no more jobs on a node than fit there.

    Args:
        cpus: cores; also the number of threads of the job's computations.
        gpus: share of a GPU, or number of GPUs.
        memory: bytes of main memory.
    """

    cpus: int
    gpus: float
    memory: int

    def as_options(self) -> dict[str, float]:
        """In Ray's words."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory}


@dataclass(frozen=True)
class OnRay:
    """A Ray cluster.

    Args:
        address: ``"HOST:PORT"`` of its head node; None for the one in ``RAY_ADDRESS``, or one that is started on this
            machine for the time of the work.
        resources: of a job.
        prepare: called in each process before its first job.
        bundle: jobs a task at most: a task costs some milliseconds (docs/cluster.md). Few jobs are shared out singly.
    """

    address: str | None
    resources: TaskResources
    prepare: Prepare
    bundle: int = 1

    def results(
        self, function: Callable[[Shared, Job], Result], shared: Shared, jobs: Sequence[Job]
    ) -> Iterator[tuple[Job, Result]]:
        """As ``mmdc_tf.workers.Workers``; what a lost node was doing is begun again on another.

        Raises:
            ConfigurationError: Ray is not installed, cannot be reached, has no node that is large enough, or one with
                other versions of the packages; or a job lost its process ``RETRIES`` times.
        """
        with _connected(self.address) as ray:
            self._require_room(ray)
            task = self._task(ray, function)
            common = [ray.put(shared)]  # in a list Ray leaves it to the task to fetch it, which does so once
            window, looked = self._window(ray), time.monotonic()
            waiting = _bundles(jobs, max(1, min(self.bundle, len(jobs) // window)))[::-1]
            running: dict[Any, Sequence[Job]] = {}
            try:
                while waiting or running:
                    if time.monotonic() - looked > LOOK:
                        window, looked = self._window(ray), time.monotonic()
                    while waiting and len(running) < window:
                        some = waiting.pop()
                        running[task.remote(common, some)] = some
                    done, _ = ray.wait(list(running), num_returns=1)
                    yield from zip(running[done[0]], _result(ray, done[0]), strict=True)
                    del running[done[0]]
            finally:
                for reference in running:
                    ray.cancel(reference, force=True)

    def _task(self, ray: Any, function: Callable[[Shared, Job], Result]) -> Any:
        prepare, expected = self.prepare, versions()

        def work(common: list[Any], some: Sequence[Job]) -> list[Result]:
            _begin(prepare, expected)
            return [function(_shared(common[0]), job) for job in some]

        return ray.remote(work).options(max_retries=RETRIES, name=function.__name__, **self.resources.as_options())

    def _window(self, ray: Any) -> int:
        return IN_FLIGHT * max(1, int(ray.cluster_resources().get("CPU", 1) // self.resources.cpus))

    def _require_room(self, ray: Any) -> None:
        wanted = {"CPU": self.resources.cpus, "GPU": self.resources.gpus, "memory": self.resources.memory}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(node.get(name, 0) >= value for name, value in wanted.items()) for node in nodes):
            largest = {name: max((node.get(name, 0) for node in nodes), default=0) for name in wanted}
            raise ConfigurationError(
                f"Expected a node with {_in_words(wanted)} for a task. Received: {len(nodes)} nodes, at most "
                f"{_in_words(largest)}. Lower --task-cpus, --task-gpus or --task-memory, or add a larger node."
            )


def _bundles(jobs: Sequence[Job], size: int) -> list[Sequence[Job]]:
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


def versions() -> dict[str, str | None]:
    """Of Python and of the packages that must be the same on all nodes."""
    return {"Python": platform.python_version(), **{name: _version(name) for name in _MUST_AGREE}}


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected for the time inside, or as whoever calls this has connected it."""
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        _require_answer(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigurationError(
            f"Expected a Ray cluster that answers. Received: ray_address={address} ({one_line(error)}). "
            "Start one with `ray start --head`; set RAY_AUTH_MODE=token where it asks for a token; or leave "
            "--ray-address out to use this machine alone."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_answer(address: str | None) -> None:
    """Ray itself waits for minutes, and then ends the process."""
    parts = urlsplit(address if address and "//" in address else f"//{address or ''}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=10).close()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigurationError(
            "Expected Ray for --executor ray. Received: it is not installed. "
            'Install it on all nodes: pip install "mmdc-tf[ray]".'
        ) from error
    return ray


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if _NO_IMPORT in str(error.cause):
            reason = str(error.cause).splitlines()[-1]
            raise ConfigurationError(
                f"Expected mmdc_tf on all nodes. Received: one that cannot import it ({reason}). Install the same "
                "versions there."
            ) from error
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ConfigurationError(
            f"Expected Ray processes that run to the end. Received: one that was lost {RETRIES + 1} times "
            f"({type(error).__name__}), most often for lack of memory. The same command continues; raise --task-memory."
        ) from error


def _begin(prepare: Prepare, expected: dict[str, str | None]) -> None:
    """In a process of the cluster, before a job."""
    global _prepared
    if (here := versions()) != expected:
        differing = ", ".join(
            f"{name} {here[name]}, not {expected[name]}" for name in here if here[name] != expected[name]
        )
        raise ConfigurationError(
            f"Expected the same packages on all nodes. Received: node {platform.node()} with {differing}. "
            "Install the same versions there."
        )
    if not _prepared:
        prepare()
        _prepared = True


def _shared(reference: Any) -> Any:
    """Unpacked once in each process: a sample table of 480,000 images takes a second."""
    if (key := reference.hex()) not in _unpacked:
        _unpacked.clear()
        _unpacked[key] = _ray().get(reference)
    return _unpacked[key]


def _in_words(resources: dict[str, float]) -> str:
    gigabytes = resources["memory"] / 1e9
    return f"{resources['CPU']:g} CPUs, {resources['GPU']:g} GPUs and {gigabytes:.1f} GB"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
