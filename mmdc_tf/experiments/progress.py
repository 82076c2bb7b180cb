"""One progress bar over a whole run: row, protocol, fold, phase, loss and accuracy, time left."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import Any

import keras
from tqdm import tqdm

from mmdc_tf.experiments.plan import Training

SILENT_S = 50.0
"""After so many seconds without a line, one says how far the run is, where there is no bar."""


class Lines(keras.callbacks.Callback):
    """Keeps what is said of a training in another process, and tells nothing of its epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, message: str) -> None:
        """A line for people."""
        self.said.append(message)

    def phase(self, name: str, training: Training | None = None) -> None:
        """What is being done now."""

    def finish(self, training: Training, message: str) -> None:
        """How a training ended."""
        self.said.append(message)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.set_model(None)  # it would stay in memory


class Progress(Lines):
    """A bar that counts epochs on a terminal, and a line a finished fold everywhere; a callback of each training.

    Where output is redirected, a thread says at least every minute how far the run is. To be used in a ``with``
    statement, which removes the bar.
    """

    def __init__(self) -> None:
        super().__init__()
        self._training: Training | None = None
        self._epochs = self._ticked = 0
        self._phase = self._reached = ""
        self._said_at = time.monotonic()
        self._bar = tqdm(
            total=0,
            bar_format="{percentage:3.0f}% {elapsed}<{remaining} {desc} {bar}",
            disable=None,
            file=sys.stderr,
            dynamic_ncols=True,
            smoothing=0.1,
        )
        self._started, self._done, self._total = time.monotonic(), 0, 0
        self._over = threading.Event()
        if self._bar.disable or not sys.stdout.isatty():
            threading.Thread(target=self._beat, daemon=True).start()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._bar.close()

    def begin(self, trainings: int, epochs: int) -> None:
        """How many trainings are to come, and the epochs of each."""
        self._epochs, self._total = epochs, trainings * epochs
        self._bar.reset(self._total)

    def phase(self, name: str, training: Training | None = None) -> None:
        """What is being done now: ``features``, ``epoch 2 of 12, …``, ``scoring``, ``report``."""
        self._training = training
        self._phase = name if training is None else f"{training}, {name}"
        # the phase first: what is behind it is cut off on a narrow terminal
        self._bar.set_description_str(name if training is None else f"{name} · {training}")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._reached = ""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.phase(f"epoch {epoch + 1} of {self._epochs}{self._reached}", self._training)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Says loss and accuracy of the validation part; of the training part where that is all there is."""
        numbers = logs or {}
        part = "val_" if "val_loss" in numbers else ""
        if f"{part}accuracy" in numbers:
            loss, accuracy = numbers[f"{part}loss"], 100 * numbers[f"{part}accuracy"]
            self._reached = f", {'validation ' if part else ''}loss {loss:.3g}, accuracy {accuracy:.0f} %"
        self.on_epoch_begin(epoch)
        self._tick(1)

    def finish(self, training: Training, message: str) -> None:
        """Says how a training ended, and counts the epochs that early stopping or a failure left out."""
        self._tick(self._epochs - self._ticked)
        self._ticked = 0
        self.say(f"{training}: {message}")

    def _tick(self, epochs: int) -> None:
        self._bar.update(epochs)
        self._ticked += epochs
        self._done += epochs

    def say(self, message: str) -> None:
        """Prints a line without breaking the bar."""
        self._said_at = time.monotonic()
        tqdm.write(message, file=sys.stdout)

    def _beat(self) -> None:
        while not self._over.wait(SILENT_S / 10):
            if time.monotonic() - self._said_at < SILENT_S:
                continue
            minutes = (time.monotonic() - self._started) / 60
            share = self._done / self._total if self._total else 0.0
            left = f", about {minutes / share - minutes:.0f} min left" if 0 < share < 1 else ""
            self._said_at = time.monotonic()
            with contextlib.suppress(OSError):  # who does not take this line is met by the next one
                self.say(f"{minutes:.0f} min{left}: {self._phase}")
