"""Worker processes that know the backbone of ``conftest.py``, and a Ray cluster of several nodes on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdc_tf.experiments.cell_workers import CellWorkers, prepare_training
from mmdc_tf.experiments.exchange import Exchange
from mmdc_tf.workers.on_ray import OnRay, TaskResources
from mmdc_tf.workers.processes import Processes, available_cores

TESTS = str(Path(__file__).parent)
MEMORY = 2 * 10**8
NODE = {"num_cpus": 1, "memory": 2 * 10**9, "object_store_memory": 10**8}
_registered = contextlib.ExitStack()


def prepare() -> None:
    """In each worker process."""
    import made_up_backbone

    _registered.enter_context(made_up_backbone.registered())
    prepare_training(available_cores())  # as this process: sums of other lengths differ in their last digits


def processes(count: int) -> CellWorkers:
    """Processes of this machine."""
    return CellWorkers(Processes(count, "jobs", prepare))


def on_ray(exchange: Exchange | None = None) -> CellWorkers:
    """One core a training."""
    return CellWorkers(OnRay(None, TaskResources(1, 0, MEMORY), prepare), exchange)


@contextlib.contextmanager
def cluster(homes: list[Path]) -> Iterator[tuple[Any, list[Any]]]:
    """A head node without cores for trainings, and nodes of one core; this process is connected to it.

    Args:
        homes: the home folder of each node.

    Yields:
        The cluster, and its nodes in the order of their homes.
    """
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    try:
        nodes = [made.add_node(**NODE, env_vars={"HOME": str(home), "PYTHONPATH": TESTS}) for home in homes]
        ray.init(address=made.address, log_to_driver=False)
        made.wait_for_nodes()
        yield made, nodes
    finally:
        ray.shutdown()
        made.shutdown()
