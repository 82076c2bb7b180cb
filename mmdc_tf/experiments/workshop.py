"""Networks for the trainings of a run: built once a row, brought back to their initial state for each fold."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import keras
from tqdm import tqdm

from mmdc_tf.experiments.gradient_registry import clear_networks, custom_gradients
from mmdc_tf.experiments.grid import Cell, Plan
from mmdc_tf.inputs.features import FrozenFeatures
from mmdc_tf.inputs.pipeline import InputSettings
from mmdc_tf.models import ModelSettings, build_model, freeze_through
from mmdc_tf.models.frozen_part import FrozenSplit, split_frozen
from mmdc_tf.training.devices import on_one_device, strategy_for
from mmdc_tf.training.feature_cache import FeatureCache
from mmdc_tf.training.recipe import TrainingRecipe
from mmdc_tf.training.trainer import start_again


@dataclass(frozen=True)
class Network:
    """What a training works with.

    Args:
        model: the whole model, which is saved and predicts.
        split: its frozen part and the rest, where the rest is trained on features; None where the whole is trained.
        trained: what is compiled and fitted; it shares its layers with the whole model.
    """

    model: keras.Model
    split: FrozenSplit | None
    trained: keras.Model


class Workshop:
    """Builds the networks of a run; cells of one architecture share one compiled network.

    Args:
        plan: image size, classes, precision, feature cache, devices.
        weights: the weight file of each backbone, None for random weights.
        say: prints a line.

    Raises:
        ConfigurationError: the devices of this machine cannot train as the plan wants.
    """

    def __init__(
        self,
        plan: Plan,
        weights: dict[str, Path | None],
        say: Callable[[str], object] = tqdm.write,
    ) -> None:
        self._plan = plan
        self._weights = weights
        self._say = say
        self._architecture: str | None = None
        self._network: Network | None = None
        self._gradients = custom_gradients()
        self._strategy = strategy_for(plan.devices, plan.profile.recipe.batch_size, say)
        self._cache = None if plan.cache is None else FeatureCache(plan.cache, plan.dataset, say)

    def weights(self, cell: Cell) -> Path | None:
        """The weight file that this cell's backbone starts from."""
        return self._weights.get(cell.row.arguments.get("backbone", ""))

    def network(self, cell: Cell) -> Network:
        """A network in its initial state, drawn from the seed that was set before."""
        if self._architecture != cell.architecture:
            self.clear()
        if self._network is not None:
            start_again(self._network.model, self._build(cell), self._network.trained)
            return self._network
        with nullcontext() if self._strategy is None else self._strategy.scope():
            fresh = self._build(cell)
            if cell.cut is not None:
                freeze_through(fresh, cell.cut)
            split = self._split(fresh, cell)
        model = fresh if self._strategy is None else on_one_device(fresh)
        trained = fresh if split is None else split.tail
        self._architecture, self._network = cell.architecture, Network(model, split, trained)
        return self._network

    def features(self, cell: Cell, settings: InputSettings, recipe: TrainingRecipe) -> FrozenFeatures | None:
        """What the frozen part of this cell's network gives for all images; None where the whole network is trained."""
        if self._cache is None or self._network is None or self._network.split is None:
            return None
        backbone = cell.row.arguments.get("backbone", str(cell.row.model))
        return self._cache.open(self._network.split, backbone, settings, recipe)

    @property
    def devices(self) -> int:
        """How many train a network together."""
        return 1 if self._strategy is None else self._strategy.num_replicas_in_sync

    def clear(self) -> None:
        """Gives a network's memory back before the next."""
        self._architecture = self._network = None
        clear_networks(self._gradients)

    def _split(self, model: keras.Model, cell: Cell) -> FrozenSplit | None:
        if self._cache is None or cell.cut is None:
            return None
        split = split_frozen(model, cell.cut)
        if split is None:
            self._say(
                f"note: {cell.row.name} is trained without stored features: what is frozen takes more than one image"
            )
        return split

    def _build(self, cell: Cell) -> keras.Model:
        """The model of a cell in the plan's precision, which is the process's own only while it is built."""
        settings = ModelSettings(cell.image_size, len(self._plan.dataset.info.class_names), self.weights(cell))
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self._plan.precision)
        try:
            return build_model(str(cell.row.model), settings, **cell.row.arguments)
        finally:
            keras.config.set_dtype_policy(before)
