"""The training recipe: read from ``recipe.toml``, where every value has its reason."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from mmdc_tf.errors import ConfigurationError

MONITORS = {"val_accuracy": "max", "val_loss": "min"}


@dataclass(frozen=True)
class TrainingRecipe:
    """How a row is trained.

    Args:
        image_size: height and width in pixels.
        epochs: at most; early stopping may end before.
        batch_size: images a step.
        learning_rate: the highest, after warm-up, for pretrained weights.
        learning_rate_random: the same for random weights.
        weight_decay: of AdamW.
        warmup_share: share of all steps with rising learning rate.
        clip_norm: largest global norm of the gradients.
        label_smoothing: in [0, 1).
        batch_norm_momentum: of the running statistics, in Keras' sense (0.9 keeps nine tenths).
        class_weights: weigh classes by the inverse of their frequency in the training part.
        early_stopping_patience: epochs without a better ``monitor``.
        monitor: ``"val_accuracy"`` or ``"val_loss"``; the best epoch's weights are kept.
        augmentation: the settings of ``mmdc_tf.inputs.augmentation.Augmentation``.
    """

    image_size: int
    epochs: int
    batch_size: int
    learning_rate: float
    learning_rate_random: float
    weight_decay: float
    warmup_share: float
    clip_norm: float
    label_smoothing: float
    batch_norm_momentum: float
    class_weights: bool
    early_stopping_patience: int
    monitor: str
    augmentation: dict[str, Any]

    def __post_init__(self) -> None:
        for name in ("image_size", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigurationError(
                    f"Expected {name} of at least 1. Received: {name}={getattr(self, name)}. Use a larger value."
                )
        if self.monitor not in MONITORS:
            raise ConfigurationError(
                f"Expected monitor to be one of {', '.join(MONITORS)}. Received: monitor={self.monitor!r}. Correct it."
            )


@dataclass(frozen=True)
class Profile:
    """A training recipe with the number of folds that goes with it."""

    name: str
    folds: int
    recipe: TrainingRecipe


def load_profile(name: str, **overrides: Any) -> Profile:
    """Reads a profile of ``recipe.toml``.

    Args:
        name: ``"quick"`` or ``"full"``.
        overrides: fields of ``TrainingRecipe``, or ``folds``, that replace the file's; None keeps the file's value.

    Raises:
        ConfigurationError: unknown profile, or a value out of range.
    """
    content = tomllib.loads(resources.files(__package__).joinpath("recipe.toml").read_text())
    profiles = content["profile"]
    if name not in profiles:
        raise ConfigurationError(
            f"Expected a profile of {', '.join(profiles)}. Received: profile={name!r}. Choose one of them."
        )
    given = {key: value for key, value in overrides.items() if value is not None}
    values = {**content["optimisation"], "augmentation": content["augmentation"], **profiles[name], **given}
    folds = values.pop("folds")
    return Profile(name, folds, TrainingRecipe(**values))
