"""Types of option values, options of several commands, and those of ``run``; each says what it expected."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.errors import ConfigurationError, InputError, did_you_mean_path

if TYPE_CHECKING:
    from mmdc_tf.datasets.jobs import Executor

DATASETS = (
    "busi",
    "bus-bra",
    "breast-usg",
    "mini-ddsm",
    "mini-mias",
    "cbis-ddsm",
    "inbreast",
    "vindr-mammo",
    "rsna-2022",
    "cmmd",
    "cdd-cesm",
    "folder",
)
PROTOCOL_SETS = {
    "paper": ("paper",),
    "image-level": ("image-level",),
    "leak-free": ("leak-free",),
    "both": ("paper", "leak-free"),
    "all": ("paper", "image-level", "leak-free"),
}
"""The protocols that each value of ``--protocol`` names."""
RUN_EXAMPLES = """examples:
  mmdc-tf run --table 2                                                                 phantoms, no data needed
  mmdc-tf run --table 1 --dataset-root BUSI --rows bcdnet_mobilenet                     a row, both protocols
  mmdc-tf run --dataset folder --dataset-root DIR --rows bcdnet_mobilenet --cut top     your own images, in minutes"""
LOCAL, RAY = "local", "ray"
OFFICIAL = "official"
FOR_RAY = ("task_cpus", "task_gpus")


def number(convert: Callable[[str], Any], fits: Callable[[Any], bool], expected: str) -> Callable[[str], Any]:
    """A type for argparse, whose message says what was expected."""

    def parse(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if fits(number := convert(text)):
                return number
        raise argparse.ArgumentTypeError(f"expected {expected}, received {text!r}")

    return parse


positive = number(int, lambda number: number >= 1, "a whole number of at least 1")
whole = number(int, lambda number: number >= 0, "a whole number")
share = number(float, lambda number: 0 < number <= 1, "a number above 0 and at most 1")
at_least_zero = number(float, lambda number: 0 <= number < math.inf, "a number of at least 0")


def folds(text: str) -> int | str:
    """A number of folds, or ``OFFICIAL``."""
    return OFFICIAL if text.strip().lower() == OFFICIAL else positive(text)


def names(text: str) -> list[str]:
    """Names separated by commas, as a list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def size(text: str) -> int | None:
    """A number of bytes: ``"20GB"``, ``"1.5 GiB"`` or plain bytes; None for ``"none"``. GB is 10⁹ bytes, GiB is 2³⁰.

    Raises:
        ArgumentTypeError: it is none of these, or less than a byte.
    """
    if (wanted := text.strip().lower()) == "none":
        return None
    found = re.fullmatch(r"(\d+\.?\d*) *(?:([kmgt])(i?))?b?", wanted)
    power = " kmgt".index(found[2] or " ") if found else 0
    number = float(found[1]) * (1024 if found[3] else 1000) ** power if found else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a size such as 20GB, 500MiB or none, received {text!r}")
    return int(number)


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Adds ``--debug``, which ``mmdc_tf.cli.main`` heeds."""
    parser.add_argument("--debug", action="store_true", help="show the trace of an error, and what TensorFlow says")


def add_protocol(add: Callable[..., Any], default: str | None) -> None:
    """Adds ``--protocol``, a key of ``PROTOCOL_SETS``; None for a default that depends on the dataset."""
    stated = default or "both on real data, all on the phantom"
    words = f"both: paper and leak-free; all: image-level folds as a control too; default: {stated}"
    add("--protocol", choices=tuple(PROTOCOL_SETS), default=default, help=words)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds ``--model``, which ``mmdc_tf.serving.card.model_file`` reads."""
    words = "a model.keras file, or the training's folder"
    parser.add_argument("--model", type=Path, required=True, metavar="M", help=words)


def add_patient(add: Callable[..., Any]) -> None:
    """Adds ``--age`` and ``--density`` of the images' patient; None where not given, NaN for "unknown"."""
    age, density = (functools.partial(_patient_value, name) for name in ("age", "density"))
    add("--age", type=age, help="in years, or unknown; default: what a DICOM header says, else unknown")
    add("--density", type=density, help="BI-RADS density 1 to 4, or unknown; default: unknown")


