"""What 780, 7,808 and 78,080 images cost in time and memory, from the table to the first epoch.

    python benchmarks/scaling.py [--root BUSI] [--image-size PIXELS] [--sizes 780,7808,78080] [--most-seconds N]

The images are hard links to the same files: those of BUSI, or phantom images, and the table says "phantom". They stand
in a folder dataset of four views a patient (``samples.csv``). Compared with: the same stage at the smaller sizes, whose
seconds an image should stay the same, and a goal of at most 4 GB at the largest size.

Each size is measured in processes of its own, one for the table and one for each pass over images. Shown are
milliseconds an image at each size; how much longer an image takes at the largest size than at the one before (1: time
grows linearly); and the process's largest memory at the largest size in MB, pages of mapped files included. Passes over
images stop after ``--most-seconds`` (marked "*"); milliseconds and memory are then those of the images done.

Near-twins are searched among random hashes of 256 bits: only datasets without patients need it, and every pair is
compared, so its time grows with the square. The epoch on stored features reads a sparse file of the size that
DenseNet-121's features take, 50 kB a view, of which one of 8 is drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import machine_lines, peak_memory

GOAL_MB, LINEAR, PHANTOM_IMAGES = 4096, 1.5, 240
CLASSES, SIDES, VIEWS = ("benign", "malignant", "normal"), ("LEFT", "RIGHT"), ("CC", "MLO")
BITS, TWIN_BITS, FOLDS, STORED, BATCH, DENSENET_SHAPE = 256, 40, 5, 8, 8, (7, 7, 512)
Stages = dict[str, tuple[float, int, float, str]]
"""By name: seconds, images, the process's largest memory so far in MB, and "*" where it was stopped."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--root", type=Path, help="BUSI's folder; default: phantom images")
    add("--image-size", type=int, default=224, help="height and width in pixels; default: 224")
    add("--sizes", default="780,7808,78080", help="numbers of images, from few to many; default: %(default)s")
    add("--most-seconds", type=int, default=30, help="of each pass over images; default: 30")
    options = parser.parse_args()
    counts = sorted(map(int, options.sizes.split(",")))
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        sources, kind = source_images(options.root, scratch)
        print(f"links to {len(sources)} {kind}, {options.image_size} pixels\n{machine_lines()}\n", flush=True)
        found: dict[str, dict[int, tuple]] = {}
        for count in counts:
            folder = linked_folder(sources, count, scratch / f"{count}")
            for group in GROUPS:
                for stage, facts in in_process(group, folder, options).items():
                    found.setdefault(stage, {})[count] = facts
                    print(f"{count:,} images, {stage}: {facts[0]:.1f} s", file=sys.stderr, flush=True)
        print_stages(found, counts)


def source_images(root: Path | None, scratch: Path) -> tuple[list[Path], str]:
    """Copies of BUSI's images, or of phantom ones, to link to; and what they are."""
    from mmdc_tf.datasets.catalogue import list_dataset
    from mmdc_tf.datasets.phantom import phantom_ultrasound

    phantom = None if root else phantom_ultrasound(scratch / "phantom", images=PHANTOM_IMAGES, size=256)
    dataset = phantom or list_dataset("busi", root)
    (scratch / "sources").mkdir()
    copies = [scratch / "sources" / f"{n}{Path(path).suffix}" for n, path in enumerate(dataset.table["image_path"])]
    for path, copy in zip(dataset.table["image_path"], copies, strict=True):
        copy.write_bytes(Path(path).read_bytes())
    return copies, "phantom images: not a reproduction" if phantom else "images of BUSI"


def linked_folder(sources: list[Path], count: int, scratch: Path) -> Path:
    """A folder dataset of so many images: patients of four views, a thousand images a sub-folder."""
    looks = [(side, view) for side in SIDES for view in VIEWS]
    rows = []
    for number in range(count):
        patient, look = divmod(number, len(looks))
        source = sources[number % len(sources)]
        place = scratch / "dataset" / f"{number // 1000:03d}" / f"{number:06d}{source.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, place)
        label, path = CLASSES[patient % len(CLASSES)], place.relative_to(scratch / "dataset")
        rows.append((place.stem, path, label, f"p{patient:06d}", *looks[look], 40 + patient % 40))
    columns = ["sample_id", "image_path", "label", "patient_id", "side", "view", "age"]
    pd.DataFrame(rows, columns=columns).to_csv(scratch / "dataset" / "samples.csv", index=False)
    return scratch / "dataset"


