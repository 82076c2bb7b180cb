"""What TensorBoard shows of a row's test parts: a trial with its metrics, PR curves, confusion matrix, examples.

Everything is made from the run's files, in the run of TensorBoard that holds the curves of the row and protocol too
(``ROW/PROTOCOL/tb``). What was written before for other predictions is removed first, so that no trial or PR curve of
an earlier state stays.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams_summary
from tensorboard.plugins.pr_curve import summary as pr_summary

from mmdc_tf.datasets.phantom_folder import NOTICE
from mmdc_tf.datasets.splits import PROTOCOLS
from mmdc_tf.errors import RESEARCH_USE, InputError, counted, kind_and_line
from mmdc_tf.evaluation.metrics import confusion_counts
from mmdc_tf.evaluation.predictions import choose_examples, class_names, read_predictions
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import FAILED, OK, PREDICTIONS, cells_of, run_of, status_of
from mmdc_tf.experiments.tensorboard_callbacks import FOLDER, MADE_FROM, TEST, forget
from mmdc_tf.experiments.tensorboard_heatmaps import EXPECTED
from mmdc_tf.explain.drawing import pixels
from mmdc_tf.io import read_json, write_json
from mmdc_tf.preprocessing.recipes import get_recipe
from mmdc_tf.preprocessing.scan_file import preprocess_file
from mmdc_tf.report.example_figure import examples_figure
from mmdc_tf.report.formatting import PROTOCOL_TITLES, made_from, markdown_text
from mmdc_tf.report.result_figures import confusion_figure
from mmdc_tf.report.tensorboard_trial import COLUMNS, TAGS, inputs_of, trial_metrics, trial_settings

EXAMPLES = "Test images as the network saw them: the errors that it was surest of, then the surest right answers."


@dataclass(frozen=True)
class _Shown:
    """What is shown of a row under one protocol: its finished trainings and all that they predicted."""

    row: Row
    protocol: str
    status: str
    cells: list[dict[str, Any]]
    predictions: pd.DataFrame
    run: dict[str, Any]

    @property
    def title(self) -> str:
        return f"{self.row.label}, {PROTOCOL_TITLES[self.protocol].lower()}, {counted(len(self.cells), 'training')}"

    @property
    def notice(self) -> str:
        return f"{NOTICE}. {RESEARCH_USE}" if self.run.get("synthetic") else RESEARCH_USE


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
                    written.append(folder / FOLDER)
            except EXPECTED as error:
                say(f"note: TensorBoard does not show all of {row.name}, {protocol}: {kind_and_line(error, 300)}")
    return written


def _write_row(row: Row, folder: Path, paths: dict[str, str], unfinished: bool) -> bool:
    cells = cells_of(folder)
    finished = [cell for cell in cells if cell["status"] == OK]
    status = status_of(cells)
    if not finished or (status != OK and not unfinished):
        return False
    version, place = _version(finished), folder / FOLDER
    before = read_json(place / MADE_FROM) or {}
    if before.get("predictions") == version and (before["whole"] or not unfinished):
        return False
    forget(folder, "")
    predictions = read_predictions([cell["folder"] / PREDICTIONS for cell in finished])
    shown = _Shown(row, folder.name, status, finished, predictions, run_of(folder.parent.parent))
    whole = False
    try:
        _write_events(place, shown, paths)
        whole = True
    finally:
        write_json(place / MADE_FROM, {"whole": whole, "predictions": version})
    return True


def _version(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """A hash of each training's predictions."""
    files = {cell["folder"].name: cell["folder"] / PREDICTIONS for cell in cells}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}


def _write_events(folder: Path, shown: _Shown, paths: dict[str, str]) -> None:
    writer = tf.summary.create_file_writer(str(folder), filename_suffix=f".{TEST}")
    try:
        with writer.as_default(step=0):
            tf.summary.text("about", "  \n".join([shown.title, *map(markdown_text, made_from(shown.run))]))
            _write_trial(shown)
            _write_curves(shown)
            _write_confusion(shown)
            _write_examples(shown, paths)
    finally:
        writer.close()


def _write_trial(shown: _Shown) -> None:
    settings = trial_settings(shown.row, shown.protocol, shown.cells[0])
    # without it each curve of each fold would be a column of the page
    hparams.hparams_config([hparams.HParam(name) for name in COLUMNS], [hparams.Metric(tag) for tag in TAGS.values()])
    hparams.hparams(settings, trial_id=f"{shown.row.name} {shown.protocol}")
    for tag, value in trial_metrics(shown.predictions).items():
        tf.summary.scalar(tag, value)
    ends = {OK: api_pb2.STATUS_SUCCESS, FAILED: api_pb2.STATUS_FAILURE}
    end = ends.get(shown.status.split(":")[0], api_pb2.STATUS_UNKNOWN)
    _write_raw(hparams_summary.session_end_pb(end))


def _write_curves(shown: _Shown) -> None:
    for name in class_names(shown.predictions):
        _write_raw(
            pr_summary.pb(
                f"test/{name}",
                (shown.predictions["y_true"] == name).to_numpy(),
                shown.predictions[f"p_{name}"].to_numpy(),
                display_name=f"{name} against the rest",
                description=f"Test parts of all folds and seeds, pooled. {shown.notice}",
            )
        )


def _write_confusion(shown: _Shown) -> None:
    matrix = confusion_counts(shown.predictions)
    title = "\n".join(textwrap.wrap(f"{shown.title}: {matrix.sum()} test predictions. {shown.notice}", 46))
    _write_figure("test/confusion matrix", confusion_figure(matrix, class_names(shown.predictions), title))


def _write_examples(shown: _Shown, paths: dict[str, str]) -> None:
    """Nothing for rows that take no image."""
    if "image" not in inputs_of(shown.cells[0]):
        return
    config = shown.cells[0]["config"]
    examples = choose_examples(shown.predictions)
    recipe = get_recipe(config["row_preprocessing"])
    images = [preprocess_file(_path(paths, name), recipe, config["image_size"]) for name in examples["sample_id"]]
    _write_figure("test/examples", examples_figure(examples, images, shown.title, f"{EXAMPLES} {shown.notice}"))


def _path(paths: dict[str, str], sample: str) -> str:
    if sample not in paths:
        raise InputError(
            f"Expected the dataset that was scored. Received: sample_id={sample!r}, which is not in it. Run it again."
        )
    return paths[sample]


def _write_figure(tag: str, figure: Figure) -> None:
    tf.summary.image(tag, pixels(figure)[np.newaxis])


def _write_raw(summary: Any) -> None:
    """A summary that TensorFlow has no function for."""
    tf.summary.experimental.write_raw_pb(summary.SerializeToString())
