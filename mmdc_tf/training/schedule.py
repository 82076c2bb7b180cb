"""The learning rate: linear warm-up, then half a cosine down to zero (Loshchilov and Hutter, SGDR, ICLR 2017)."""

from __future__ import annotations

from typing import Any

import keras


class WarmupCosine(keras.callbacks.Callback):
    """Sets the learning rate before every step, and reports the last one of each epoch to the history.

    A callback and not a schedule inside the optimiser: the number of steps differs between folds, and a compiled model
    is used for all of them.

    Args:
        peak: the highest learning rate, reached at the end of the warm-up.
        steps: steps of the whole training.
        warmup_share: share of the steps with rising learning rate, in [0, 1).

    ``step`` counts the steps that were begun.
    """

    def __init__(self, peak: float, steps: int, warmup_share: float) -> None:
        super().__init__()
        warmup = max(1, round(steps * warmup_share))
        self._schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - warmup), warmup_target=peak, warmup_steps=warmup
        )
        self.step = 0

    def at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return float(self._schedule(step + 1))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the optimiser's learning rate."""
        self.model.optimizer.learning_rate = self.at(self.step)
        self.step += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds ``learning_rate``, that of the epoch's last step, for the callbacks that come after this one."""
        if logs is not None:
            logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
