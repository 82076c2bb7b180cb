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
  default, and channels_last. Its environment is made once, in ``--peers``.

Each contender runs in a process of its own, with its library's own number of threads, one after the other, and again
in each round. The first epoch, with tracing and compilation, is shown apart. The speed is the median of all timed
stretches of all rounds; a stretch is an epoch: over all images for "cached", over the first ``--short`` of them for the
others. "CPUs" is processor time over time: below the machine's number of them, other work disturbed the contender, or
it waited. Compared with: MONAI; goals of 8 × MONAI for cached, and of MONAI's better setting for the whole network.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import venv
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine_lines

from mmdc_tf.datasets.busi import list_busi
from mmdc_tf.datasets.phantom import phantom_ultrasound
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.preprocessing import get_recipe, preprocess_file

MODELS = ["densenet121", "densenet201"]
PREPROCESSING = "ultrasound"
HERE = Path(__file__).parent
# On Linux, PyPI's torch brings the CUDA libraries along; PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu gets
# the one without.
REQUIREMENTS = ("monai==1.6.1", "numpy==2.4.6", "torch==2.13.0")
PEERS = Path.home() / ".cache" / "mmdc_tf" / "benchmark-peers"


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


DEFAULT, CHANNELS_LAST = "MONAI", "MONAI, channels_last"
CONTENDERS = (  # in the order in which they run: ours and the peer's take turns
    Contender("ours, cached", "our_training.py", "cached"),
    Contender(DEFAULT, "monai_training.py", "frozen", "contiguous_format"),
    Contender("ours", "our_training.py", "frozen"),
    Contender(CHANNELS_LAST, "monai_training.py", "frozen", "channels_last"),
    Contender(DEFAULT, "monai_training.py", "full", "contiguous_format"),
    Contender("ours", "our_training.py", "full"),
    Contender(CHANNELS_LAST, "monai_training.py", "full", "channels_last"),
)
COMPARISONS = (  # works that are compared, in words, which of ours has a goal there, and how many times MONAI it is
    (("cached", "frozen"), "frozen before the last dense block", "ours, cached", 8.0),
    (("full",), "the whole network is trained", "ours", 1.0),
)


@dataclass(frozen=True)
class Measured:
    """One contender in one round; ``result`` is what its process printed."""

    model: str
    work: str
    name: str
    round: int
    result: dict[str, Any]

    @property
    def speeds(self) -> list[float]:
        """Images a second in each stretch."""
        return [self.result["images"] / seconds for seconds in self.result["seconds"]]


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
    add = parser.add_argument
    add("--root", type=Path, help="BUSI; default: phantom images")
    add("--models", type=lambda text: text.split(","), default=MODELS, help=f"default: {','.join(MODELS)}")
    add("--images", type=int, default=256, help="images an epoch; default: 256")
    add("--short", type=int, default=64, help="images a stretch where not cached; default: 64")
    add("--size", type=int, default=224, help="height and width in pixels; default: 224")
    add("--batch-size", type=int, default=8, help="default: 8, the recipe's")
    add("--stretches", type=int, default=3, help="timed epochs of each process; default: 3")
    add("--rounds", type=int, default=2, help="default: 2")
    add("--views", type=int, default=1, help="views of an image in the cache; default: 1")
    add("--peers", type=Path, default=PEERS, help="MONAI's environment; default: %(default)s")
    add("--json", type=Path, help="write all measurements to this file")
    return parser.parse_args()


