"""A saved model and its card from disk: found, read, and checked against each other.

Importing this costs no TensorFlow, so that a wrong place or card is named at once.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.errors import ConfigurationError, did_you_mean_path
from mmdc_tf.experiments.card import REQUIRED, ModelCard

if TYPE_CHECKING:
    import keras

MODEL, CARD = "model.keras", "model.json"
DEEPEST = 5
"""Folders from ``runs`` or a run's folder down to a training's, at most."""
MOST_MODELS = 5
"""Models of a row that the page asks at most, the given one among them: each takes memory and time."""


def model_file(path: str | Path) -> Path:
    """The saved model: the file itself, or ``model.keras`` in a training's folder.

    Raises:
        ConfigurationError: there is no such file; names one below the folder given, or one that is written alike.
    """
    given = Path(path).expanduser()
    file = given / MODEL if given.is_dir() else given
    if file.is_file():
        return file
    below = (place for depth in range(1, DEEPEST + 1) for place in given.glob("*/" * depth + MODEL))
    if (example := next(below, None)) is not None:
        state, advice = "a folder of trainings", f"Give a training's folder, for example {example.parent}."
    else:
        state = f"no {MODEL} in it or below" if given.is_dir() else "no such file"
        wrote = "Name what mmdc-tf run wrote, such as RUN/TABLE/ROW/PROTOCOL/fold0-seed0."
        advice = did_you_mean_path(given, wrote)
    raise ConfigurationError(
        f"Expected a saved model: a .keras file, or a training's folder with {MODEL}. Received: model={given} "
        f"({state}). {advice}"
    )


def read_card(file: Path) -> ModelCard:
    """The card beside a saved model; ``ConfigurationError`` where it is absent, no card, or of another recipe today."""
    path = file.with_name(CARD)
    if not path.is_file():
        raise ConfigurationError(
            f"Expected {CARD} beside the model: it holds the preprocessing, classes and threshold. Received: {path} "
            "(no such file). Copy it from the training's folder together with the model."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in REQUIRED if name not in content]
        if missing:
            raise ValueError(f"without {', '.join(missing)}")
        return ModelCard.from_json(content)
    except ConfigurationError:
        raise
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"Expected a model's card as mmdc-tf run writes it. Received: {path} ({error}). Copy it from the "
            "training's folder again, or train the model again."
        ) from error


def load_model(path: str | Path, card: ModelCard | None = None) -> tuple[keras.Model, ModelCard]:
    """Loads a trained network and what was stored for its use.

    Args:
        path: a ``model.keras`` file, or the training's folder that holds it; ``model.json`` lies beside it.
        card: of ``read_card`` on that file, where it was read before; None to read it.

    Raises:
        ConfigurationError: the model or card is absent, broken, or of another model; or the model takes no image.
    """
    from mmdc_tf.models.saved_model import load_saved_model

    file = model_file(path)
    card = read_card(file) if card is None else card
    if "image" not in card.inputs:
        raise ConfigurationError(
            f"Expected a model that takes images. Received: {file} (inputs: {', '.join(card.inputs)}). Name another."
        )
    model = load_saved_model(file)
    shapes: dict[str, Any] = {tensor.name: tensor.shape for tensor in model.inputs}
    side, classes = card.image_size, len(card.class_names)
    outputs = model.outputs[0].shape[-1]
    if set(shapes) != set(card.inputs) or tuple(shapes["image"][1:3]) != (side, side) or outputs != classes:
        raise ConfigurationError(
            f"Expected the card of this model beside it. Received: {file} with the inputs {shapes} and {outputs} "
            f"classes, and a card of {', '.join(card.inputs)}, {side} pixels and {classes} classes. Keep each model "
            "with the model.json of its own training."
        )
    return model, card


def row_models(file: Path, card: ModelCard) -> list[Path]:
    """The other models of its row and protocol: the same network, trained on another fold or from another seed.

    Args:
        file: ``…/ROW/PROTOCOL/foldK-seedS/model.keras``.
        card: its card; a model that takes or gives something else is left out.

    Returns:
        At most ``MOST_MODELS - 1`` files, by fold and seed; empty for a model outside a run's folder.
    """
    own = file.absolute()
    row = sorted(own.parents[1].glob(f"fold*-seed*/{MODEL}"), key=_numbers)
    return [path for path in row if path != own and _is_alike(path, card)][: MOST_MODELS - 1] if own in row else []


def _numbers(file: Path) -> list[int]:
    """Of fold and seed."""
    return [int(number) for number in re.findall(r"\d+", file.parent.name)]


def _is_alike(file: Path, card: ModelCard) -> bool:
    try:
        other = read_card(file)
    except ConfigurationError:
        return False
    names = ("name", "class_names", "inputs", "image_size", "recipe", "phantom")
    return all(getattr(other, name) == getattr(card, name) for name in names)
