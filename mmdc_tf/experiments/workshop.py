"""Models for the trainings of a run: built once a row, brought back to their initial state for each fold."""

from __future__ import annotations

import gc
from pathlib import Path

import keras

from mmdc_tf.experiments.grid import Cell, Plan
from mmdc_tf.models import ModelSettings, build_model, freeze_through
from mmdc_tf.training.trainer import start_again


class Workshop:
    """Builds the models of a run; the folds of one row share one compiled model.

    Args:
        plan: image size and classes.
        weights: the weight file of each backbone, None for random weights.
    """

    def __init__(self, plan: Plan, weights: dict[str | None, Path | None]) -> None:
        self._plan = plan
        self._weights = weights
        self._row: str | None = None
        self._model: keras.Model | None = None

    def weights(self, cell: Cell) -> Path | None:
        """The weight file that this cell's backbone starts from."""
        return self._weights.get(cell.row.arguments.get("backbone"))

    def model(self, cell: Cell) -> keras.Model:
        """A model in its initial state, drawn from the seed that was set before."""
        if self._row != cell.row.name:
            self.clear()
        settings = ModelSettings(
            self._plan.profile.recipe.image_size, len(self._plan.dataset.info.class_names), self.weights(cell)
        )
        fresh = build_model(str(cell.row.model), settings, **cell.row.arguments)
        if self._model is not None:
            start_again(self._model, fresh)
            return self._model
        if cell.cut is not None:
            freeze_through(fresh, cell.cut)
        self._row, self._model = cell.row.name, fresh
        return fresh

    def clear(self) -> None:
        """Gives a row's memory back before the next."""
        self._row = self._model = None
        keras.utils.clear_session(free_memory=True)
        gc.collect()
