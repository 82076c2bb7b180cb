"""What TensorBoard shows of a row's test parts: a trial with its metrics, PR curves, confusion matrix, examples.

Everything is made from the run's files, in the run of TensorBoard that holds the curves of the row and protocol too
(``ROW/PROTOCOL/tb``). What was written before for other predictions is removed first, so that no trial or PR curve of
an earlier state stays.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams_summary
from tensorboard.plugins.pr_curve import summary as pr_summary

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.datasets.splits import PROTOCOLS
from mmdc_tf.errors import InputError, counted, kind_and_line
from mmdc_tf.evaluation.metrics import METRICS, metrics_by_fold
from mmdc_tf.evaluation.predictions import choose_examples, class_names, read_predictions
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import (
    FAILED,
    MADE_FROM,
    OK,
    PREDICTIONS,
    TENSORBOARD,
    TEST,
    forget,
    run_of,
    status_of,
    trainings_of,
)
from mmdc_tf.explain.drawing import pixels
from mmdc_tf.io import read_json, write_json
from mmdc_tf.preprocessing.recipes import get_recipe
from mmdc_tf.preprocessing.scan_file import preprocess_file
from mmdc_tf.report.conclusion import inputs_of
from mmdc_tf.report.curves import confusion_figure
from mmdc_tf.report.figures import examples_figure
from mmdc_tf.report.formatting import PROTOCOL_TITLES, made_from, markdown_text, notice_of
from mmdc_tf.report.tensorboard_training import EXPECTED

EXAMPLES = "Test images as the network saw them: the errors that it was surest of, then the surest right answers."
TAGS = {  # of each metric; TensorBoard groups by what stands before the slash
    "accuracy": "test/accuracy (%)",
    "precision": "test/macro precision (%)",
    "recall": "test/macro recall (%)",
    "f1": "test/macro F1 (%)",
    "auc": "test/macro AUC (0 to 1)",
}
TRAININGS = "test/trainings scored"
# settings that mean nothing for other rows
OF_NETWORKS = ("backbone", "weights", "frozen up to", "learning rate (highest)", "batch size", "epochs (at most)")
WEIGHTS = {"none": "random", "imagenet": "ImageNet"}


def write_test_evidence(
    table: PaperTable,
    output: Path,
    samples: pd.DataFrame,
    unfinished: bool = False,
    say: Callable[[str], object] = print,
) -> list[Path]:
    """Writes what has changed since it was written last.

    Args:
        table: the paper's table.
        output: the run's folder.
        samples: the sample table of the dataset, which knows where each image lies.
        unfinished: the run is over: show also rows of which some trainings failed or were not run, from the others, and
            try again what could not be shown.
        say: prints a line on what could not be shown; the rest is written.

    Returns:
        The folders written.
    """
    paths = dict(zip(samples["sample_id"], samples["image_path"], strict=True))
    written = []
    for row in table.rows:
        for protocol in PROTOCOLS:
            folder = output / table.name / row.name / protocol
            try:
                if _write_row(row, folder, paths, unfinished):
                    written.append(folder / TENSORBOARD)
            except EXPECTED as error:
                say(f"note: TensorBoard does not show all of {row.name}, {protocol}: {kind_and_line(error, 300)}")
    return written


def _write_row(row: Row, folder: Path, paths: dict[str, str], unfinished: bool) -> bool:
    cells = trainings_of(folder)
    finished = [cell for cell in cells if cell["status"] == OK]
    status = status_of(cells)
    if not finished or (status != OK and not unfinished):
        return False
    files = [cell["folder"] / PREDICTIONS for cell in finished]
    version = {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    place = folder / TENSORBOARD
    before = read_json(place / MADE_FROM) or {}
    if before.get("predictions") == version and (before["whole"] or not unfinished):
        return False
    forget(folder, "")
    predictions, run = read_predictions(files), run_of(folder.parent.parent)
    title = f"{row.label}, {PROTOCOL_TITLES[folder.name].lower()}, {counted(len(finished), 'training')}"
    writer, whole = tf.summary.create_file_writer(str(place), filename_suffix=f".{TEST}"), False
    try:
        with writer.as_default(step=0):
            tf.summary.text("about", "  \n".join(map(markdown_text, [title, *made_from(run)])))
            _write_trial(_settings(row, finished[0]), status, predictions, notice_of(run))
            _write_pictures(title, finished[0], predictions, notice_of(run), paths)
        whole = True
    finally:
        writer.close()
        write_json(place / MADE_FROM, {"whole": whole, "predictions": version})
    return True


def _write_trial(settings: dict[str, Any], status: str, predictions: pd.DataFrame, notice: str) -> None:
    """A trial of the HParams page, and its PR curves."""
    # without it each curve of each fold would be a column of the page
    hparams.hparams_config([hparams.HParam(name) for name in settings], [hparams.Metric(tag) for tag in TAGS.values()])
    known = {name: value for name, value in settings.items() if value is not None}
    hparams.hparams(known, trial_id=f"{settings['row']} {settings['protocol']}")
    folds = metrics_by_fold(predictions)
    tf.summary.scalar(TRAININGS, float(len(folds)))
    for name, tag in TAGS.items():
        mean = folds[name].mean()
        if np.isfinite(mean):  # the AUC of one class is not defined
            tf.summary.scalar(tag, (100.0 if name in METRICS else 1.0) * mean)
    ends = {OK: api_pb2.STATUS_SUCCESS, FAILED: api_pb2.STATUS_FAILURE}
    _write_raw(hparams_summary.session_end_pb(ends.get(status.split(":")[0], api_pb2.STATUS_UNKNOWN)))
    for name in class_names(predictions):
        truth, probability = (predictions["y_true"] == name).to_numpy(), predictions[f"p_{name}"].to_numpy()
        title, text = f"{name} against the rest", f"Test parts of all folds and seeds, pooled. {notice}"
        _write_raw(pr_summary.pb(f"test/{name}", truth, probability, display_name=title, description=text))


def _settings(row: Row, training: dict[str, Any]) -> dict[str, Any]:
    """What the page's columns say of a trial; None in a column that means nothing for a row."""
    config, inputs = training["config"], inputs_of(training["folder"])
    phantom = f" ({NOTICE})" if config.get("synthetic") else ""
    recipe, backbone = config["training"], config["arguments"].get("backbone")
    pretrained = backbone is not None and config["weights"] != "none"
    settings = {
        "row": row.name,
        "protocol": config["protocol"],
        "method": row.model or row.classifier or f"mean of {', '.join(row.members)}",
        "backbone": backbone or "none",
        "weights": WEIGHTS.get(config["weights"], "from a folder") if pretrained else WEIGHTS["none"],
        "frozen up to": config.get("layer_cut") or "nothing",
        "takes age and density": "metadata" in inputs,
        "dataset": f"{config.get('dataset', 'unknown')}{phantom}",
        "preprocessing": config["row_preprocessing"],
        "image size (pixels)": config["image_size"] if "image" in inputs else None,
        "learning rate (highest)": recipe["learning_rate" if pretrained else "learning_rate_random"],
        "batch size": recipe["batch_size"],
        "epochs (at most)": recipe["epochs"],
    }
    return settings if row.model else settings | dict.fromkeys(OF_NETWORKS)


def _write_pictures(
    title: str, training: dict[str, Any], predictions: pd.DataFrame, notice: str, paths: dict[str, str]
) -> None:
    """The confusion matrix and, of rows that take an image, examples."""
    head = "\n".join(textwrap.wrap(f"{title}: {len(predictions)} test predictions. {notice}", 46))
    tf.summary.image("test/confusion matrix", pixels(confusion_figure(predictions, head))[np.newaxis])
    if "image" not in inputs_of(training["folder"]):
        return
    examples, config = choose_examples(predictions), training["config"]
    missing = [name for name in examples["sample_id"] if name not in paths]
    if missing:
        raise InputError(
            f"Expected the dataset that was scored. Received: sample_id={missing[0]!r}, which is not in it. "
            "Run it again."
        )
    recipe = get_recipe(config["row_preprocessing"])
    images = [preprocess_file(paths[name], recipe, config["image_size"]) for name in examples["sample_id"]]
    figure = examples_figure(examples, images, title, f"{EXAMPLES} {notice}")
    tf.summary.image("test/examples", pixels(figure)[np.newaxis])


def _write_raw(summary: Any) -> None:
    """A summary that TensorFlow has no function for."""
    tf.summary.experimental.write_raw_pb(summary.SerializeToString())
