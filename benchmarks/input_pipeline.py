"""Whether any training step waits for its input: the pipeline alone, what rows consume, and both in a real ``fit``.

    python benchmarks/input_pipeline.py [--root BUSI] [--images N] [--image-size PIXELS] [--rows NAMES]

BUSI is the folder ``Dataset_BUSI_with_GT`` or the one around it; without it phantom images are drawn, and the table
says "phantom". Weights are random numbers, and so are the stored features, in a memory-mapped file that the system
holds in memory after it was written: times mean something, accuracies nothing.

- Pipeline alone: images/s of iterating over ``training_dataset`` (the first epoch decodes and preprocesses, the later
  ones read pixels from memory; with and without augmentation) and over ``feature_training_dataset`` (one view; eight
  views with mixing and sample weights), with nothing else running.
- Consumed: images/s of the training step of a row on one batch in memory again and again, in ``fit`` as the package
  compiles it; rows with a frozen part as their rest on stored features, the others whole. Compared with: the pipeline
  that this row has. Goal: at least 5 times what the fastest row of each kind consumes.
- In ``fit``: the real training of the fastest row of each kind. Keras' training function is wrapped: it takes each
  batch by ``next(iterator)`` and then calls the compiled step on it, both timed. "waiting" is the share of the former.
  Threads of the pipeline and of the step share the cores, so input may also slow the step down without a wait; hence
  "lost": 1 - (step on one batch in memory) / (waiting + step), which holds both. The first epoch stands apart.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from machine import machine_lines

from mmdc_tf.commands.arguments import names, positive

if TYPE_CHECKING:
    from pipeline_rows import Consumer, Data, Steps

GOAL = 5
ROWS = ["uzen_densenet121", "uzen_efficientnetb0", "moon_vgg_like", "moon_densenet40"]  # the cheapest of each kind
AT_LEAST_SECONDS, MOST_EPOCHS = 2.0, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--root", type=Path, help="BUSI's folder; default: phantom images")
    add("--images", type=positive, default=624, help="at most so many; default: 624, the paper's training part of BUSI")
    add("--image-size", type=positive, default=224, help="height and width in pixels; default: 224")
    add("--rows", type=names, default=ROWS, help=f"rows of Table I to compare; default: {','.join(ROWS)}")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as scratch, nullcontext():
        report(options, Path(scratch))


def report(options: argparse.Namespace, scratch: Path) -> None:
    """Measures and prints."""
    from pipeline_rows import consumers, load_data

    data = load_data(options.root, options.images, scratch)
    kind = "phantom images: not a reproduction" if data.synthetic else "images of BUSI"
    print(f"{len(data.table)} {kind}, batches of {data.recipe.batch_size}\n{machine_lines()}\n", flush=True)
    rows = list(consumers(options.rows, options.image_size, data))
    print(f"{'pipeline alone, images/s':50} {'pixels':>6} {'1st epoch':>10} {'later':>8}")
    delivered = {row.name: print_pipeline(row, data, scratch) for row in rows}
    fastest = print_consumers(rows, delivered, data, scratch)
    print_waiting(fastest, data, scratch)


def print_pipeline(row: Consumer, data: Data, scratch: Path) -> float:
    """Prints the pipelines of one row; returns images/s of the one that it trains on, after the first epoch."""
    later = 0.0
    for words, dataset in row.pipelines(data, scratch):
        first, later = epoch_rates(dataset, len(data.table))
        print(f"{f'{row.name}: {words}':50} {row.size:6} {first:10,.0f} {later:8,.0f}", flush=True)
    return later


def epoch_rates(dataset: Iterator, images: int) -> tuple[float, float]:
    """Images/s of the first epoch, and of as many more as fill some seconds."""
    first = images / epoch_seconds(dataset)
    spent: list[float] = []
    while len(spent) < MOST_EPOCHS and sum(spent) < AT_LEAST_SECONDS:
        spent.append(epoch_seconds(dataset))
    return first, images * len(spent) / sum(spent)


def epoch_seconds(dataset: Iterator) -> float:
    began = time.perf_counter()
    for _ in dataset:
        pass
    return time.perf_counter() - began


def print_consumers(
    rows: list[Consumer], delivered: dict[str, float], data: Data, scratch: Path
) -> dict[str, tuple[Consumer, Steps]]:
    """Prints what each row consumes; returns the fastest row of each kind with its steps on one batch in memory."""
    print(f"\n{'consumed, images/s of a step':36} {'pixels':>6} {'step':>8} {'pipeline':>9} {'ratio':>6}")
    fastest: dict[str, tuple[Consumer, Steps]] = {}
    for row in rows:
        steps = row.steps_on_one_batch(data, scratch)
        speed = data.recipe.batch_size / statistics.median(steps.step)
        ratio = delivered[row.name] / speed
        print(
            f"{row.name:20} {row.kind:15} {row.size:6} {speed:8.1f} {delivered[row.name]:9,.0f} {ratio:6.1f} "
            f"{'goal met' if ratio >= GOAL else f'below the goal of {GOAL}'}",
            flush=True,
        )
        if row.kind not in fastest or statistics.median(fastest[row.kind][1].step) > statistics.median(steps.step):
            fastest[row.kind] = row, steps
    return fastest


def print_waiting(fastest: dict[str, tuple[Consumer, Steps]], data: Data, scratch: Path) -> None:
    """Prints the waiting in real trainings."""
    print(f"\n{'in fit':36} {'ms: batch in memory':>20} {'step':>8} {'waiting':>8} {'waiting':>8} {'lost':>6}")
    for row, alone in fastest.values():
        memory = 1000 * statistics.mean(alone.step)
        for words, steps in row.steps_in_training(data, scratch).items():
            step, wait = (1000 * statistics.mean(values) for values in (steps.step, steps.wait))
            share, lost = wait / (step + wait), 1 - memory / (step + wait)
            print(
                f"{f'{row.name}, {words}':36} {memory:20.1f} {step:8.1f} {wait:8.2f} {100 * share:7.1f}% "
                f"{100 * lost:5.0f}%",
                flush=True,
            )


if __name__ == "__main__":
    main()
