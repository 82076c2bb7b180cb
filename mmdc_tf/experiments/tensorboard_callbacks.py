"""What TensorBoard is told while a network trains: curves, the graph of its layers, and heatmaps by epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pandas as pd

from mmdc_tf.datasets.phantom_folder import NOTICE
from mmdc_tf.errors import kind_and_line
from mmdc_tf.experiments.grid import FULL_EVIDENCE, Cell, Plan
from mmdc_tf.experiments.tensorboard_graph import write_graph
from mmdc_tf.experiments.tensorboard_heatmaps import EXPECTED, MEANING, HeatmapsByEpoch, fixed_images
from mmdc_tf.inputs.pipeline import InputSettings
from mmdc_tf.notices import RESEARCH_USE
from mmdc_tf.storage import require_present

FOLDER = "tb"


class _WhilePresent(keras.callbacks.Callback):
    """Ends a training whose disk is gone, before TensorBoard makes the folder anew below the mount."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        require_present()


def tensorboard_callbacks(
    plan: Plan,
    cell: Cell,
    network: keras.Model,
    validation: pd.DataFrame,
    settings: InputSettings,
    say: Callable[[str], object],
) -> list[keras.callbacks.Callback]:
    """Keras' curves for every training; graph and heatmaps for the first fold and seed of a row and protocol.

    Args:
        plan: how much is wanted.
        cell: what is trained; all is written into ``tb/`` of its folder.
        network: the whole network.
        validation: the sample table of the validation part, from which the images of the heatmaps are.
        settings: how that part becomes tensors.
        say: prints a line.
    """
    callbacks = [_WhilePresent(), keras.callbacks.TensorBoard(cell.folder / FOLDER, write_graph=False)]
    is_first = cell.split.fold == 0 and cell.seed == plan.seed
    if not (is_first and plan.tensorboard == FULL_EVIDENCE):
        return callbacks
    notice = f" {NOTICE}." if plan.dataset.info.synthetic else ""
    place, caption = cell.folder / FOLDER / "network", f"{cell.row.label}. {MEANING}{notice} {RESEARCH_USE}"
    try:
        write_graph(network, place)
        if "image" in cell.inputs:
            callbacks.append(HeatmapsByEpoch(network, fixed_images(validation, settings), place, caption, say))
    except EXPECTED as error:
        say(f"note: TensorBoard does not show all of {cell.row.name}: {kind_and_line(error, 300)}")
    return callbacks
