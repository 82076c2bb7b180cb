"""Models for the trainings of a run: built once a row, brought back to their initial state for each fold."""

from __future__ import annotations

from pathlib import Path

import keras

from mmdc_tf.experiments.gradient_registry import clear_networks, custom_gradients
from mmdc_tf.experiments.grid import Cell, Plan
from mmdc_tf.models import ModelSettings, build_model, freeze_through
from mmdc_tf.training.trainer import start_again


class Workshop:
    """Builds the networks of a run; cells of one architecture share one compiled network.

    Args:
        plan: image size and classes.
        weights: the weight file of each backbone, None for random weights.
    """

    def __init__(self, plan: Plan, weights: dict[str, Path | None]) -> None:
        self._plan = plan
        self._weights = weights
        self._architecture: str | None = None
        self._model: keras.Model | None = None
        self._gradients = custom_gradients()

    def weights(self, cell: Cell) -> Path | None:
        """The weight file that this cell's backbone starts from."""
        return self._weights.get(cell.row.arguments.get("backbone", ""))

    def model(self, cell: Cell) -> keras.Model:
        """A model in its initial state, drawn from the seed that was set before."""
        if self._architecture != cell.architecture:
            self.clear()
        settings = ModelSettings(cell.image_size, len(self._plan.dataset.info.class_names), self.weights(cell))
        fresh = build_model(str(cell.row.model), settings, **cell.row.arguments)
        if self._model is not None:
            start_again(self._model, fresh)
            return self._model
        if cell.cut is not None:
            freeze_through(fresh, cell.cut)
        self._architecture, self._model = cell.architecture, fresh
        return fresh

    def clear(self) -> None:
        """Gives a network's memory back before the next."""
        self._architecture = self._model = None
        clear_networks(self._gradients)
