"""What a row can be: a network, a classifier without one, or the mean of other rows; the runner treats them alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import pandas as pd

from mmdc_tf import io
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.experiments.calibration import VALIDATION
from mmdc_tf.experiments.grid import Cell, Plan
from mmdc_tf.experiments.progress import Listener
from mmdc_tf.experiments.run_folder import OK, PREDICTIONS
from mmdc_tf.experiments.tensorboard_callbacks import tensorboard_callbacks
from mmdc_tf.experiments.workshop import Network, Workshop
from mmdc_tf.inputs.features import FrozenFeatures
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.io import write_with
from mmdc_tf.models.classifiers import build_classifier
from mmdc_tf.training.callbacks import Checkpoint
from mmdc_tf.training.classical import classifier_probabilities, fit_classifier
from mmdc_tf.training.recipe import TrainingRecipe
from mmdc_tf.training.trainer import HISTORY_COLUMNS, TrainingParts, make_deterministic, train

CHECKPOINT = "checkpoint.npz"
"""The state of a training that is not finished."""


class Learner(Protocol):
    """One cell's way from training data to probabilities."""

    def fit(self, train_table: pd.DataFrame, validation: pd.DataFrame) -> pd.DataFrame:
        """Learns; returns the history, columns ``HISTORY_COLUMNS``, one line an epoch."""

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        """float (n, classes) for the rows of a sample table, in the order of the dataset's class names."""

    def can_predict(self, sample_ids: tuple[str, ...]) -> bool:
        """Whether ``probabilities`` has an answer for these samples of the dataset."""

    def save(self, folder: Path) -> None:
        """Writes what can be used later; nothing where there is no model of its own."""

    def facts(self) -> dict[str, Any]:
        """What ``status.json`` and ``model.json`` say of how it was trained."""


class NetworkLearner:
    """A registered network, trained by the recipe and saved as ``model.keras``."""

    def __init__(self, plan: Plan, cell: Cell, workshop: Workshop, progress: Listener) -> None:
        self._plan, self._cell, self._workshop, self._progress = plan, cell, workshop, progress
        self._settings = _input_settings(plan, cell)

    def open(self) -> tuple[Network, TrainingRecipe, FrozenFeatures | None]:
        """The network in its initial state, how it is trained, and the features of its frozen part, all computed."""
        make_deterministic(self._cell.seed)
        network = self._workshop.network(self._cell)
        recipe = self._plan.profile.recipe
        if not self._cell.row.augmented:
            recipe = recipe.without_augmentation()
        return network, recipe, self._workshop.features(self._cell, self._settings, recipe)

    def fit(self, train_table: pd.DataFrame, validation: pd.DataFrame) -> pd.DataFrame:
        cell = self._cell
        self._progress.phase("features" if cell.cut and self._plan.cache else "building the network", cell)
        network, recipe, features = self.open()
        self._model = network.model
        self._features = None if features is None else features.kind
        shown = tensorboard_callbacks(self._plan, cell, network.model, validation, self._settings, self._progress.say)
        callbacks = [self._progress.callback(cell), *shown]
        pretrained = self._workshop.weights(cell) is not None
        parts = TrainingParts(train_table, validation, self._settings)
        checkpoint = Checkpoint(cell.folder / CHECKPOINT, say=self._progress.say)
        return train(network.trained, parts, recipe, cell.seed, pretrained, callbacks, features, checkpoint)

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        return self._model.predict(evaluation_dataset(table, self._settings), verbose=0)

    def can_predict(self, sample_ids: tuple[str, ...]) -> bool:
        return True

    def save(self, folder: Path) -> None:
        # a new model over the same layers has no optimiser, whose state is twice as large as the weights
        bare = keras.Model(self._model.input, self._model.output, name=self._model.name)
        write_with(folder / "model.keras", bare.save)

    def facts(self) -> dict[str, Any]:
        """How large it is, features of its frozen part (``"stored"``, ``"computed"`` or None), devices if several."""
        several = {"devices": self._workshop.devices} if self._workshop.devices > 1 else {}
        return {
            "parameters": self._model.count_params(),
            "trained_parameters": sum(math.prod(weight.shape) for weight in self._model.trainable_weights),
            "frozen_features": self._features,
            **several,
        }


class ClassifierLearner:
    """A registered classifier of scikit-learn: a probe of what the split is worth, not a model to be kept."""

    def __init__(self, plan: Plan, cell: Cell, workshop: Workshop, progress: Listener) -> None:
        self._settings = _input_settings(plan, cell)
        self._estimator = build_classifier(str(cell.row.classifier), cell.seed, **cell.row.arguments)

    def fit(self, train_table: pd.DataFrame, validation: pd.DataFrame) -> pd.DataFrame:
        return fit_classifier(self._estimator, TrainingParts(train_table, validation, self._settings))

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        return classifier_probabilities(self._estimator, table, self._settings)

    def can_predict(self, sample_ids: tuple[str, ...]) -> bool:
        return True

    def save(self, folder: Path) -> None:
        """Nothing: the nearest neighbour alone would be a copy of the training images."""

    def facts(self) -> dict[str, Any]:
        return {}


class EnsembleLearner:
    """The mean of the members' probabilities, read from their predictions files of the same fold and seed."""

    def __init__(self, plan: Plan, cell: Cell, workshop: Workshop, progress: Listener) -> None:
        self._classes = plan.dataset.info.class_names
        place = cell.folder.relative_to(plan.folder / cell.row.name)
        self._folders = [plan.folder / member / place for member in cell.row.members]

    def fit(self, train_table: pd.DataFrame, validation: pd.DataFrame) -> pd.DataFrame:
        """Nothing is trained.

        Raises:
            RuntimeError: a member is not finished.
        """
        for folder in self._folders:
            if (io.read_json(folder / "status.json") or {}).get("status") != OK:
                raise RuntimeError(
                    f"Expected all members to be finished. Received: {folder} without a result. Run that row first."
                )
        return pd.DataFrame(columns=list(HISTORY_COLUMNS))

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        columns = [f"p_{name}" for name in self._classes]
        members = [member.loc[list(table["sample_id"]), columns] for member in self._members()]
        return np.mean([member.to_numpy(dtype=float) for member in members], axis=0)

    def can_predict(self, sample_ids: tuple[str, ...]) -> bool:
        """Whether every member's files hold them: one of an earlier version has no predictions to validate with."""
        return all(set(sample_ids) <= set(member.index) for member in self._members())

    def _members(self) -> list[pd.DataFrame]:
        """Each member's predictions of its test and validation parts, by sample; they may be the same."""
        found = [
            [path for name in (PREDICTIONS, VALIDATION) if (path := folder / name).is_file()]
            for folder in self._folders
        ]
        return [read_predictions(paths).drop_duplicates("sample_id").set_index("sample_id") for paths in found]

    def save(self, folder: Path) -> None:
        """Nothing: each member has its own model."""

    def facts(self) -> dict[str, Any]:
        return {}


LEARNERS: dict[str, Callable[[Plan, Cell, Workshop, Listener], Learner]] = {
    "model": NetworkLearner,
    "classifier": ClassifierLearner,
    "members": EnsembleLearner,
}


def _input_settings(plan: Plan, cell: Cell) -> InputSettings:
    return InputSettings(
        cell.preprocessing,
        cell.image_size,
        plan.profile.recipe.batch_size,
        plan.dataset.info.class_names,
        cell.inputs,
    )
