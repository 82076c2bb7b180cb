"""``model.json``, the card beside a saved model: what one must know to use it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdc_tf.errors import RESEARCH_USE, ConfigurationError
from mmdc_tf.evaluation.calibration import apply_temperature
from mmdc_tf.preprocessing import Recipe, stored_recipe
from mmdc_tf.preprocessing.recipes import RECIPES_BY_MODALITY
from mmdc_tf.serving.model_place import CARD, MODEL

REQUIRED = ("class_names", "inputs", "image_size", "preprocessing")


@dataclass(frozen=True)
class ModelCard:
    """What stands in ``model.json``.

    Args:
        name: of the network.
        class_names: in the order of the outputs.
        inputs: the tensors that it takes.
        image_size: height and width in pixels.
        recipe: the preprocessing that it was trained with.
        temperature: of its calibration; None where there is none.
        positive_class: the class that the threshold is for; None where there is none.
        threshold: of the calibrated probability, at or above which an image is called positive; None without one.
        sensitivity: that the threshold reaches on the part that it was fitted on; None without one.
        fitted_on: what that part is; "" without one.
        phantom: whether it was trained on phantoms.
        modality: of the images that it was trained on; of cards that do not say it, that of the recipe, where it is for
            one alone; else None.
        notice: "Research use only, …", for a model that was trained on phantoms after words that say so.
    """

    name: str
    class_names: tuple[str, ...]
    inputs: tuple[str, ...]
    image_size: int
    recipe: Recipe
    temperature: float | None
    positive_class: str | None
    threshold: float | None
    sensitivity: float | None
    fitted_on: str
    phantom: bool
    modality: str | None
    notice: str

    @property
    def takes_metadata(self) -> bool:
        """Whether age and density are an input."""
        return "metadata" in self.inputs

    @property
    def mark(self) -> str:
        """What stands behind every number of a model that was trained on phantoms; "" for any other."""
        return " (phantom)" if self.phantom else ""

    def calibrated(self, raw: np.ndarray) -> np.ndarray:
        """The model's own probabilities, float64 (n, classes), as its temperature corrects them; unchanged without."""
        return raw if self.temperature is None else apply_temperature(raw, self.temperature)


def read_card(file: Path) -> ModelCard:
    """Reads the card beside a saved model.

    Raises:
        ConfigurationError: it is absent, not a card, or of a recipe that is another today.
    """
    path = file.with_name(CARD)
    content = _content(path)
    missing = [name for name in REQUIRED if name not in content]
    if missing:
        raise _not_a_card(path, f"without {', '.join(missing)}")
    try:
        return _card(content)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise _not_a_card(path, f"{type(error).__name__}: {error}") from error


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigurationError(
            f"Expected {CARD} beside the model: it holds the preprocessing, classes and threshold. Received: {path} "
            "(no such file). Copy it from the training's folder together with the model."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _not_a_card(path, str(error)) from error
    if not isinstance(content, dict):
        raise _not_a_card(path, "no JSON object")
    return content


def _not_a_card(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Expected a model's card as mmdc-tf run writes it. Received: {path} ({reason}). Copy it from the training's "
        "folder again, or train the model again."
    )


def _card(content: dict[str, Any]) -> ModelCard:
    numbers = {name: content.get(name) for name in ("temperature", "threshold", "sensitivity_asked")}
    temperature, threshold, sensitivity = (None if value is None else float(value) for value in numbers.values())
    phantom = content.get("notice")
    recipe = stored_recipe(content["preprocessing"])
    return ModelCard(
        name=str(content.get("model") or MODEL),
        class_names=tuple(content["class_names"]),
        inputs=tuple(content["inputs"]),
        image_size=int(content["image_size"]),
        recipe=recipe,
        temperature=temperature,
        positive_class=content.get("positive_class"),
        threshold=threshold,
        sensitivity=sensitivity,
        fitted_on=content.get("fitted_on") or "",
        phantom=bool(phantom),
        modality=content.get("modality") or _modality_of(recipe),
        notice=f"{phantom}. {RESEARCH_USE}" if phantom else RESEARCH_USE,
    )


def _modality_of(recipe: Recipe) -> str | None:
    if recipe.name == "brint":
        return "mammography"
    found = [name for name, recipes in RECIPES_BY_MODALITY.items() if recipe in recipes]
    return found[0] if len(found) == 1 else None
