"""Options on where work is done: this process, processes of this machine, or a Ray cluster."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands.arguments import positive, share_or_more, size
from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    from mmdc_tf.experiments.cell_workers import CellWorkers
    from mmdc_tf.workers.on_ray import TaskResources

LOCAL, RAY = "local", "ray"
FOR_RAY = ("ray_address", "task_cpus", "task_gpus", "task_memory", "exchange")
TRAINING_MEMORY, SCAN_MEMORY = "4GB", "1GB"


def add_executor(parser: argparse.ArgumentParser, memory: str) -> None:
    """Adds ``--executor`` and what belongs to Ray.

    Args:
        parser: a command's.
        memory: of a task, where ``--task-memory`` is not given.
    """
    add = parser.add_argument
    add(
        "--executor",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="where the work is done: on this machine, or on the nodes of a Ray cluster; default: local",
    )
    add(
        "--ray-address",
        metavar="HOST:PORT",
        help="of the cluster's head node; default: the one in RAY_ADDRESS, or one that is running on this machine, or "
        "else one that is started here for the time of the command",
    )
    add("--task-cpus", type=positive, help="cores that Ray keeps for a task, and its threads; default: 1")
    add("--task-gpus", type=share_or_more, help="GPUs, or a share of one, that Ray keeps for a task; default: 0")
    add("--task-memory", type=size, help=f"memory that Ray keeps for a task; default: {memory}")


def add_training_machines(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf run``."""
    add_executor(parser, TRAINING_MEMORY)
    parser.add_argument(
        "--jobs", type=positive, help="trainings at the same time on this machine, which share its cores; default: 1"
    )
    parser.add_argument(
        "--exchange",
        metavar="URL",
        help="with ray: a folder or object store (s3://…, gs://…) that all nodes reach, through which files come back; "
        "default: none, since all nodes reach --output",
    )


def require_fitting(options: argparse.Namespace) -> None:
    """Options that only make sense with the one or the other executor.

    Raises:
        ConfigurationError: one of the other was given, or several trainings would each take every device.
    """
    if (getattr(options, "jobs", None) or 1) > 1 and options.devices == "all":
        raise ConfigurationError(
            f"Expected --devices all with one training at a time. Received: jobs={options.jobs}, devices='all': each "
            "of them would take every device. Leave one of them out."
        )
    unfit = ("jobs", "workers") if options.executor == RAY else FOR_RAY
    for name in unfit:
        if getattr(options, name, None) is not None:
            wanted = LOCAL if options.executor == RAY else RAY
            option = "--" + name.replace("_", "-")
            raise ConfigurationError(
                f"Expected {option} with --executor {wanted} only. Received: {name}={getattr(options, name)!r} with "
                f"--executor {options.executor}. Leave one of them out."
            )


def training_workers(options: argparse.Namespace) -> CellWorkers | None:
    """Where trainings run; None for this process. The paths of the options become absolute for other machines.

    Raises:
        ConfigurationError: the exchange cannot be used.
    """
    if options.executor == LOCAL and options.jobs in (None, 1):
        return None
    from mmdc_tf.experiments.cell_workers import on_ray, on_this_machine, without_devices
    from mmdc_tf.experiments.exchange import Exchange

    without_devices()
    if options.executor == LOCAL:
        return on_this_machine(options.jobs)
    exchange = None if options.exchange is None else Exchange(options.exchange)
    if exchange is not None:
        exchange.require_usable()
    return on_ray(options.ray_address, task_resources(options, TRAINING_MEMORY), exchange)


def task_resources(options: argparse.Namespace, memory: str) -> TaskResources:
    """What Ray keeps for a task.

    Args:
        options: of a command with ``add_executor``.
        memory: where ``--task-memory`` is not given or "none".
    """
    from mmdc_tf.workers.on_ray import TaskResources

    return TaskResources(options.task_cpus or 1, options.task_gpus or 0.0, options.task_memory or size(memory) or 0)


def absolute_paths(options: argparse.Namespace) -> None:
    """Other machines have other working folders."""
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, value.expanduser().resolve())