def in_process(group: str, folder: Path, options: argparse.Namespace) -> Stages:
    """The stages of a group in a process of its own."""
    job = {"group": group, "folder": str(folder), "size": options.image_size, "seconds": options.most_seconds}
    command = [sys.executable, __file__, json.dumps(job)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"Expected the stages of {group} to succeed.\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


class Bench:
    """Times the stages of one process."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.folder, self.size, self.most = Path(job["folder"]), job["size"], job["seconds"]
        self.stages: Stages = {}

    @contextmanager
    def stage(self, name: str, images: int) -> Any:
        """One stage of so many images."""
        began = time.perf_counter()
        yield
        self.stages[name] = (time.perf_counter() - began, images, peak_memory(), "")

    def iterate(self, name: str, batches: Any, images: int) -> None:
        """A stage of one pass over batches of images, for some seconds at most."""
        began, done = time.perf_counter(), 0
        for tensors, *_ in batches:
            done += len(next(iter(tensors.values())))
            if time.perf_counter() - began > self.most:
                break
        self.stages[name] = (time.perf_counter() - began, done, peak_memory(), "" if done == images else "*")

    @property
    def dataset(self) -> Any:
        """What ``table`` has loaded."""
        return pickle.loads(self.folder.with_name("dataset.pickle").read_bytes())

    def settings(self, dataset: Any) -> Any:
        from mmdc_tf.inputs.pipeline import InputSettings

        return InputSettings("ultrasound", self.size, BATCH, dataset.info.class_names, ("image",))


def table(bench: Bench) -> None:
    """The dataset's table, its fingerprint and its splits."""
    from mmdc_tf.datasets.folder import load_folder
    from mmdc_tf.datasets.splits import PROTOCOLS, make_splits

    count = len(pd.read_csv(bench.folder / "samples.csv"))
    with bench.stage("load the folder's table", count):
        dataset = load_folder(bench.folder, modality="ultrasound")
    with bench.stage("fingerprint", count):
        _ = dataset.fingerprint
    for protocol in PROTOCOLS:
        with bench.stage(f"splits, {protocol}", count):
            make_splits(dataset, protocol, FOLDS, 0)
    bench.folder.with_name("dataset.pickle").write_bytes(pickle.dumps(dataset))


def near_twins(bench: Bench) -> None:
    """The search among random hashes."""
    from mmdc_tf.datasets.integrity import join_near_twins

    paths = list(bench.dataset.table["image_path"])
    hashes = np.random.default_rng(0).integers(0, 2, (len(paths), BITS)).astype(bool)
    with bench.stage("near-twins among random hashes", len(paths)):
        join_near_twins(paths, hashes, TWIN_BITS)


def features(bench: Bench) -> None:
    """An epoch on features of which one of 8 views is drawn."""
    from mmdc_tf.inputs.features import StoredFeatures

    dataset = bench.dataset
    count, path = len(dataset.table), bench.folder.with_name("features.bin")
    with path.open("wb") as file:
        file.truncate(STORED * count * int(np.prod(DENSENET_SHAPE)) * 2)  # sparse: it takes no room on the disk
    views = np.memmap(path, np.float16, "r", shape=(STORED, count, *DENSENET_SHAPE))
    rows = {name: row for row, name in enumerate(dataset.table["sample_id"])}
    stored = StoredFeatures([[view] for view in views], rows, mixing=0.2)
    batches = stored.training(dataset.table, bench.settings(dataset), seed=0)
    bench.iterate("an epoch on stored features", batches, count)


def evaluation(bench: Bench) -> None:
    """One pass of preprocessing, as scoring does it."""
    from mmdc_tf.inputs.pipeline import evaluation_dataset

    dataset = bench.dataset
    batches = evaluation_dataset(dataset.table, bench.settings(dataset))
    bench.iterate("preprocessing, evaluation", batches, len(dataset.table))


def training(bench: Bench) -> None:
    """The first epoch of the usual loop."""
    from mmdc_tf.inputs.pipeline import training_dataset

    dataset = bench.dataset
    batches = training_dataset(dataset.table, bench.settings(dataset), None, 0)
    bench.iterate("preprocessing, training's first epoch", batches, len(dataset.table))


GROUPS: dict[str, Callable[[Bench], None]] = {
    one.__name__: one for one in (table, near_twins, features, evaluation, training)
}


def print_stages(found: dict[str, dict[int, tuple]], counts: list[int]) -> None:
    """The table, and the verdicts."""

    def milliseconds(stage: tuple) -> float:
        return 1000 * stage[0] / stage[1] if stage[1] else float("nan")

    heads = "".join(f"{count:>10,}" for count in counts)
    print(f"{'milliseconds an image':44} {heads} {'growth':>7} {'MB':>7}")
    slower, larger = [], []
    for name, stages in found.items():
        before, last = (stages[count] for count in [counts[0], *counts][-2:])
        growth = milliseconds(last) / milliseconds(before)
        times = "".join(f"{f'{milliseconds(stages[count]):.3f}{stages[count][3]}':>10}" for count in counts)
        print(f"{name:44} {times} {growth:7.2f} {last[2]:7,.0f}")
        slower += [name] if growth > LINEAR else []
        larger += [name] if last[2] > GOAL_MB else []
    print(f"\nan image takes more than {LINEAR} times as long among {counts[-1]:,}: {'; '.join(slower) or 'nowhere'}")
    print(f"more than {GOAL_MB:,} MB at {counts[-1]:,} images: {'; '.join(larger) or 'nowhere'}")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].startswith("{"):
        bench = Bench(json.loads(sys.argv[1]))
        GROUPS[json.loads(sys.argv[1])["group"]](bench)
        print(json.dumps(bench.stages))
    else:
        main()
