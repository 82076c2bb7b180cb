"""The tables of training.py: images a second, and how many times as fast as MONAI."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

WORKS = {
    "frozen": ("frozen before the last dense block", "ours, cached", 8.0),
    "full": ("the whole network is trained", "ours", 1.0),
}
"""What a comparison is called, which of ours has a goal there, and how many times as fast as MONAI it should be."""

DEFAULT, CHANNELS_LAST = "MONAI", "MONAI, channels_last"


@dataclass(frozen=True)
class Measured:
    """One contender in one round.

    Args:
        model: of which network.
        work: ``"cached"``, ``"frozen"`` or ``"full"``.
        name: of the contender.
        round: from 1.
        result: what its process reported: ``images`` a stretch, ``seconds`` and ``cpu`` of each stretch, seconds of the
            ``first`` epoch and of ``fill``, ``trainable`` parameters, ``versions``, ``threads``, ``load``.
    """

    model: str
    work: str
    name: str
    round: int
    result: dict[str, Any]

    @property
    def comparison(self) -> str:
        """What it is compared in: training on cached features is training with a frozen part."""
        return "frozen" if self.work == "cached" else self.work

    @property
    def speeds(self) -> list[float]:
        """Images a second in each stretch."""
        return [self.result["images"] / seconds for seconds in self.result["seconds"]]


def print_tables(measured: list[Measured], images: int) -> None:
    """One table for each network and comparison, and whether its goal was reached.

    Raises:
        RuntimeError: the contenders of one comparison trained different numbers of parameters.
    """
    for model in dict.fromkeys(one.model for one in measured):
        for work in WORKS:
            _print_table([one for one in measured if (one.model, one.comparison) == (model, work)], images)


def _print_table(measured: list[Measured], images: int) -> None:
    title, ours, goal = WORKS[measured[0].comparison]
    print(f"{measured[0].model}, {title}: {_trained(measured):,} parameters")
    head = f"{'images/s':>9} {'s an epoch':>11} {'CPUs':>5} {'× MONAI':>8} {'× better':>9} {'first s':>8} {'fill s':>7}"
    print(f"{'':22}{head}  images/s of the rounds")
    speeds = {name: statistics.median(_speeds(measured, name)) for name in dict.fromkeys(one.name for one in measured)}
    better = max(speeds[DEFAULT], speeds[CHANNELS_LAST])
    for name in sorted(speeds, key=lambda name: (name.startswith(DEFAULT), name)):
        of_name = [one for one in measured if one.name == name]
        ratios = f"{speeds[name] / speeds[DEFAULT]:8.2f} {speeds[name] / better:9.2f}"
        print(
            f"{name:22}{speeds[name]:9.1f} {images / speeds[name]:11.1f} {_cpus(of_name):5.2f} {ratios}{_rest(of_name)}"
        )
    for peer, speed in ((DEFAULT, speeds[DEFAULT]), ("MONAI's better setting", better)):
        reached = "reached" if speeds[ours] >= goal * speed else "missed"
        print(f"goal: {ours} at least {goal:g} × {peer}: {speeds[ours] / speed:.2f}, {reached}")
    print()


def _trained(measured: list[Measured]) -> int:
    counts = {one.name: one.result["trainable"] for one in measured}
    if len(set(counts.values())) > 1:
        raise RuntimeError(
            f"Expected all to train the same number of parameters. Received: {counts}. Correct what is frozen."
        )
    return next(iter(counts.values()))


def _speeds(measured: list[Measured], name: str) -> list[float]:
    return [speed for one in measured if one.name == name for speed in one.speeds]


def _cpus(measured: list[Measured]) -> float:
    """Processor time over time."""
    return sum(sum(one.result["cpu"]) for one in measured) / sum(sum(one.result["seconds"]) for one in measured)


def _rest(measured: list[Measured]) -> str:
    """Seconds of the first epoch and of filling, and the speed of each round."""
    first = statistics.median(one.result["first"] for one in measured)
    fills = [one.result["fill"] for one in measured if one.result.get("fill") is not None]
    fill = f"{statistics.median(fills):7.1f}" if fills else f"{'':7}"
    rounds = ", ".join(f"{statistics.median(one.speeds):.1f}" for one in measured)
    return f" {first:8.1f} {fill}  {rounds}"
