"""What 780, 7,808 and 78,080 images cost in time and memory, from the table to an epoch on stored features.

    python benchmarks/scaling.py [--root BUSI] [--image-size PIXELS] [--sizes 780,7808,78080] [--most-seconds N]

The images are hard links to the same files: those of BUSI, or phantom images, and the table says "phantom". They stand
in a folder dataset of four views a patient (``samples.csv``). Compared with: the same stage at the smaller sizes, whose
seconds an image should stay the same, and a goal of at most 4 GB at the largest size.

Each line is measured in a process of its own, or with the lines of the same group, and shows milliseconds an image at
each size; how much longer an image takes at the largest size than at the one before (1: time grows linearly); and for
the largest size the memory: the peak with pages of mapped files, which the system takes back where it needs them, and
what the process itself holds after the stage (anonymous pages), both in MB with Python and its libraries.

- Near-twins are searched among random hashes of 256 bits (benchmarks/near_twins.py looks closer): only datasets without
  patients need it, and every pair is compared, so its time grows with the square.
- The feature store is filled by a trivial computation with features of 128 bytes, in 8 views.
- The epoch on stored features reads a sparse file of the size that DenseNet-121's features take, 50 kB a view.
- Passes over images stop after ``--most-seconds`` (marked "*"), and where the process itself passes 4 GB (marked "!");
  milliseconds and memory are then those of the images done, "nan" where not one batch had come.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from machine import machine_lines

from mmdc_tf.commands.arguments import positive

SIZES = [780, 7_808, 78_080]
GOAL_MB, LINEAR = 4096, 1.5
GROUPS = ("table", "near-twins", "store", "features", "evaluation", "training")


@dataclass(frozen=True)
class Stage:
    """One stage at one size.

    Args:
        seconds: it took.
        images: done in them.
        peak, own: MB, the largest of the process so far with mapped files, and its own after the stage.
        mark: "*" where it was stopped after some seconds, "!" where its memory passed the goal, else "".
    """

    seconds: float
    images: int
    peak: float
    own: float
    mark: str = ""

    @property
    def milliseconds(self) -> float:
        """Of one image."""
        return 1000 * self.seconds / self.images if self.images else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--root", type=Path, help="BUSI's folder; default: phantom images")
    add("--image-size", type=positive, default=224, help="height and width in pixels; default: 224")
    add("--sizes", type=sizes, default=SIZES, help="numbers of images, separated by commas; default: 780,7808,78080")
    add("--most-seconds", type=positive, default=30, help="of each pass over images; default: 30")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        report(options, Path(scratch))


def sizes(text: str) -> list[int]:
    """Numbers of images, from few to many."""
    return sorted(positive(number) for number in text.split(","))


def report(options: argparse.Namespace, scratch: Path) -> None:
    """Measures and prints."""
    from scaling_data import linked_folder, source_images

    sources, synthetic = source_images(options.root, scratch)
    kind = "phantom images: not a reproduction" if synthetic else "images of BUSI"
    print(f"links to {len(sources)} {kind}, {options.image_size}×{options.image_size}\n{machine_lines()}\n", flush=True)
    found: dict[str, dict[int, Stage]] = {}
    for count in options.sizes:
        folder = linked_folder(sources, count, scratch)
        for group in GROUPS:
            for name, stage in measured(group, folder, options).items():
                found.setdefault(name, {})[count] = stage
                print(f"{count:,} images, {name}: {stage.seconds:.1f} s{stage.mark}", file=sys.stderr, flush=True)
    print_stages(found, options.sizes)


def measured(group: str, folder: Path, options: argparse.Namespace) -> dict[str, Stage]:
    """The stages of a group, by name, in a process of its own."""
    settings = {"folder": str(folder), "image_size": options.image_size, "most_seconds": options.most_seconds}
    result = folder.parent / f"{group}.json"
    script = Path(__file__).with_name("scaling_stages.py")
    command = [sys.executable, str(script), group, json.dumps(settings | {"most_mb": GOAL_MB}), str(result)]
    log = folder.parent / "output.txt"
    with log.open("a") as output:
        done = subprocess.run(command, stdout=output, stderr=output, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    if done.returncode:
        raise RuntimeError(f"Expected the stages of {group} to succeed.\n{log.read_text()[-4000:]}")
    return {name: Stage(**stage) for name, stage in json.loads(result.read_text()).items()}


def print_stages(found: dict[str, dict[int, Stage]], counts: list[int]) -> None:
    """The table, and the verdicts."""
    heads = "".join(f"{count:>10,}" for count in counts)
    print(f"{'milliseconds an image':44} {heads} {'growth':>7} {'peak':>7} {'own':>7}")
    for name, stages in found.items():
        times = "".join(f"{f'{stages[count].milliseconds:.3f}{stages[count].mark}':>10}" for count in counts)
        last = stages[counts[-1]]
        print(f"{name:44} {times} {growth(stages, counts):7.2f} {last.peak:7,.0f} {last.own:7,.0f}")
    slower = [name for name, stages in found.items() if growth(stages, counts) > LINEAR]
    larger = [name for name, stages in found.items() if stages[counts[-1]].own > GOAL_MB]
    print(f"\nan image takes more than {LINEAR} times as long among {counts[-1]:,}: {'; '.join(slower) or 'nowhere'}")
    print(f"more than {GOAL_MB:,} MB of own memory at {counts[-1]:,} images: {'; '.join(larger) or 'nowhere'}")


def growth(stages: dict[int, Stage], counts: list[int]) -> float:
    """Time of an image at the largest size, as a multiple of that at the size before."""
    before, last = (stages[count].milliseconds for count in [counts[0], *counts][-2:])
    return last / before


if __name__ == "__main__":
    main()
