"""The options of ``mmdc-tf run``."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmdc_tf.commands.arguments import add_debug, add_protocol, names, positive, share, size, whole
from mmdc_tf.commands.datasets import DATASETS
from mmdc_tf.commands.machines import add_training_machines


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds all options of ``mmdc-tf run``."""
    _add_what(parser)
    _add_training(parser)
    _add_speed(parser)
    add_training_machines(parser)
    parser.add_argument("--output", type=Path, help="the run's folder; default: runs/DATASET-PROFILE")
    parser.add_argument(
        "--tensorboard",
        choices=("full", "curves"),
        default="full",
        help="what it shows: full (curves, heatmaps by epoch, the network's graph, and of the test parts trials with "
        "metrics, PR curves, confusion matrices and examples) or the curves of the trainings alone; default: full",
    )
    resume = parser.add_mutually_exclusive_group()
    resume.add_argument("--resume", action="store_true", help="continue an interrupted run (the default)")
    resume.add_argument("--fresh", action="store_true", help="start over; an earlier result is renamed, not deleted")
    add_debug(parser)


def _add_what(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--table", type=int, choices=(1, 2), help="table of the paper: 1 (BUSI) or 2 (Mini-DDSM)")
    which.add_argument("--figure", type=int, choices=(3,), help="figure of the paper: 3 (ablation, Mini-DDSM)")
    add = parser.add_argument
    add(
        "--rows",
        type=names,
        help="rows by name, separated by commas, or all; default: all on real data, a few on the phantom",
    )
    add("--list", action="store_true", help="print the rows and the published numbers, and stop")
    add("--dataset-root", type=Path, help="the dataset's folder; without it the built-in phantom is used")
    add("--dataset", choices=DATASETS, help="what --dataset-root holds; default: the table's own dataset")
    add(
        "--recipe",
        help="preprocessing: lesion-safe (the default for mammograms), paper (Otsu and the largest contour, as "
        "published) or plain; for BUSI plain (the default) or ultrasound (with CLAHE)",
    )
    add(
        "--near-twins",
        choices=("keep", "drop-conflicts", "one-per-cluster"),
        default="keep",
        help="images that look like copies of one another: keep all, leave out clusters with more than one label, or "
        "keep one image a cluster; default: keep",
    )
    add(
        "--without-images",
        action="store_true",
        help="use every line of the dataset's table, whether its image is there or not; for rows that take no image",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_protocol(parser, None)
    add("--profile", choices=("quick", "full"), help="default: quick on the phantom, full on real data")
    add("--folds", type=positive, help="folds of the leak-free and image-level protocols; default: the profile's")
    add("--seeds", type=positive, default=1, help="trainings a fold, with different seeds; default: 1")
    add("--seed", type=whole, default=0, help="seed of the splits and of the first training; default: 0")
    add("--image-size", type=positive, help="height and width in pixels; default: the profile's")
    add("--epochs", type=positive, help="at most; default: the profile's")
    add("--batch-size", type=positive, help="default: the profile's")
    add(
        "--sensitivity",
        type=share,
        default=0.9,
        help="for cancer, that the decision threshold stored with a model reaches on the validation part; default: 0.9",
    )
    add(
        "--positive-class",
        metavar="NAME",
        help="the class that the threshold is for; default: the one called malignant, cancer or the like. Without one "
        "there is no threshold and no decision",
    )
    add(
        "--weights",
        help="imagenet, none, or a folder with the official files without head, which README.md names by backbone; "
        "default: none on the phantom, imagenet on real data",
    )
    add(
        "--cut",
        default="auto",
        help="freeze the backbone up to this layer; auto: the row's cut with pretrained weights, "
        "no freezing with random ones; none: no freezing; default: auto",
    )


def _add_speed(parser: argparse.ArgumentParser) -> None:
    """Options that change how long a run takes, and its numbers a little."""
    add = parser.add_argument
    add("--cache-dir", type=Path, help="where features of frozen parts are kept; default: ~/.cache/mmdc_tf/features")
    add(
        "--cache-limit",
        type=size,
        default=size("50GB"),
        help="how much it may hold, as 20GB, or none; what was not used for the longest time goes first; default: 50GB",
    )
    add(
        "--no-cache",
        action="store_true",
        help="train rows with a frozen part by the usual loop, which computes it in every step on newly moved images",
    )
    add("--feature-views", type=positive, help="fixed views of each image that features are kept of; default: 8")
    add(
        "--precision",
        choices=("float32", "mixed_bfloat16"),
        default="float32",
        help="in which networks compute; weights stay float32; default: float32",
    )
    add(
        "--devices",
        choices=("one", "all"),
        default="one",
        help="all: every GPU of this machine trains each fold, with a part of the same batches; default: one",
    )