def _patient_value(name: str, text: str) -> float | None:
    from mmdc_tf.serving.predictor import checked

    try:
        return checked(name, text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_dataset_of_run(parser: argparse.ArgumentParser) -> None:
    """Adds the run's folder, and where its dataset lies now."""
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run's folder, as given to mmdc-tf run --output")
    add("--dataset-root", type=Path, help="the dataset's folder; a phantom lies in the run and needs none")
    add("--dataset", choices=DATASETS, help="what --dataset-root holds; default: what the run was made from")


def add_executor(add: Callable[..., Any]) -> None:
    """Adds ``--executor`` and what belongs to Ray."""
    words = (
        "where the work is done: on this machine, or on the nodes of a Ray cluster: the one in RAY_ADDRESS, or one "
        "that is running on this machine, or else one that is started for the time of the command; default: local"
    )
    add("--executor", choices=(LOCAL, RAY), default=LOCAL, help=words)
    add("--task-cpus", type=positive, help="cores that Ray keeps for a task, and its threads; default: 1")
    add("--task-gpus", type=at_least_zero, help="GPUs, or a share of one, that Ray keeps for a task; default: 0")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds all options of ``mmdc-tf run``, in groups, and examples."""
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, RUN_EXAMPLES
    _add_data(parser.add_argument_group("data"))
    _add_rows(parser.add_argument_group("rows and protocol"))
    _add_training(parser.add_argument_group("training"))
    _add_machines(parser.add_argument_group("where it runs"))
    add = parser.add_argument_group("output").add_argument
    words = "the run's folder; default: runs/DATASET-PROFILE, with the size and the epochs where they are given"
    add("--output", type=Path, help=words)
    words = "start over; an earlier result is renamed, not deleted. Without it an interrupted run is continued"
    add("--fresh", action="store_true", help=words)
    add_debug(parser)


def _add_data(group: Any) -> None:
    add = group.add_argument
    add("--dataset-root", type=Path, help="the dataset's folder; without it the built-in phantom is used")
    words = "what --dataset-root holds; default: as its layout says, else the table's own"
    add("--dataset", choices=DATASETS, help=words)
    words = "use every line of the dataset's table, whether its image is there or not; for rows that take no image"
    add("--without-images", action="store_true", help=words)
    words = (
        "images that look like copies of one another: keep all, leave out clusters with more than one label, or keep "
        "one image a cluster; default: keep"
    )
    add("--near-twins", choices=("keep", "drop-conflicts", "one-per-cluster"), default="keep", help=words)
    words = (
        "of a lesion patient's breast in which nothing is outlined: her own, as published; by breast: normal; "
        "outlined: left out; default: patient"
    )
    add("--labels", choices=("patient", "breast", "outlined"), default="patient", help=words)
    words = (
        "preprocessing: lesion-safe (the default for mammograms), paper (Otsu and the largest contour, as published) "
        "or plain; for BUSI plain (the default) or ultrasound (with CLAHE)"
    )
    add("--recipe", help=words)
    words = "how an image becomes square: stretched, as published (the default), or padded with black"
    add("--fit", choices=("stretch", "pad"), default="stretch", help=words)
    words = (
        "the class that the decision threshold is for; default: the one called malignant, cancer or the like. Without "
        "one there is no threshold and no decision"
    )
    add("--positive-class", metavar="NAME", help=words)


def _add_rows(group: Any) -> None:
    which, add = group.add_mutually_exclusive_group(), group.add_argument
    which.add_argument("--table", type=int, choices=(1, 2), help="table of the paper: 1 (BUSI) or 2 (Mini-DDSM)")
    which.add_argument("--figure", type=int, choices=(3,), help="figure of the paper: 3 (ablation, Mini-DDSM)")
    words = "rows by name, separated by commas, or all; default: all on real data, a few on the phantom"
    add("--rows", type=names, help=words)
    add("--list", action="store_true", help="print the rows and the published numbers, and stop")
    add_protocol(add, None)
    words = "of the leak-free and image-level protocols, or official: those of the publisher; default: the profile's"
    add("--folds", type=folds, help=words)
    add("--seeds", type=positive, default=1, help="trainings a fold, with different seeds; default: 1")
    add("--seed", type=whole, default=0, help="seed of the splits and of the first training; default: 0")


def _add_training(group: Any) -> None:
    add = group.add_argument
    add("--profile", choices=("quick", "full"), help="default: quick on the phantom, full on real data")
    add("--image-size", type=positive, help="height and width in pixels; default: the profile's")
    add("--epochs", type=positive, help="at most; default: the profile's")
    add("--batch-size", type=positive, help="default: the profile's")
    words = (
        "imagenet, none, or a folder with the official files without head, which docs/options.md names by backbone; "
        "default: none on the phantom, imagenet on real data"
    )
    add("--weights", help=words)
    words = (
        "freeze the backbone up to this layer; auto: the row's cut with pretrained weights, no freezing with random "
        "ones; none: no freezing; top: all of it, for laptops: a row in minutes; default: auto"
    )
    add("--cut", default="auto", help=words)
    add("--feature-views", type=positive, help="fixed views of each image that features are kept of; default: 8")
    words = "for cancer, that the threshold stored with a model reaches on the validation part; default: 0.9"
    add("--sensitivity", type=share, default=0.9, help=words)
    words = "in which networks compute; weights stay float32; default: float32"
    add("--precision", choices=("float32", "mixed_bfloat16"), default="float32", help=words)


def _add_machines(group: Any) -> None:
    add = group.add_argument
    add("--jobs", type=positive, help="trainings at the same time on this machine, which share its cores; default: 1")
    words = "all: every GPU of this machine trains each fold, with a part of the same batches; default: one"
    add("--devices", choices=("one", "all"), default="one", help=words)
    add_executor(add)
    words = (
        "where features of frozen parts are kept; none: rows with a frozen part are trained by the usual loop, which "
        "computes it in every step on newly moved images; default: ~/.cache/mmdc_tf/features"
    )
    add("--cache-dir", metavar="DIR", help=words)
    words = "how much it may hold, or none; what was not used for the longest time goes first; default: 50GB"
    add("--cache-limit", type=size, default=size("50GB"), help=words)


def require_executor(options: argparse.Namespace) -> None:
    """Refuses options that only make sense with the other executor.

    Raises:
        ConfigurationError: names the first.
    """
    wanted, unfit = (LOCAL, ("jobs", "workers")) if options.executor == RAY else (RAY, FOR_RAY)
    for name in unfit:
        if (value := getattr(options, name, None)) is not None:
            raise ConfigurationError(
                f"Expected --{name.replace('_', '-')} with --executor {wanted} only. Received: {name}={value!r} with "
                f"--executor {options.executor}. Leave one of them out."
            )


def executor(options: argparse.Namespace, option: str, memory: int) -> Executor:
    """Where work is done, from the options of ``add_executor``.

    Args:
        option: that says how many processes of this machine.
        memory: bytes that Ray keeps for a task.
    """
    from mmdc_tf.datasets.jobs import Executor

    if options.executor == LOCAL:
        return Executor(getattr(options, option) or 1, option)
    cpus, gpus = options.task_cpus or 1, options.task_gpus or 0.0
    return Executor(ray=True, address=os.environ.get("RAY_ADDRESS"), cpus=cpus, gpus=gpus, memory=memory)


def require_root(root: Path | None) -> None:
    """Refuses a dataset's folder that is absent or empty, where one is given, before anything else is done.

    Raises:
        DatasetError: names it.
    """
    from mmdc_tf.datasets.files import require_folder

    if root is not None:
        require_folder(root)


def require_one(paths: Sequence[Path]) -> None:
    """Refuses images and folders of which none is there; of several, an absent one is named when it is read.

    Raises:
        ConfigurationError: names the first.
    """
    if paths and not any(path.expanduser().exists() for path in paths):
        raise ConfigurationError(
            f"Expected images or folders. Received: {paths[0]} (no such file). "
            f"{did_you_mean_path(paths[0], 'Correct the path.')}"
        )
