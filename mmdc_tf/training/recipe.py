"""The training recipe: read from ``recipe.toml``, where every value has its reason."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from importlib import resources
from typing import Any

from mmdc_tf.errors import ConfigurationError

MONITORS = {"val_accuracy": "max", "val_loss": "min"}

Limit = tuple[Callable[[float], bool], str]

_AT_LEAST_ONE: Limit = (lambda value: value >= 1, "of at least 1")
_AT_LEAST_ZERO: Limit = (lambda value: value >= 0, "of at least 0")
_ABOVE_ZERO: Limit = (lambda value: value > 0, "above 0")
_SHARE: Limit = (lambda value: 0 <= value < 1, "of at least 0 and below 1")

# Which values a number of the recipe may have; NaN passes none of them.
LIMITS: dict[str, Limit] = {
    "image_size": _AT_LEAST_ONE,
    "epochs": _AT_LEAST_ONE,
    "batch_size": _AT_LEAST_ONE,
    "learning_rate": _ABOVE_ZERO,
    "learning_rate_random": _ABOVE_ZERO,
    "warmup_share": _SHARE,
    "clip_norm": _ABOVE_ZERO,
    "label_smoothing": _SHARE,
    "metadata_dropout": _SHARE,
    "early_stopping_patience": _AT_LEAST_ONE,
    "feature_views": _AT_LEAST_ONE,
    "feature_rotation": _AT_LEAST_ZERO,
    "feature_brightness": _AT_LEAST_ZERO,
    "feature_mixing": _AT_LEAST_ZERO,
}


@dataclass(frozen=True)
class TrainingRecipe:
    """How a row is trained.

    Args:
        image_size: height and width in pixels.
        epochs: at most; early stopping may end before.
        batch_size: images a step.
        learning_rate: the highest, after warm-up, for pretrained weights.
        learning_rate_random: the same for random weights.
        warmup_share: share of all steps with rising learning rate.
        clip_norm: largest global norm of the gradients.
        label_smoothing: in [0, 1).
        class_weights: weigh classes by the inverse of their frequency in the training part.
        metadata_dropout: in [0, 1); the probability with which a known age or density is made unknown in training.
        early_stopping_patience: epochs of the second half without a better ``monitor``.
        monitor: ``"val_accuracy"`` or ``"val_loss"``; the weights of the second half's best epoch are kept.
        augmentation: the settings of ``mmdc_tf.inputs.augmentation.Augmentation``; None moves no image.
        feature_views: fixed views of each image, of which a training on the features of a frozen part draws one a step;
            1 is the image as it is, without mixing.
        feature_rotation, feature_brightness: largest rotation (degrees) and change of brightness (grey levels of 255)
            of these views; mirror, shift and zoom are those of ``augmentation``.
        feature_mixing: α of the Beta(α, α) from which the share is drawn with which two samples' features are mixed; 0
            mixes nothing.

    Raises:
        ConfigurationError: a value out of range.
    """

    image_size: int
    epochs: int
    batch_size: int
    learning_rate: float
    learning_rate_random: float
    warmup_share: float
    clip_norm: float
    label_smoothing: float
    class_weights: bool
    metadata_dropout: float
    early_stopping_patience: int
    monitor: str
    augmentation: dict[str, Any] | None
    feature_views: int
    feature_rotation: float
    feature_brightness: float
    feature_mixing: float

    def __post_init__(self) -> None:
        for name, (fits, wanted) in LIMITS.items():
            if not fits(getattr(self, name)):
                raise ConfigurationError(
                    f"Expected {name} {wanted}. Received: {name}={getattr(self, name)}. Correct it."
                )
        if self.monitor not in MONITORS:
            raise ConfigurationError(
                f"Expected monitor to be one of {', '.join(MONITORS)}. Received: monitor={self.monitor!r}. Correct it."
            )

    def without_augmentation(self) -> TrainingRecipe:
        """The same for a row whose training images are not moved, nor their features mixed."""
        return replace(self, augmentation=None, feature_views=1)


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
        ConfigurationError: unknown profile or field, or a value out of range.
    """
    content = tomllib.loads(resources.files(__package__).joinpath("recipe.toml").read_text())
    profiles = content["profile"]
    if name not in profiles:
        raise ConfigurationError(
            f"Expected a profile of {', '.join(profiles)}. Received: profile={name!r}. Choose one of them."
        )
    given = {key: value for key, value in overrides.items() if value is not None}
    values = {**content["optimisation"], "augmentation": content["augmentation"], **_features(content)}
    values |= {**profiles[name], **given}
    folds = values.pop("folds")
    unknown = sorted(set(values) - {field.name for field in fields(TrainingRecipe)})
    if unknown:
        raise ConfigurationError(
            f"Expected fields of the training recipe. Received: {unknown[0]}={values[unknown[0]]!r}. Correct its name."
        )
    return Profile(name, folds, TrainingRecipe(**values))


def _features(content: dict[str, Any]) -> dict[str, Any]:
    """The fields that the file groups under ``[features]``."""
    return {f"feature_{name}": value for name, value in content["features"].items()}
