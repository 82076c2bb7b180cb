"""The work of ``cluster.py``: tasks, a folder and a grid, timed on processes of this machine and on Ray."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mmdc_tf.preprocessing.batch import prepare_worker, preprocess_folder
from mmdc_tf.workers import Workers
from mmdc_tf.workers.on_ray import OnRay, TaskResources
from mmdc_tf.workers.processes import Processes

MEMORY = 10**8
NODE = {"num_cpus": 1, "memory": 4 * 10**9, "object_store_memory": 5 * 10**8}
COMMAND = ["-c", "import sys; from mmdc_tf.cli import main; sys.exit(main())", "run"]


@dataclass
class Timed:
    """When results came, in seconds since the start."""

    began: float = field(default_factory=time.perf_counter)
    times: list[float] = field(default_factory=list)

    def tick(self) -> None:
        """A result has come."""
        self.times.append(time.perf_counter() - self.began)

    @property
    def start(self) -> float:
        """Seconds to the first result."""
        return self.times[0]

    @property
    def each(self) -> float:
        """Seconds of a result after the first."""
        return (self.times[-1] - self.times[0]) / (len(self.times) - 1)


def processes(count: int) -> Workers:
    """Of this machine."""
    return Processes(count, "workers", prepare_worker)


def on_ray(bundle: int = 1) -> Workers:
    """The cluster that this process is connected to, one core a task."""
    return OnRay(None, TaskResources(1, 0, MEMORY), prepare_worker, bundle)


@contextlib.contextmanager
def nodes(count: int) -> Iterator[str]:
    """A head node without cores for tasks and nodes of one core on this machine, connected; gives the address."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    try:
        for _ in range(count):
            made.add_node(**NODE)
        ray.init(address=made.address, log_to_driver=False)
        made.wait_for_nodes()
        yield made.address
    finally:
        ray.shutdown()
        made.shutdown()


def of_tasks(workers: Workers, tasks: int, images: int) -> Timed:
    """Tasks that do nothing but look at the length of what they share."""
    shared = made_up_samples(images) if images else None
    timed = Timed()
    for _ in workers.results(length, shared, range(tasks)):
        timed.tick()
    return timed


def length(shared: pd.DataFrame | None, job: int) -> int:
    """The task."""
    return 0 if shared is None else len(shared)


def made_up_samples(images: int) -> pd.DataFrame:
    """As large as a sample table: four views a patient."""
    patients = [f"p{number // 4:06d}" for number in range(images)]
    names = [f"{patient}-{number % 4}" for number, patient in enumerate(patients)]
    return pd.DataFrame(
        {
            "sample_id": names,
            "image_path": [f"/shared/images/{name}.png" for name in names],
            "patient_id": patients,
            "group_id": patients,
            "label": "normal",
            "age": 50.0,
            "density": 2.0,
        }
    )


def of_folder(scans: Path, count: int, workers: Workers) -> Timed:
    """``preprocess_folder`` of copies of scans."""
    with tempfile.TemporaryDirectory() as name:
        source, paths = Path(name, "in"), sorted(scans.iterdir())
        source.mkdir()
        for number in range(count):
            shutil.copy(paths[number % len(paths)], source / f"{number}{paths[0].suffix}")
        timed = Timed()
        preprocess_folder(source, Path(name, "out"), "lesion-safe", 224, workers, _ticking(timed))
        return timed


def _ticking(timed: Timed) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done:
            timed.tick()

    return progress


def grid_seconds(options: list[str], output: Path) -> tuple[float, int]:
    """Seconds of ``mmdc-tf run`` with these options, and its number of trainings."""
    log = output.with_suffix(".txt")
    began = time.perf_counter()
    with log.open("w") as text:
        command = [sys.executable, *COMMAND, *options, "--output", str(output)]
        done = subprocess.run(command, stdout=text, stderr=text)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"Expected a run without failures.\n{log.read_text()[-4000:]}")
    return seconds, len(list(output.glob("*/*/*/fold*/status.json")))
