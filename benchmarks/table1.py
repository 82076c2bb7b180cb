"""How long the whole of Table I takes: its rows, both protocols, five folds, extrapolated from small runs.

    python benchmarks/table1.py --root BUSI [--weights FOLDER] [--rows NAMES] [--images N] [--epochs N] [--folds N]
        [--short 2,12] [--image-size PIXELS]

BUSI is the folder ``Dataset_BUSI_with_GT`` or the one around it. Every row is really run by ``run_experiments.py`` on N
of its images, spread over the classes, under the protocol "paper", in processes of its own: two seeds of few epochs,
and two of more, as ``--short`` says, on a feature cache that is empty before the first. Each training says in
``status.json`` how long it took; from the second seeds follow the seconds of an epoch and of what a training costs once
(building, reading the images, scoring, saving), from the first seed what a row costs once (tracing, filling the cache).
Extrapolated are one training of "paper" and one a fold, whose epochs see four fifths of the images. Epochs and what a
row costs once grow with the images (tracing does not: a little too much); what a training costs once is taken as it is
(scoring grows: a little too little). Without ``--weights`` those of ImageNet are loaded; accuracies of so few images
mean nothing, and none is printed.

Compared with: the goal of two hours on two cores. Memory is the largest of the row's processes on the few images.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from machine import machine_lines

COMPLETE, GOAL_MINUTES, LEAK_FREE_SHARE = 780, 120, 0.8
PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Rates:
    """Seconds of a row on few images: of an epoch with its validation, once a training, and once; its memory in MB."""

    epoch: float
    training: float
    once: float
    memory: float

    def minutes(self, scale: float, epochs: int, folds: int) -> float:
        """Of all trainings of the row on ``scale`` times as many images."""
        epochs_of_all = (1 + folds * LEAK_FREE_SHARE) * epochs * scale * self.epoch
        return (epochs_of_all + (1 + folds) * self.training + scale * self.once) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--root", type=Path, required=True, help="BUSI's folder")
    add("--weights", default="imagenet", help="as of run_experiments.py; default: imagenet")
    add("--rows", help="of Table I, separated by commas; default: all with a network")
    add("--images", type=int, default=96, help="of each small run; default: 96")
    add("--short", default="2,12", help="epochs of the small runs; default: %(default)s")
    add("--epochs", type=int, default=20, help="of each training of the table; default: 20")
    add("--folds", type=int, default=5, help="of the leak-free protocol; default: 5")
    add("--image-size", type=int, default=224, help="height and width in pixels; default: 224")
    options = parser.parse_args()
    rows = options.rows.split(",") if options.rows else networks()
    with tempfile.TemporaryDirectory() as scratch:
        images = few_images(options.root, options.images, Path(scratch, "busi"))
        print(f"{images} images of BUSI, {options.image_size} pixels\n{machine_lines()}\n", flush=True)
        print(f"{'row':20} {'s an epoch':>11} {'a training':>11} {'once':>7} {'MB':>7} {'minutes':>8}")
        total = 0.0
        for row in rows:
            rates = measured(row, options, Path(scratch))
            minutes = rates.minutes(COMPLETE / images, options.epochs, options.folds)
            total += minutes
            print(
                f"{row:20} {rates.epoch:11.2f} {rates.training:11.1f} {rates.once:7.1f} {rates.memory:7,.0f} "
                f"{minutes:8.1f}",
                flush=True,
            )
    print(f"\n{len(rows)} rows: {total:.0f} minutes, {total / GOAL_MINUTES:.2f} of the goal of {GOAL_MINUTES} minutes")


def networks() -> list[str]:
    """The rows of Table I with a network of their own."""
    table = tomllib.loads(resources.files("mmdc_tf.experiments").joinpath("table1.toml").read_text(encoding="utf-8"))
    return [row["name"] for row in table["row"] if "model" in row and "paper" in row]


def few_images(root: Path, count: int, folder: Path) -> int:
    """Copies of so many images, in the proportions of the classes; how many there are."""
    masks = ("_mask", "mask_", " mask")
    found = [path.resolve() for path in sorted(root.rglob("*.png")) if not any(word in path.name for word in masks)]
    classes = {path.parent.name: [one for one in found if one.parent == path.parent] for path in found}
    for name, paths in classes.items():
        (folder / name).mkdir(parents=True)
        share = max(4, round(count * len(paths) / len(found)))
        for path in paths[:: max(1, len(paths) // share)][:share]:
            shutil.copyfile(path, folder / name / path.name)
    return sum(1 for _ in folder.rglob("*.png"))


def measured(row: str, options: argparse.Namespace, scratch: Path) -> Rates:
    """Runs a row four times on the few images."""
    few, more = map(int, options.short.split(","))
    cache = scratch / f"{row}-features"
    (first, second), memory = run(row, few, options, scratch, cache)
    (_, longer), memory_more = run(row, more, options, scratch, cache)
    epoch = max((longer - second) / (more - few), 0.0)
    return Rates(epoch, max(second - few * epoch, 0.0), max(first - second, 0.0), max(memory, memory_more))


def run(row: str, epochs: int, options: argparse.Namespace, scratch: Path, cache: Path) -> tuple[list[float], float]:
    """Seconds of the trainings of both seeds, in order, and the largest memory of the process in MB."""
    output = scratch / f"{row}-{epochs}"
    words = [sys.executable, PROJECT / "run_experiments.py", "--table", 1, "--dataset-root", scratch / "busi"]
    words += ["--rows", row, "--protocol", "paper", "--seeds", 2, "--epochs", epochs, "--weights", options.weights]
    words += ["--image-size", options.image_size, "--cache-dir", cache, "--output", output, "--tensorboard", "curves"]
    with (scratch / "output.txt").open("w") as log:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        process = subprocess.Popen(list(map(str, words)), stdout=log, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{row} failed.\n{(scratch / 'output.txt').read_text()[-3000:]}")
    files = sorted(output.rglob("status.json"), key=lambda path: path.stat().st_mtime)
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    return [json.loads(path.read_text())["seconds"] for path in files], usage.ru_maxrss / unit


if __name__ == "__main__":
    main()
