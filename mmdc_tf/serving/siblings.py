"""The other models of a row: trainings of the same network on other folds or from other starts."""

from __future__ import annotations

import re
from pathlib import Path

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.serving.card import ModelCard, read_card
from mmdc_tf.serving.model_place import MODEL

MOST = 5
"""Models of a row that are asked at most, the given one among them: each takes memory and time."""
_TRAINING = re.compile(r"fold(\d+)-seed(\d+)")


def siblings(file: Path, card: ModelCard) -> list[Path]:
    """The models beside one in its run: the same row and protocol, another fold or seed.

    Args:
        file: the model, ``…/ROW/PROTOCOL/foldK-seedS/model.keras``.
        card: its card; a model that takes or gives something else is none of its row, and left out.

    Returns:
        At most ``MOST - 1`` files, by fold and seed; empty for a model outside a run's folder.
    """
    own = file.absolute()
    if _TRAINING.fullmatch(own.parent.name) is None:
        return []
    beside = sorted((place, path / MODEL) for path in own.parent.parent.iterdir() if (place := _place(path.name)))
    return [path for _, path in beside if path != own and path.is_file() and _is_alike(path, card)][: MOST - 1]


def _place(name: str) -> tuple[int, int] | None:
    found = _TRAINING.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def _is_alike(file: Path, card: ModelCard) -> bool:
    try:
        other = read_card(file)
    except ConfigurationError:
        return False
    return _kind(other) == _kind(card)


def _kind(card: ModelCard) -> tuple[object, ...]:
    return card.name, card.class_names, card.inputs, card.image_size, card.recipe, card.phantom
