"""``model.json``, the card beside a saved model: what one must know to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmdc_tf.errors import RESEARCH_USE
from mmdc_tf.evaluation.calibration import apply_temperature
from mmdc_tf.preprocessing import Recipe, stored_recipe
from mmdc_tf.preprocessing.recipes import RECIPES_BY_MODALITY

REQUIRED = ("class_names", "inputs", "image_size", "preprocessing")


@dataclass(frozen=True)
class ModelCard:
    """What stands in ``model.json``.

    Args:
        name: of the network, or of the baseline that ``kind`` then says.
        class_names: in the order of the outputs.
        inputs: the tensors that it takes.
        image_size: height and width in pixels.
        recipe, modality: the preprocessing and kind of the images that it was trained on.
        temperature: of its calibration; this and the next three are None where there is none.
        positive_class: the class that the threshold is for.
        threshold: of the calibrated probability, at or above which an image is called positive.
        sensitivity: that the threshold was chosen for.
        fitted_on: the part of the data that temperature and threshold were fitted on; "" without one.
        phantom: words that say that it was trained on phantoms; "" for any other.
        training: the split's hash, versions, and how it was trained.
    """

    name: str
    class_names: tuple[str, ...]
    inputs: tuple[str, ...]
    image_size: int
    recipe: Recipe
    modality: str | None = None
    temperature: float | None = None
    positive_class: str | None = None
    threshold: float | None = None
    sensitivity: float | None = None
    fitted_on: str = ""
    phantom: str = ""
    kind: str = "model"
    training: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def takes_metadata(self) -> bool:
        """Whether age and density are an input."""
        return "metadata" in self.inputs

    @property
    def notice(self) -> str:
        """That it is for research use only, after the words on phantoms."""
        return f"{self.phantom}. {RESEARCH_USE}" if self.phantom else RESEARCH_USE

    @property
    def mark(self) -> str:
        """What stands behind every number of a model that was trained on phantoms; "" for any other."""
        return " (phantom)" if self.phantom else ""

    def calibrated(self, raw: np.ndarray) -> np.ndarray:
        """The model's own probabilities, float64 (n, classes), as its temperature corrects them; unchanged without."""
        return raw if self.temperature is None else apply_temperature(raw, self.temperature)

    def to_json(self) -> dict[str, Any]:
        """The content of ``model.json``."""
        return {
            "research_use_only": True,
            **({"notice": self.phantom} if self.phantom else {}),
            self.kind: self.name,
            "class_names": list(self.class_names),
            "inputs": list(self.inputs),
            "image_size": self.image_size,
            "preprocessing": self.recipe.to_config(),
            "modality": self.modality,
            "temperature": self.temperature,
            "positive_class": self.positive_class,
            "sensitivity_asked": self.sensitivity,
            "threshold": self.threshold,
            "fitted_on": self.fitted_on or None,
            **self.training,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ModelCard:
        """The card of what ``to_json`` gave; of cards that name no modality, the recipe's where it is for one alone.

        Raises:
            ConfigurationError: the recipe is another today.
            KeyError, TypeError, AttributeError, ValueError: it is no such content.
        """
        recipe = stored_recipe(content["preprocessing"])
        found = [name for name, recipes in RECIPES_BY_MODALITY.items() if recipe in recipes]
        of_recipe = "mammography" if recipe.name == "brint" else found[0] if len(found) == 1 else None
        numbers = [content.get(name) for name in ("temperature", "threshold", "sensitivity_asked")]
        temperature, threshold, sensitivity = (None if value is None else float(value) for value in numbers)
        return cls(
            name=str(content.get("model") or "model.keras"),
            class_names=tuple(content["class_names"]),
            inputs=tuple(content["inputs"]),
            image_size=int(content["image_size"]),
            recipe=recipe,
            modality=content.get("modality") or of_recipe,
            temperature=temperature,
            positive_class=content.get("positive_class"),
            threshold=threshold,
            sensitivity=sensitivity,
            fitted_on=content.get("fitted_on") or "",
            phantom=content.get("notice") or "",
        )
