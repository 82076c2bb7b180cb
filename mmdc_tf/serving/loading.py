"""A saved model and its card from disk, checked against each other."""

from __future__ import annotations

from pathlib import Path

import keras

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models.saved_model import load_saved_model
from mmdc_tf.serving.card import ModelCard, read_card
from mmdc_tf.serving.model_place import model_file


def load_model(path: str | Path, card: ModelCard | None = None) -> tuple[keras.Model, ModelCard]:
    """Loads a trained network and what was stored for its use.

    Args:
        path: a ``model.keras`` file, or the training's folder that holds it; ``model.json`` lies beside it.
        card: of ``read_card`` on that file, where it was read before; None to read it.

    Raises:
        ConfigurationError: the model or its card is absent, broken, or of another model; it takes no image; or its
            preprocessing is another in this version.
    """
    file = model_file(path)
    card = read_card(file) if card is None else card
    if "image" not in card.inputs:
        raise ConfigurationError(
            f"Expected a model that takes images. Received: {file} (inputs: {', '.join(card.inputs)}). Name another."
        )
    model = load_saved_model(file)
    _require_same(model, card, file)
    return model, card


def _require_same(model: keras.Model, card: ModelCard, file: Path) -> None:
    """Raises ``ConfigurationError`` where the card is of another model."""
    shapes = {tensor.name: tensor.shape for tensor in model.inputs}
    side, classes = card.image_size, len(card.class_names)
    fits = (
        set(shapes) == set(card.inputs)
        and tuple(shapes["image"][1:3]) == (side, side)
        and model.outputs[0].shape[-1] == classes
    )
    if not fits:
        raise ConfigurationError(
            f"Expected the card of this model beside it. Received: {file} with the inputs {shapes} and "
            f"{model.outputs[0].shape[-1]} classes, and a card of {', '.join(card.inputs)}, {side} pixels and "
            f"{classes} classes. Keep each model with the model.json of its own training."
        )