def peers_python(folder: Path) -> Path:
    """The Python of MONAI's environment, which is made first where it is absent or of other requirements."""
    folder = folder.expanduser().resolve()
    installed, wanted, python = folder / "installed.txt", "\n".join(REQUIREMENTS), folder / "bin" / "python"
    if not installed.is_file() or installed.read_text(encoding="utf-8").strip() != wanted:
        if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
            raise SystemExit(f"Expected a new or empty folder. Received: peers={folder}. Choose another one.")
        print(f"making MONAI's environment in {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True, stdout=sys.stderr)
        installed.write_text(wanted, encoding="utf-8")
    return python


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
    """One contender in a process of its own; what it printed last."""
    with tempfile.TemporaryDirectory() as cache:
        job = {**asdict(contender), "model": model, "folder": folder, "cache": cache, "classes": 3}
        job |= {name: getattr(options, name) for name in ("size", "batch_size", "stretches", "views")}
        job["images"] = options.images if contender.work == "cached" else min(options.short, options.images)
        command = [str(python[contender.script]), str(HERE / contender.script), json.dumps(job)]
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{contender.name} ({contender.work}) failed.\n{done.stderr[-2000:]}")
    result = {**json.loads(done.stdout.splitlines()[-1]), "images": job["images"]}
    speed = result["images"] * len(result["seconds"]) / sum(result["seconds"])
    print(f"{model}, {contender.work}, {contender.name}: {speed:.1f} images/s", file=sys.stderr)
    return result


def report(measured: list[Measured], options: argparse.Namespace, dataset: Dataset, before: str) -> None:
    """Prints what was measured on what, and the tables; writes the file."""
    kind = "phantom" if dataset.info.synthetic else "BUSI"
    print(
        f"{options.images} {kind} images, {options.size}×{options.size}, batches of {options.batch_size}, random "
        f"weights, cached: {options.views} view(s); {options.rounds} rounds of {options.stretches} stretches of "
        f"{options.images} images (cached) or {min(options.short, options.images)} (the others)"
    )
    peer = next(one.result for one in measured if "monai" in one.result["versions"])
    versions = ", ".join(f"{name} {version}" for name, version in peer["versions"].items())
    print(f"{before}, {versions}, {peer['threads']} torch threads; load afterwards {os.getloadavg()[0]:.1f}\n")
    for model in options.models:
        for works, *words in COMPARISONS:
            print_table([one for one in measured if one.model == model and one.work in works], options.images, *words)
    if options.json is not None:
        facts = {name: value for name, value in vars(options).items() if isinstance(value, int | list)}
        content = {"images_are": kind, "machine": before, **facts, "measured": [asdict(one) for one in measured]}
        options.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


def print_table(measured: list[Measured], images: int, title: str, ours: str, goal: float) -> None:
    """Images a second, and how many times as fast as MONAI."""
    trained = {one.result["trainable"] for one in measured}
    if len(trained) > 1:
        raise RuntimeError(f"Expected all to train the same number of parameters. Received: {trained}.")
    print(f"{measured[0].model}, {title}: {trained.pop():,} parameters")
    head = f"{'images/s':>9} {'s an epoch':>11} {'CPUs':>5} {'× MONAI':>8} {'× better':>9} {'first s':>8} {'fill s':>7}"
    print(f"{'':22}{head}  images/s of the rounds")
    groups: dict[str, list[Measured]] = {}
    for one in measured:
        groups.setdefault(one.name, []).append(one)
    speeds = {name: statistics.median(speed for one in group for speed in one.speeds) for name, group in groups.items()}
    better = max(speeds[DEFAULT], speeds[CHANNELS_LAST])
    for name in sorted(groups, key=lambda name: (name.startswith(DEFAULT), name)):
        results, speed = [one.result for one in groups[name]], speeds[name]
        cpus = sum(sum(one["cpu"]) for one in results) / sum(sum(one["seconds"]) for one in results)
        first = statistics.median(one["first"] for one in results)
        fills = [one["fill"] for one in results if one.get("fill") is not None]
        fill = f"{statistics.median(fills):7.1f}" if fills else f"{'':7}"
        rounds = ", ".join(f"{statistics.median(one.speeds):.1f}" for one in groups[name])
        print(
            f"{name:22}{speed:9.1f} {images / speed:11.1f} {cpus:5.2f} {speed / speeds[DEFAULT]:8.2f} "
            f"{speed / better:9.2f} {first:8.1f} {fill}  {rounds}"
        )
    for peer, speed in ((DEFAULT, speeds[DEFAULT]), ("MONAI's better setting", better)):
        reached = "reached" if speeds[ours] >= goal * speed else "missed"
        print(f"goal: {ours} at least {goal:g} × {peer}: {speeds[ours] / speed:.2f}, {reached}")
    print()


if __name__ == "__main__":
    main()
