"""What a row can be: a network, a classifier without one, or the mean of other rows; a run treats them alike."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from mmdc_tf.datasets.splits import select
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.experiments.plan import Plan, Training
from mmdc_tf.experiments.progress import Lines
from mmdc_tf.experiments.run_folder import OK, PREDICTIONS, VALIDATION
from mmdc_tf.inputs.features import FrozenFeatures
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.io import read_json, write_with
from mmdc_tf.models import ModelSettings, build_model, freeze_statistics, freeze_through, resolve_weights
from mmdc_tf.models.backbones import get_backbone
from mmdc_tf.models.classifiers import build_classifier
from mmdc_tf.models.frozen_part import FrozenSplit, split_frozen
from mmdc_tf.training.callbacks import Checkpoint
from mmdc_tf.training.classical import classifier_probabilities, fit_classifier
from mmdc_tf.training.devices import on_one_device, strategy_for
from mmdc_tf.training.feature_cache import FeatureCache
from mmdc_tf.training.recipe import TrainingRecipe
from mmdc_tf.training.trainer import HISTORY_COLUMNS, TrainingParts, make_deterministic, start_again, train

CHECKPOINT = "checkpoint.npz"
"""The state of a training that is not finished."""


class Learner:
    """Does the trainings of one kind of row, one after the other: ``build``, ``fit``, then the rest."""

    def __init__(self, plan: Plan, progress: Lines) -> None:
        self.plan, self.progress = plan, progress

    def build(self, training: Training) -> None:
        """Makes what learns, in its initial state."""
        names, batch = self.plan.dataset.info.class_names, self.plan.profile.recipe.batch_size
        self.inputs = InputSettings(training.preprocessing, training.image_size, batch, names, training.inputs)

    def parts(self, training: Training) -> TrainingParts:
        """The sample tables that it learns from."""
        table, split = self.plan.dataset.table, training.split
        return TrainingParts(select(table, split.train), select(table, split.validation), self.inputs)

    def fit(self, training: Training) -> pd.DataFrame:
        """Learns; returns the history, columns ``HISTORY_COLUMNS``, one line an epoch."""
        raise NotImplementedError

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        """float (n, classes) for the rows of a sample table, in the order of the dataset's class names."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Writes the model; nothing where there is none of its own, or one that would be a copy of the images."""

    def details(self) -> dict[str, Any]:
        """What ``status.json`` and ``model.json`` say of how it was trained."""
        return {}

    def clear(self) -> None:
        """Gives memory back."""


