"""How fast DenseNets train on cached features, with a frozen part and as a whole, against MONAI.

    python benchmarks/training.py [--root BUSI] [--models NAMES] [--images N] [--short N] [--size PIXELS]
        [--batch-size N] [--stretches N] [--rounds N] [--views K] [--peers FOLDER] [--json FILE]

BUSI is the folder ``Dataset_BUSI_with_GT`` or the one around it; without it phantom images are drawn, and the table
says "phantom". All contenders train on the same images with batches of the same size: forward, backward, AdamW; random
weights, three classes, float32. The images are decoded in memory before anything is timed. What is frozen ends before
the last dense block (Keras' pool4_pool, MONAI's transition3), in inference mode and without gradients.

- ours, cached: the rest of the network is trained on stored features of the frozen part (``--views 1``: of the images
  as they are; more: of a drawn view, mixed, as in the recipe). Filling the cache comes before, and is shown apart.
- ours: the usual loop of the package, without augmentation. Beside the peer's work it clips gradients, weighs classes,
  measures accuracy and reads its batches through tf.data from uint8.
- MONAI: its DenseNet in the usual loop of torch, the images ready as float32 in the network's memory format: torch's
  default, and channels_last.

Each contender runs in a process of its own, with its library's own number of threads, one after the other, and again
in each round. The first epoch, with tracing and compilation, is shown apart. The speed is the median of all timed
stretches of all rounds; a stretch is an epoch: over all images for "cached", over the first ``--short`` of them for the
others. Seconds an epoch are for all images at that speed. "CPUs" is processor time over time: below the machine's
number of them, other work disturbed the contender, or it waited. Compared with: MONAI; goals of 8 × MONAI for cached,
and of MONAI's better setting for the whole network.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine_lines
from peers import default_peers, peers_python
from training_table import Measured, print_tables

from mmdc_tf.commands.arguments import names, positive
from mmdc_tf.datasets.busi import list_busi
from mmdc_tf.datasets.phantom import phantom_ultrasound
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.preprocessing import get_recipe, preprocess_file

MODELS = ["densenet121", "densenet201"]
PREPROCESSING = "ultrasound"
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Contender:
    """What is timed.

    Args:
        name: in the table.
        script: beside this file.
        work: ``"cached"``, ``"frozen"`` or ``"full"``.
        memory_format: torch's name of it; None for ours.
    """

    name: str
    script: str
    work: str
    memory_format: str | None = None


CONTENDERS = (  # in the order in which they run: ours and the peer's take turns
    Contender("ours, cached", "our_training.py", "cached"),
    Contender("MONAI", "monai_training.py", "frozen", "contiguous_format"),
    Contender("ours", "our_training.py", "frozen"),
    Contender("MONAI, channels_last", "monai_training.py", "frozen", "channels_last"),
    Contender("MONAI", "monai_training.py", "full", "contiguous_format"),
    Contender("ours", "our_training.py", "full"),
    Contender("MONAI, channels_last", "monai_training.py", "full", "channels_last"),
)


def main() -> None:
    options = parse_options()
    python = {"our_training.py": Path(sys.executable), "monai_training.py": peers_python(options.peers)}
    with tempfile.TemporaryDirectory() as scratch:
        dataset = read_images(options, Path(scratch))
        options.images = len(dataset.table)
        write_images(dataset, options.size, Path(scratch))
        before = machine_lines()
        measured = [
            Measured(model, contender.work, contender.name, one_round, run(contender, model, python, options, scratch))
            for one_round in range(1, options.rounds + 1)
            for model in options.models
            for contender in CONTENDERS
        ]
    report(measured, options, dataset, before)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="BUSI; default: phantom images")
    parser.add_argument("--models", type=names, default=MODELS, help=f"default: {','.join(MODELS)}")
    parser.add_argument("--images", type=positive, default=256, help="images an epoch; default: 256")
    parser.add_argument("--short", type=positive, default=64, help="images a stretch where not cached; default: 64")
    parser.add_argument("--size", type=positive, default=224, help="height and width in pixels; default: 224")
    parser.add_argument("--batch-size", type=positive, default=8, help="default: 8, the recipe's")
    parser.add_argument("--stretches", type=positive, default=3, help="timed epochs of each process; default: 3")
    parser.add_argument("--rounds", type=positive, default=2, help="default: 2")
    parser.add_argument("--views", type=positive, default=1, help="views of an image in the cache; default: 1")
    parser.add_argument("--peers", type=Path, default=default_peers(), help="MONAI's environment; default: %(default)s")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    options = parser.parse_args()
    if unknown := set(options.models) - set(MODELS):
        parser.error(f"Expected models of {', '.join(MODELS)}. Received: {', '.join(sorted(unknown))}. Correct it.")
    return options


def read_images(options: argparse.Namespace, scratch: Path) -> Dataset:
    """``--images`` of the dataset's, in a random order, so that the first ones are of all classes."""
    if options.root is None:
        dataset = phantom_ultrasound(scratch / "phantom", images=options.images, size=options.size)
    else:
        dataset = list_busi(options.root)
    table = dataset.table.sample(min(options.images, len(dataset.table)), random_state=0)
    return replace(dataset, table=table.reset_index(drop=True))


