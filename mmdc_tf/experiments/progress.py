"""One progress bar over a whole run: row, protocol, fold, phase, loss and accuracy, time left."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import Any, Protocol

import keras
from tqdm import tqdm

from mmdc_tf.experiments.grid import Cell

SILENT_S = 50.0
"""After so many seconds without a line, one says how far the run is, where there is no bar."""


class Listener(Protocol):
    """Who is told how a training goes."""

    def callback(self, cell: Cell) -> keras.callbacks.Callback:
        """A Keras callback that tells of the epochs."""

    def phase(self, name: str, cell: Cell | None = None) -> None:
        """What is being done now."""

    def say(self, message: str) -> None:
        """A line for people."""

    def finish(self, cell: Cell, message: str) -> None:
        """How a training ended."""


class Progress:
    """A bar that counts epochs on a terminal, and a line a finished fold everywhere.

    Where output is redirected, a thread of its own says at least every minute how far the run is. To
    be used in a ``with`` statement, which removes the bar.
    """

    def __init__(self) -> None:
        self._epochs = self._done = self._total = self._ticked = 0
        self._phase = ""
        self._started = self._said = time.monotonic()
        self._bar = tqdm(
            total=0,
            bar_format="{percentage:3.0f}% {elapsed}<{remaining} {desc} {bar}",
            disable=None,
            file=sys.stderr,
            dynamic_ncols=True,
            smoothing=0.1,
        )
        self._over = threading.Event()
        if self._bar.disable or not sys.stdout.isatty():
            threading.Thread(target=self._beat, daemon=True).start()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._bar.close()

    def begin(self, cells: int, epochs: int) -> None:
        """How many trainings are to come, and the epochs of each."""
        self._epochs, self._total = epochs, cells * epochs
        self._bar.reset(self._total)

    def phase(self, name: str, cell: Cell | None = None) -> None:
        """What is being done now: ``features``, ``epoch 2 of 12, …``, ``scoring``, ``report``."""
        self._phase = name if cell is None else f"{describe(cell)}, {name}"
        # the phase first: what is behind it is cut off on a narrow terminal
        self._bar.set_description_str(name if cell is None else f"{name} · {describe(cell)}")

    def callback(self, cell: Cell) -> keras.callbacks.Callback:
        """A Keras callback that moves the bar one epoch on."""
        progress = self

        class EpochTick(keras.callbacks.Callback):
            reached = ""

            def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
                progress.phase(f"epoch {epoch + 1} of {progress._epochs}{self.reached}", cell)

            def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
                numbers = {key: float(value) for key, value in (logs or {}).items()}
                self.reached = _reached(numbers)
                progress.phase(f"epoch {epoch + 1} of {progress._epochs}{self.reached}", cell)
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
        self._done += epochs

    def say(self, message: str) -> None:
        """Prints a line without breaking the bar."""
        self._said = time.monotonic()
        tqdm.write(message, file=sys.stdout)

    def _beat(self) -> None:
        while not self._over.wait(SILENT_S / 10):
            now = time.monotonic()
            if now - self._said < SILENT_S:
                continue
            self._said = now
            minutes, share = (now - self._started) / 60, self._done / self._total if self._total else 0.0
            left = f", about {minutes / share - minutes:.0f} min left" if 0 < share < 1 else ""
            text = f"{minutes:.0f} min{left}: {self._phase}"
            with contextlib.suppress(OSError):  # who does not take this line is met by the next one
                self.say(text)


def _reached(numbers: dict[str, float]) -> str:
    """Loss and accuracy of the validation part; of the training part where that is all there is."""
    part = "val_" if "val_loss" in numbers else ""
    if f"{part}accuracy" not in numbers:
        return ""
    loss, accuracy = numbers[f"{part}loss"], 100 * numbers[f"{part}accuracy"]
    return f", {'validation ' if part else ''}loss {loss:.3g}, accuracy {accuracy:.0f} %"


def describe(cell: Cell) -> str:
    """For example ``mmdcnet_alpha leak-free fold 2/5 seed 0``."""
    return f"{cell.row.name} {cell.split.protocol} fold {cell.split.fold + 1}/{cell.split.folds} seed {cell.seed}"