class NetworkLearner(Learner):
    """A registered network, trained by the recipe and saved as ``model.keras``.

    Trainings of one architecture share one compiled network, ``model``; ``trained`` is what is compiled and fitted of
    it: all, or the tail behind a frozen part whose features are stored.

    Raises:
        ConfigurationError: the devices of this machine cannot train as the plan wants.
        WeightsError: a weight file of a row is missing or broken.
    """

    model: keras.Model
    trained: keras.Model

    def __init__(self, plan: Plan, progress: Lines) -> None:
        super().__init__(plan, progress)
        backbones = {row.arguments["backbone"] for row in plan.rows if "backbone" in row.arguments}
        self._weights = {name: resolve_weights(name, plan.weights) for name in sorted(backbones)}
        self._strategy = strategy_for(plan.devices, plan.profile.recipe.batch_size, progress.say)
        self._cache = None if plan.cache is None else FeatureCache(plan.cache, plan.dataset, progress.say)
        self._architecture: str | None = None
        self._split: FrozenSplit | None = None
        self._gradients = set(_custom_gradients())

    def build(self, training: Training) -> None:
        """A network in its initial state, drawn from the training's seed."""
        super().build(training)
        self.progress.phase("building the network", training)
        make_deterministic(training.seed)
        is_new = training.architecture != self._architecture
        if is_new:
            self.clear()
        weights = self._weights.get(training.backbone)
        settings = ModelSettings(training.image_size, len(self.plan.dataset.info.class_names), weights)
        scope = self._strategy.scope() if self._strategy is not None and is_new else nullcontext()
        with scope, _precision(self.plan.precision):
            fresh = build_model(str(training.row.model), settings, **training.row.arguments)
            if is_new:
                self._take(fresh, training)
        if not is_new:
            start_again(self.model, fresh, self.trained)
        elif self._strategy is not None:
            self.model = on_one_device(fresh)

    def _take(self, network: keras.Model, training: Training) -> None:
        """Freezes and splits it as the training's cut says."""
        self.model = self.trained = network
        self._architecture = training.architecture
        if training.cut is None:
            if self._weights.get(training.backbone) is not None:
                freeze_statistics(network, get_backbone(training.backbone).gradcam_layer)
            return
        freeze_through(network, training.cut)
        if self._cache is None:
            return
        self._split = split_frozen(network, training.cut)
        if self._split is None:
            name = training.row.name
            self.progress.say(
                f"note: {name} is trained without stored features: what is frozen takes more than one image"
            )
        else:
            self.trained = self._split.tail

    def fit(self, training: Training) -> pd.DataFrame:
        plan, recipe = self.plan, self.plan.profile.recipe
        recipe = recipe if training.row.augmented else recipe.without_augmentation()
        features, parts = self._features(training, recipe), self.parts(training)
        self._kind = None if features is None else features.kind
        callbacks: list[keras.callbacks.Callback] = [self.progress]
        if plan.callbacks is not None:
            say = self.progress.say
            callbacks += plan.callbacks(plan, training, self.model, parts.validation, self.inputs, say)
        return train(
            self.trained,
            parts,
            recipe,
            training.seed,
            pretrained=self._trains_pretrained(training),
            callbacks=callbacks,
            features=features,
            checkpoint=Checkpoint(training.folder / CHECKPOINT, say=self.progress.say),
        )

    def _trains_pretrained(self, training: Training) -> bool:
        """Whether pretrained weights move: behind a backbone that is frozen to its last layer all that moves is new."""
        if self._weights.get(training.backbone) is None:
            return False
        return training.cut != get_backbone(training.backbone).gradcam_layer

    def _features(self, training: Training, recipe: TrainingRecipe) -> FrozenFeatures | None:
        """What the frozen part gives for all images; None where the whole network is trained."""
        if self._cache is None or self._split is None:
            return None
        self.progress.phase("features", training)
        return self._cache.open(self._split, training.backbone or str(training.row.model), self.inputs, recipe)

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        return self.model.predict(evaluation_dataset(table, self.inputs), verbose=0)

    def save(self, folder: Path) -> None:
        # a new model over the same layers has no optimiser, whose state is twice as large as the weights
        bare = keras.Model(self.model.input, self.model.output, name=self.model.name)
        write_with(folder / "model.keras", bare.save)

    def details(self) -> dict[str, Any]:
        """How large it is, features of its frozen part (``"stored"``, ``"computed"`` or None), devices if several."""
        devices = 1 if self._strategy is None else self._strategy.num_replicas_in_sync
        return {
            "parameters": self.model.count_params(),
            "trained_parameters": sum(math.prod(weight.shape) for weight in self.model.trainable_weights),
            "frozen_features": self._kind,
            **({"devices": devices} if devices > 1 else {}),
        }

    def clear(self) -> None:
        """Forgets the network; a next training builds its own."""
        if self._architecture is not None:
            del self.model, self.trained
        self._architecture = self._split = None
        gradients = _custom_gradients()
        for name in set(gradients) - self._gradients:
            if name.startswith("CustomGradient-"):
                del gradients[name]
        keras.utils.clear_session(free_memory=True)
        gc.collect()


class ClassifierLearner(Learner):
    """A registered classifier of scikit-learn: a probe of what the split is worth, not a model to be kept."""

    def build(self, training: Training) -> None:
        super().build(training)
        self._estimator = build_classifier(str(training.row.classifier), training.seed, **training.row.arguments)

    def fit(self, training: Training) -> pd.DataFrame:
        return fit_classifier(self._estimator, self.parts(training))

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        return classifier_probabilities(self._estimator, table, self.inputs)


class EnsembleLearner(Learner):
    """The mean of the members' probabilities, read from their predictions files of the same fold and seed."""

    def build(self, training: Training) -> None:
        """Reads each member's predictions of its test and validation parts; they may be the same.

        Raises:
            RuntimeError: a member is not finished.
        """
        self._members = []
        for member in training.row.members:
            folder = self.plan.folder / member / training.folder.relative_to(self.plan.folder / training.row.name)
            if (read_json(folder / "status.json") or {}).get("status") != OK:
                raise RuntimeError(
                    f"Expected all members to be finished. Received: {folder} without a result. Run that row first."
                )
            paths = [folder / PREDICTIONS, folder / VALIDATION]
            self._members.append(read_predictions(paths).drop_duplicates("sample_id").set_index("sample_id"))

    def fit(self, training: Training) -> pd.DataFrame:
        """Nothing is trained."""
        return pd.DataFrame(columns=list(HISTORY_COLUMNS))

    def probabilities(self, table: pd.DataFrame) -> np.ndarray:
        columns = [f"p_{name}" for name in self.plan.dataset.info.class_names]
        samples = list(table["sample_id"])
        return np.mean([member.loc[samples, columns].to_numpy(dtype=float) for member in self._members], axis=0)


LEARNERS: dict[str, type[Learner]] = {
    "model": NetworkLearner,
    "classifier": ClassifierLearner,
    "members": EnsembleLearner,
}


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Keras' dtype policy, which is the process's own only while a network is built."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _custom_gradients() -> dict[str, Any]:
    """The gradients of all graphs so far: TensorFlow never removes an optimiser's, and with it a network would stay.

    There is no public way in; where the internals change, nothing is removed and nothing breaks.
    """
    try:
        from tensorflow.python.framework.ops import gradient_registry
    except ImportError:
        return {}
    return getattr(gradient_registry, "_registry", {})
