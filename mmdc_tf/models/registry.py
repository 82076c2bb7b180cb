"""Models by name: a builder, the tensors it takes, and what was assumed where the paper is silent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from mmdc_tf.errors import ConfigurationError, did_you_mean

Builder = Callable[..., keras.Model]
"""``builder(settings, **arguments)``; what it returns and raises is as for ``build_model``."""


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
    """A registered model; ``inputs`` are the named tensors that it takes."""

    name: str
    builder: Builder
    inputs: tuple[str, ...]


MODELS: dict[str, ModelEntry] = {}


def register_model(name: str, inputs: tuple[str, ...]) -> Callable[[Builder], Builder]:
    """Registers a builder, which takes ``inputs`` of ``"image"``, ``"other_view"`` and ``"metadata"``.

    Raises:
        ConfigurationError: the name is taken.
    """

    def register(builder: Builder) -> Builder:
        add_entry("model", MODELS, ModelEntry(name, builder, inputs))
        return builder

    return register


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
    entry = MODELS[look_up("model", name, MODELS)]
    require_arguments("model", name, entry.builder, settings, arguments)
    return entry.builder(settings, **arguments)


def require_arguments(kind: str, name: str, builder: Callable[..., Any], first: object, arguments: dict) -> None:
    """Refuses arguments that are unknown or missing (``ConfigurationError``) before a builder is called.

    An error inside it is then not taken for theirs.
    """
    try:
        inspect.signature(builder).bind(first, **arguments)
    except TypeError as error:
        raise ConfigurationError(
            f"Expected arguments that the {kind} {name!r} takes. Received: {arguments} ({error}). Correct the row."
        ) from error
