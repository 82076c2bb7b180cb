"""Models and classifiers by name: a builder, and the tensors that it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from mmdc_tf.errors import ConfigurationError, did_you_mean

Builder = Callable[..., Any]
"""``builder(settings, **arguments)``, of a classifier ``builder(seed, **arguments)``; see ``build_model``."""


@dataclass(frozen=True)
class ModelSettings:
    """What every builder needs to know.

    Args:
        image_size: height and width of the input image in pixels.
        class_count: number of classes.
        weights: a file of keras-applications without head for the backbone, or None for random weights.
    """

    image_size: int
    class_count: int = 3
    weights: Path | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A registered model or classifier.

    Args:
        name: unique among the models, or the classifiers.
        builder: what makes it.
        inputs: the named tensors that it takes, of ``"image"``, ``"other_view"`` and ``"metadata"``; a classifier, one.
        image_size: height and width of its images in pixels, whatever the run's size; None for the run's size.
    """

    name: str
    builder: Builder
    inputs: tuple[str, ...]
    image_size: int | None = None


MODELS: dict[str, ModelEntry] = {}


def register_model(name: str, inputs: tuple[str, ...]) -> Callable[[Builder], Builder]:
    """Registers a builder of networks; ``ConfigurationError`` where the name is taken."""
    return register("model", MODELS, name, inputs)


def register(
    kind: str, entries: dict[str, ModelEntry], name: str, inputs: tuple[str, ...], image_size: int | None = None
) -> Callable[[Builder], Builder]:
    """Adds the decorated builder to the entries; arguments as ``ModelEntry``, errors as ``add_entry``."""

    def add(builder: Builder) -> Builder:
        add_entry(kind, entries, ModelEntry(name, builder, inputs, image_size))
        return builder

    return add


def add_entry(kind: str, entries: dict[str, Any], entry: Any) -> None:
    """Adds a model, classifier or backbone under its name; ``ConfigurationError`` where that is taken."""
    if entry.name in entries:
        raise ConfigurationError(
            f"Expected a {kind} name that is not taken. Received: name={entry.name!r}. Choose another name."
        )
    entries[entry.name] = entry


def look_up(kind: str, name: str, known: Iterable[str]) -> str:
    """The name where it is known, else ``ConfigurationError``, which suggests the nearest one."""
    names = sorted(known)
    if name in names:
        return name
    hint = did_you_mean(name, names, "Choose one of them.")
    raise ConfigurationError(f"Expected a {kind} of {', '.join(names)}. Received: {kind}={name!r}. {hint}")


def build_model(name: str, settings: ModelSettings, **arguments: Any) -> keras.Model:
    """Builds a registered model, all of it trainable.

    Returns:
        A functional model from ``{"image": float32 (batch, S, S, 3) RGB in [0, 255]}``, for multi-modal models also
        ``"metadata": float32 (batch, 2)`` raw age in years and density 1 to 4 with NaN for unknown, for two-view models
        also ``"other_view"``, an image or NaN everywhere, to class probabilities float32 (batch, classes).

    Raises:
        ConfigurationError: the name or an argument is unknown or out of range, or the image too small.
        WeightsError: the weight file does not fit.
    """
    return build_registered("model", MODELS, name, settings, arguments)


def build_registered(
    kind: str, entries: dict[str, ModelEntry], name: str, first: object, arguments: dict[str, Any]
) -> Any:
    """Calls a builder with its arguments, which are checked before, so that an error inside it is not taken for theirs.

    Raises:
        ConfigurationError: the name or an argument is unknown, or an argument is missing.
    """
    builder = entries[look_up(kind, name, entries)].builder
    try:
        inspect.signature(builder).bind(first, **arguments)
    except TypeError as error:
        raise ConfigurationError(
            f"Expected arguments that the {kind} {name!r} takes. Received: {arguments} ({error}). Correct the row."
        ) from error
    return builder(first, **arguments)
