"""A row under one protocol as a trial of TensorBoard's HParams page: how it was trained, and its test metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.evaluation.metrics import METRICS, metrics_by_fold
from mmdc_tf.experiments.rows import Row
from mmdc_tf.io import read_json

TAGS = {  # of each metric; TensorBoard groups by what stands before the slash
    "accuracy": "test/accuracy (%)",
    "precision": "test/macro precision (%)",
    "recall": "test/macro recall (%)",
    "f1": "test/macro F1 (%)",
    "auc": "test/macro AUC (0 to 1)",
}
TRAININGS = "test/trainings scored"
COLUMNS = (
    "row",
    "protocol",
    "method",
    "backbone",
    "weights",
    "frozen up to",
    "takes age and density",
    "dataset",
    "preprocessing",
    "image size (pixels)",
    "learning rate (highest)",
    "batch size",
    "epochs (at most)",
)
WEIGHTS = {"none": "random", "imagenet": "ImageNet"}


def trial_metrics(predictions: pd.DataFrame) -> dict[str, float]:
    """The means over folds and seeds, by tag; what is not defined (the AUC of one class) is left out.

    Args:
        predictions: of all finished trainings.
    """
    folds = metrics_by_fold(predictions)
    means = {tag: (100.0 if name in METRICS else 1.0) * folds[name].mean() for name, tag in TAGS.items()}
    return {tag: float(mean) for tag, mean in means.items() if np.isfinite(mean)} | {TRAININGS: float(len(folds))}


def trial_settings(row: Row, protocol: str, cell: dict[str, Any]) -> dict[str, str | float | bool]:
    """What the page's columns say of a trial; a column that means nothing for a row is left out.

    Args:
        row: what was trained.
        protocol: one of ``splits.PROTOCOLS``.
        cell: one of its trainings, as from ``mmdc_tf.experiments.run_folder.cells_of``.
    """
    config = cell["config"]
    inputs = inputs_of(cell)
    notice = f" ({NOTICE})" if config.get("synthetic") else ""
    return {
        "row": row.name,
        "protocol": protocol,
        "method": row.model or row.classifier or f"mean of {', '.join(row.members)}",
        "dataset": f"{config.get('dataset', 'unknown')}{notice}",
        "preprocessing": config["row_preprocessing"],
        "takes age and density": "metadata" in inputs,
        **({"image size (pixels)": config["image_size"]} if "image" in inputs else {}),
        **(_network_settings(config) if row.model else {}),
    }


def inputs_of(cell: dict[str, Any]) -> list[str]:
    """The tensors that a training's model takes; none where its card is not there."""
    return (read_json(cell["folder"] / "model.json") or {}).get("inputs", [])


def _network_settings(config: dict[str, Any]) -> dict[str, str | float | bool]:
    training, backbone = config["training"], config["arguments"].get("backbone")
    pretrained = backbone is not None and config["weights"] != "none"
    return {
        "backbone": backbone or "none",
        "weights": WEIGHTS.get(config["weights"], "from a folder") if pretrained else WEIGHTS["none"],
        "frozen up to": config["layer_cut"] or "nothing",
        "learning rate (highest)": training["learning_rate" if pretrained else "learning_rate_random"],
        "batch size": training["batch_size"],
        "epochs (at most)": training["epochs"],
    }
