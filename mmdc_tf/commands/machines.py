"""Options on where work is done: this process, processes of this machine, or a Ray cluster."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands.arguments import positive, share_or_more
from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    from mmdc_tf.datasets.jobs import Executor

LOCAL, RAY = "local", "ray"
FOR_RAY = ("ray_address", "task_cpus", "task_gpus")


def add_executor(parser: argparse.ArgumentParser) -> None:
    """Adds ``--executor`` and what belongs to Ray."""
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


def add_training_machines(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf run``."""
    add_executor(parser)
    parser.add_argument(
        "--jobs", type=positive, help="trainings at the same time on this machine, which share its cores; default: 1"
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


def executor(options: argparse.Namespace, option: str = "jobs", memory: int = 4 * 10**9) -> Executor:
    """Where work is done.

    Args:
        options: of a command with ``add_executor``.
        option: that says how many processes of this machine.
        memory: bytes that Ray keeps for a task.
    """
    from mmdc_tf.datasets.jobs import Executor

    if options.executor == LOCAL:
        return Executor(getattr(options, option) or 1, option)
    cpus, gpus = options.task_cpus or 1, options.task_gpus or 0.0
    return Executor(ray=True, address=options.ray_address, cpus=cpus, gpus=gpus, memory=memory)


def absolute_paths(options: argparse.Namespace) -> None:
    """Other machines have other working folders."""
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, value.expanduser().resolve())