def write_images(dataset: Dataset, size: int, folder: Path) -> None:
    """The dataset for ours, and for the peer the same images after preprocessing, uint8 (n, S, S, 3)."""
    recipe, classes = get_recipe(PREPROCESSING), list(dataset.info.class_names)
    np.save(folder / "images.npy", [preprocess_file(path, recipe, size) for path in dataset.table["image_path"]])
    np.save(folder / "labels.npy", np.array([classes.index(label) for label in dataset.table["label"]], dtype="int64"))
    (folder / "dataset.pickle").write_bytes(pickle.dumps(dataset))


def run(
    contender: Contender, model: str, python: dict[str, Path], options: argparse.Namespace, folder: str
) -> dict[str, Any]:
    """One contender in a process of its own; what it printed last.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    with tempfile.TemporaryDirectory() as cache:
        job = {**asdict(contender), "model": model, "folder": folder, "cache": cache, "classes": 3}
        job |= {name: getattr(options, name) for name in ("size", "batch_size", "stretches", "views")}
        job["images"] = options.images if contender.work == "cached" else min(options.short, options.images)
        command = [str(python[contender.script]), str(HERE / contender.script), json.dumps(job)]
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(
            f"Expected {contender.name} ({contender.work}) to finish. Received: exit code {done.returncode}.\n"
            f"{done.stderr[-2000:]}"
        )
    result = {**json.loads(done.stdout.splitlines()[-1]), "images": job["images"]}
    speed = result["images"] * len(result["seconds"]) / sum(result["seconds"])
    print(f"{model}, {contender.work}, {contender.name}: {speed:.1f} images/s", file=sys.stderr)
    return result


def report(measured: list[Measured], options: argparse.Namespace, dataset: Dataset, before: str) -> None:
    """Prints what was measured on what, and the tables; writes the file."""
    kind = "phantom" if dataset.info.synthetic else "BUSI"
    views = "" if options.views == 1 else f", cached: {options.views} views"
    print(
        f"{options.images} {kind} images, {options.size}×{options.size}, batches of {options.batch_size}, "
        f"random weights{views}; {options.rounds} rounds of {options.stretches} stretches "
        f"of {options.images} images (cached) or {min(options.short, options.images)} (the others)"
    )
    peer = next(one.result for one in measured if "monai" in one.result["versions"])
    versions = ", ".join(f"{name} {version}" for name, version in peer["versions"].items())
    print(f"{before}, {versions}, {peer['threads']} torch threads; load afterwards {os.getloadavg()[0]:.1f}\n")
    print_tables(measured, options.images)
    if options.json is not None:
        facts = {name: value for name, value in vars(options).items() if isinstance(value, int | list)}
        content = {"images_are": kind, "machine": before, **facts, "measured": [asdict(one) for one in measured]}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
