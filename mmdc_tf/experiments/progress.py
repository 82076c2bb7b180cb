"""One progress bar over all trainings: row, protocol, fold, epoch, time left."""

from __future__ import annotations

import sys
from typing import Any, Protocol

import keras
from tqdm import tqdm

from mmdc_tf import events
from mmdc_tf.experiments import artifacts
from mmdc_tf.experiments.grid import Cell


class Listener(Protocol):
    """Who is told how a training goes."""

    def callback(self, cell: Cell) -> keras.callbacks.Callback:
        """A Keras callback that tells of the epochs."""

    def say(self, message: str) -> None:
        """A line for people."""

    def finish(self, cell: Cell, message: str) -> None:
        """How a training ended."""


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
            total=cells * epochs,
            unit="epoch",
            disable=events.no_bars(),
            file=sys.stderr,
            dynamic_ncols=True,
            smoothing=0.1,
        )

    def callback(self, cell: Cell) -> keras.callbacks.Callback:
        """A Keras callback that moves the bar one epoch on, and tells programs of each."""
        progress, name = self, describe(cell)

        class EpochTick(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
                progress._bar.set_description(f"{name} epoch {epoch + 1}/{progress._epochs}")

            def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
                progress._tick(1)
                if events.in_json():
                    numbers = {key: float(value) for key, value in (logs or {}).items()}
                    done: dict[str, Any] = {"epoch": epoch + 1, "epochs": progress._epochs, **numbers}
                    events.tell("epoch", f"{name} epoch {epoch + 1}", **_place(cell), **done)

        return EpochTick()

    def finish(self, cell: Cell, message: str) -> None:
        """Says how a training ended, and counts the epochs that early stopping or a failure left out."""
        self._tick(self._epochs - self._ticked)
        self._ticked = 0
        facts = _facts(cell) if events.in_json() else {}
        events.tell("training", f"{describe(cell)}: {message}", show=self.say, **facts)

    def _tick(self, epochs: int) -> None:
        self._bar.update(epochs)
        self._ticked += epochs

    def say(self, message: str) -> None:
        """Prints a line without breaking the bar."""
        tqdm.write(message, file=sys.stdout)

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()


def _facts(cell: Cell) -> dict[str, Any]:
    """What programs are told of a training that has ended: where it is, how it went, and of what it failed."""
    status = artifacts.read_json(cell.folder / "status.json") or {}
    error = cell.folder / "error.txt"
    trace = {"trace": error.read_text(encoding="utf-8")} if error.is_file() else {}
    scores = {} if error.is_file() else artifacts.read_json(cell.folder / "metrics.json") or {}
    return {**_place(cell), **scores, **status, **trace, "folder": str(cell.folder)}


def _place(cell: Cell) -> dict[str, Any]:
    split = cell.split
    place = {"row": cell.row.name, "protocol": split.protocol, "fold": split.fold, "folds": split.folds}
    return {**place, "seed": cell.seed}


def describe(cell: Cell) -> str:
    """For example ``mmdcnet_alpha leak-free fold 2/5 seed 0``."""
    return f"{cell.row.name} {cell.split.protocol} fold {cell.split.fold + 1}/{cell.split.folds} seed {cell.seed}"
