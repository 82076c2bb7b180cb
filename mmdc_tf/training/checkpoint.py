"""The state of a training between two epochs, on disk: a training that was killed goes on as if it had not been."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mmdc_tf.io import write_with
from mmdc_tf.training.schedule import WarmupCosine

FACTS = "facts"
STOPPING = ("wait", "stopped_epoch", "best", "best_epoch")
"""What Keras' early stopping remembers, besides the best weights."""


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of a training is kept.

    Args:
        path: an ``.npz`` file; whoever trains deletes it when its results are written.
        seconds: that lie between two writings at least; shorter trainings write nothing.
        say: prints a line.
    """

    path: Path
    seconds: float = 20.0
    say: Callable[[str], object] = print


@dataclass
class State:
    """A training between two epochs.

    Args:
        key: what it was made with: ``TrainingKeeper`` takes no other's state.
        history: the logs of the epochs so far.
        stopping: ``STOPPING`` of the early stopping.
        steps: of the schedule.
        stopped: whether the early stopping has ended the training.
        arrays: ``model``, ``optimizer`` and ``best`` (weights; empty before the first epoch's end).
    """

    key: str
    history: list[dict[str, float]]
    stopping: dict[str, Any]
    steps: int
    stopped: bool
    arrays: dict[str, list[np.ndarray]] = field(default_factory=dict)


class TrainingKeeper(keras.callbacks.Callback):
    """Keeps the state of a training after each epoch, and takes up a state that was kept.

    It must come last among the callbacks: when an epoch ends it writes what the others have made of it, and when the
    training begins it gives them back what they were.

    Args:
        checkpoint: where; None keeps the history only.
        key: everything that the training depends on, as text; a state with another key is not taken up.
        schedule, stopping: the callbacks that have a state of their own.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        key: str,
        schedule: WarmupCosine,
        stopping: keras.callbacks.EarlyStopping,
    ) -> None:
        super().__init__()
        self._checkpoint, self._key, self._schedule, self._stopping = checkpoint, key, schedule, stopping
        self._found = None if checkpoint is None else _read(checkpoint, key)
        self._written = time.monotonic()
        self.history: list[dict[str, float]] = [] if self._found is None else self._found.history

    @property
    def epochs_done(self) -> int:
        """How many epochs the state that was found has behind it."""
        return len(self.history)

    @property
    def has_stopped(self) -> bool:
        """Whether the early stopping had ended the training that was found."""
        return self._found is not None and self._found.stopped

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts back weights, optimiser, seeds of dropout, schedule and early stopping."""
        state = self._found
        if state is None:
            return
        for variables, values in zip(
            _variables(self.model), (state.arrays["model"], state.arrays["optimizer"]), strict=True
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        for name, value in state.stopping.items():
            setattr(self._stopping, name, value)
        self._stopping.best_weights = state.arrays["best"] or None
        self._schedule.step = state.steps

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the state where enough time has passed; a disk that is full costs the state, not the training."""
        self.history.append({name: float(value) for name, value in (logs or {}).items()})
        checkpoint = self._checkpoint
        if checkpoint is None or time.monotonic() - self._written < checkpoint.seconds:
            return
        try:
            write_with(checkpoint.path, lambda path: _write(path, self._state()))
        except OSError as error:
            checkpoint.say(
                f"note: the state of the training was not written to {checkpoint.path}: {error.strerror or error}"
            )
        self._written = time.monotonic()

    def _state(self) -> State:
        model, optimizer = ([np.asarray(variable) for variable in group] for group in _variables(self.model))
        arrays = {"model": model, "optimizer": optimizer, "best": self._stopping.best_weights or []}
        stopping = {name: getattr(self._stopping, name) for name in STOPPING}
        return State(self._key, self.history, stopping, self._schedule.step, self.model.stop_training, arrays)


def _variables(model: keras.Model) -> tuple[list[keras.Variable], list[keras.Variable]]:
    """Of the model, with BatchNormalization statistics and seeds of dropout; of its optimiser, with the step count."""
    return model.variables, model.optimizer.variables


def _write(path: Path, state: State) -> None:
    facts = {name: value for name, value in vars(state).items() if name != "arrays"}
    named: dict[str, Any] = {FACTS: np.array(json.dumps(facts))}
    for group, values in state.arrays.items():
        named |= {f"{group}/{index}": value for index, value in enumerate(values)}
    np.savez(path, **named)


def _read(checkpoint: Checkpoint, key: str) -> State | None:
    """The state that was kept; None where there is none, or none of this training."""
    if not checkpoint.path.is_file():
        return None
    try:
        with np.load(checkpoint.path, allow_pickle=False) as file:
            state = State(**json.loads(str(file[FACTS])))
            state.arrays = {group: list(_group(file, group)) for group in ("model", "optimizer", "best")}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        checkpoint.say(f"note: {checkpoint.path} cannot be read ({error}): the training starts from its beginning")
        return None
    if state.key != key:
        checkpoint.say(f"note: {checkpoint.path} is of another version: the training starts from its beginning")
        return None
    return state


def _group(file: Any, group: str) -> Iterator[np.ndarray]:
    """The arrays ``group/0``, ``group/1``, …"""
    for index in range(sum(name.startswith(f"{group}/") for name in file.files)):
        yield file[f"{group}/{index}"]
