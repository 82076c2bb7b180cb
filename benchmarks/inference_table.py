"""The tables of inference.py: latency and throughput of each runtime, and how many times as fast as Keras predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

REFERENCE, FUNCTION, GOAL_OF, GOAL = "Keras predict", "Keras tf.function", "ONNX Runtime", 1.3
EIGHT_BITS = "int8"
"""How the names of quantised contenders end: their answers are others, so that none is recommended."""


@dataclass(frozen=True)
class Measured:
    """One contender on so many cores.

    Args:
        row: of the paper's tables.
        name: of the contender.
        cores: that it was bound to.
        result: what its process reported: ``median_ms``, ``p95_ms``, ``images_s``, ``start`` (s), ``cpus``,
            ``probabilities``.
    """

    row: str
    name: str
    cores: int
    result: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.result[name]


def print_table(measured: list[Measured]) -> None:
    """One row on one number of cores: a line a contender, whether the goal was reached, and what to use."""
    by_name = {one.name: one for one in measured}
    reference = by_name[REFERENCE]
    print(f"{reference.row}, {reference.cores} core{'s' if reference.cores > 1 else ''}")
    head = f"{'ms an image':>12} {'p95 ms':>8} {'× Keras':>8} {'images/s':>9} {'× Keras':>8} {'CPUs':>5} {'start s':>8}"
    print(f"{'':22}{head} {'differs':>9}")
    for one in measured:
        print(f"{one.name:22}{_numbers(one, reference)}")
    gain, over_function = (by_name[GOAL_OF]["images_s"] / by_name[name]["images_s"] for name in (REFERENCE, FUNCTION))
    reached = "reached" if gain >= GOAL else "missed"
    print(
        f"goal: {GOAL_OF} at least {GOAL} × {REFERENCE}'s images/s: {gain:.2f}, {reached} "
        f"(against {FUNCTION}: {over_function:.2f})"
    )
    exact = [one for one in measured if not one.name.endswith(EIGHT_BITS)]
    quickest = min(exact, key=lambda one: one["median_ms"])
    most = max(exact, key=lambda one: one["images_s"])
    print(f"to use: {quickest.name} for single images, {most.name} for batches\n")


def _numbers(one: Measured, reference: Measured) -> str:
    differs = np.abs(np.array(one["probabilities"]) - np.array(reference["probabilities"])).max()
    return (
        f"{one['median_ms']:12.1f} {one['p95_ms']:8.1f} {reference['median_ms'] / one['median_ms']:8.2f} "
        f"{one['images_s']:9.1f} {one['images_s'] / reference['images_s']:8.2f} {one['cpus']:5.2f} {one['start']:8.1f} "
        f"{differs:9.1g}"
    )
