"""What TensorBoard is told while a network trains: curves, the graph of its layers, and heatmaps by epoch.

A row under one protocol is one run of TensorBoard, and its folds are tags: with a run a fold, a table of ten rows would
have more runs than TensorBoard shows when it is opened (40).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import tensorflow as tf

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.errors import RESEARCH_USE, kind_and_line
from mmdc_tf.experiments.grid import FULL_EVIDENCE, Cell, Plan
from mmdc_tf.experiments.tensorboard_graph import model_graph
from mmdc_tf.experiments.tensorboard_heatmaps import EXPECTED, MEANING, HeatmapsByEpoch, fixed_images
from mmdc_tf.inputs.pipeline import InputSettings

FOLDER, TEST, MADE_FROM = "tb", "test", "made_from.json"


class _Curves(keras.callbacks.Callback):
    """Loss, accuracy and learning rate of each epoch, counted from 1.

    Args:
        writer: of the row's run; closed when the training ends.
        part: the fold and seed, the last part of each tag.
    """

    def __init__(self, writer: tf.summary.SummaryWriter, part: str) -> None:
        super().__init__()
        self._writer, self._part = writer, part

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with self._writer.as_default(step=epoch + 1):
            for name, value in (logs or {}).items():
                part = "validation" if name.startswith("val_") else "training"
                metric = name.removeprefix("val_").replace("_", " ")
                tf.summary.scalar(f"{part} {metric}/{self._part}", value)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._writer.close()


def tensorboard_callbacks(
    plan: Plan,
    cell: Cell,
    network: keras.Model,
    validation: pd.DataFrame,
    settings: InputSettings,
    say: Callable[[str], object],
) -> list[keras.callbacks.Callback]:
    """Curves for every training; graph and heatmaps for the first fold and seed of a row and protocol.

    Args:
        plan: how much is wanted.
        cell: what is trained; all is written into ``tb/`` beside its folder, which its row's folds share.
        network: the whole network.
        validation: the sample table of the validation part, from which the images of the heatmaps are.
        settings: how that part becomes tensors.
        say: prints a line.
    """
    writer = tf.summary.create_file_writer(str(cell.folder.parent / FOLDER), filename_suffix=f".{cell.folder.name}")
    curves = _Curves(writer, f"fold {cell.split.fold + 1} seed {cell.seed}")
    is_first = cell.split.fold == 0 and cell.seed == plan.seed
    if not (is_first and plan.tensorboard == FULL_EVIDENCE):
        return [curves]
    notice = f" {NOTICE}." if plan.dataset.info.synthetic else ""
    caption = f"{cell.row.label}. {MEANING}{notice} {RESEARCH_USE}"
    try:
        with writer.as_default():
            tf.summary.graph(model_graph(network))
        if "image" in cell.inputs:
            return [HeatmapsByEpoch(network, fixed_images(validation, settings), writer, caption, say), curves]
    except EXPECTED as error:
        say(f"note: TensorBoard does not show all of {cell.row.name}: {kind_and_line(error, 300)}")
    return [curves]


def forget(folder: Path, part: str) -> None:
    """Removes what is shown of the test parts of a row and protocol, and the curves of one training.

    Args:
        folder: of the row and protocol, as ``OUT/table1/bcdnet_alpha/leak-free``.
        part: the training's, as ``fold0-seed0``; "" for none.
    """
    (folder / FOLDER / MADE_FROM).unlink(missing_ok=True)
    for name in filter(None, (TEST, part)):
        for path in folder.joinpath(FOLDER).glob(f"*.{name}"):
            path.unlink()


def bring_together(folder: Path) -> None:
    """Moves what another machine wrote for a training into the run of its row and protocol.

    Args:
        folder: the training's, which holds a ``tb`` of its own.
    """
    place = folder.parent / FOLDER
    if folder.joinpath(FOLDER).is_dir():
        forget(folder.parent, folder.name)
        place.mkdir(exist_ok=True)
        for path in folder.joinpath(FOLDER).iterdir():
            path.replace(place / path.name)
        folder.joinpath(FOLDER).rmdir()
