"""One progress bar over all trainings: row, protocol, fold, epoch, time left."""

from __future__ import annotations

import sys
from typing import Any

import keras
from tqdm import tqdm

from mmdc_tf.experiments.grid import Cell


class Progress:
    """A bar that counts epochs on a terminal, and a line a finished fold everywhere.

    Args:
        cells: number of trainings to come.
        epochs: epochs of one training.
    """

    def __init__(self, cells: int, epochs: int) -> None:
        self._epochs = epochs
        self._ticked = 0
        self._bar = tqdm(
            total=cells * epochs, unit="epoch", disable=None, file=sys.stderr, dynamic_ncols=True, smoothing=0.1
        )

    def callback(self, cell: Cell) -> keras.callbacks.Callback:
        """A Keras callback that moves the bar one epoch on."""
        progress, name = self, describe(cell)

        class EpochTick(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
                progress._bar.set_description(f"{name} epoch {epoch + 1}/{progress._epochs}")

            def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
                progress._tick(1)

        return EpochTick()

    def finish(self, cell: Cell, message: str) -> None:
        """Says how a training ended, and counts the epochs that early stopping or a failure left out."""
        self._tick(self._epochs - self._ticked)
        self._ticked = 0
        self.say(f"{describe(cell)}: {message}")

    def _tick(self, epochs: int) -> None:
        self._bar.update(epochs)
        self._ticked += epochs

    def say(self, message: str) -> None:
        """Prints a line without breaking the bar."""
        tqdm.write(message, file=sys.stdout)

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()


def describe(cell: Cell) -> str:
    """For example ``mmdcnet_alpha leak-free fold 2/5 seed 0``."""
    return f"{cell.row.name} {cell.split.protocol} fold {cell.split.fold + 1}/{cell.split.folds} seed {cell.seed}"
