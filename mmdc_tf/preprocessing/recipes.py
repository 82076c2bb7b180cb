"""Recipes: named, ordered steps that turn a scan into the square RGB image that a model takes.

The same recipe serves training, folders and prediction; ``Recipe.to_config`` is stored with each model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmdc_tf.errors import ConfigurationError, InputError, did_you_mean
from mmdc_tf.preprocessing import breast, brint, steps
from mmdc_tf.preprocessing.steps import State, Step


@dataclass(frozen=True)
class Recipe:
    """An ordered list of steps from the pixels of a file to the pixels of a model.

    Args:
        name: the name on the command line and in stored configurations.
        steps: at least one; the last leaves an RGB image of the asked size.
        least_crop: a JPEG scan may be decoded at a half, a quarter or an eighth of its size as long as the crop's
            shorter side is at least so many times the asked size: nearly the same result, much sooner. None: never.
    """

    name: str
    steps: tuple[Step, ...]
    least_crop: float | None = None

    def apply(self, image: np.ndarray, size: int) -> np.ndarray:
        """Runs all steps: uint8 (size, size, 3), RGB, in [0, 255], the same for the same input, bit by bit.

        Args:
            image: uint8 (H, W) grey or (H, W, 3) RGB, in [0, 255], at least one pixel; not changed.
            size: height and width of the result in pixels.

        Raises:
            InputError: an image of another dtype or shape.
            ConfigurationError: a size that is not a whole number of at least 1.
            RuntimeError: a step failed in any other way. All three name the recipe and the step.
        """
        for _, state in self.states(image, size):
            image = state.image
        return image

    def states(self, image: np.ndarray, size: int) -> Iterator[tuple[Step, State]]:
        """Yields each step with the image and mask that it leaves; arguments and errors as for ``apply``."""
        state = State(image, size)
        for step in self.steps:
            try:
                state = step(state)
            except Exception as error:
                # Input errors keep their class, which decides the exit code; anything else is a fault of the step.
                kind = type(error) if isinstance(error, InputError) else RuntimeError
                raise kind(f"Recipe {self.name!r}, step {step.name!r}: {error}") from error
            yield step, state

    def to_config(self) -> dict[str, Any]:
        """The recipe's name, its steps with their parameters, and ``least_crop``, as JSON can hold them."""
        listed = [{"name": step.name, "parameters": dict(step.parameters)} for step in self.steps]
        return {"name": self.name, "steps": listed, "least_crop": self.least_crop}


_GREY, _BLANK, _CROP = Step("grey", steps.grey), Step("blank-outside", steps.blank_outside), Step("crop", steps.crop)
_OTSU = Step("otsu", steps.otsu, shows="mask")
_LARGEST = Step("largest-contour", steps.largest_contour, shows="mask")
_CLAHE = Step("clahe", steps.clahe, {"clip_limit": 2.0, "tiles": 8})
_RESIZE, _RGB = Step("resize", steps.resize), Step("rgb", steps.rgb)

# Section II-A and Fig. 1 of the paper. Cutting is our reading of "eliminating … labels, skin-adjacent tissue, and black
# borders": blanked borders would still be borders. Grey comes first because Otsu's threshold is defined on grey levels;
# scans are grey already. A weakness of the paper's own: a label or a scanner's white strip that touches the breast
# stays, and one that is larger than the bright part of the breast is kept in its place.
PAPER = Recipe("paper", (_GREY, _OTSU, _LARGEST, _BLANK, _CROP, _CLAHE, _RESIZE, _RGB))

# An option. The paper prescribes CLAHE for mammograms, after the breast is isolated; on BUSI it makes features of VGG16
# worse, of MobileNet no better (docs/preprocessing.md).
ULTRASOUND = Recipe("ultrasound", (_GREY, _CLAHE, _RESIZE, _RGB))

# Marroquín and Cáceres 2024, reference [20] of the paper: steps and numbers as in the first author's thesis code.
# Assumed: its pixels are those of a scan of the reference height, and grow and shrink with a scan's height, so that
# small images keep their proportions; the breast is on the side of the half that holds more light. Where a step would
# leave nothing, it leaves the image as it is.
_SCALE = {"reference_height": brint.REFERENCE_HEIGHT}
BRINT = Recipe(
    "brint",
    (
        _GREY,
        Step("drop-white", brint.drop_white),
        Step("blank-border", brint.blank_border, {"pixels": 40, **_SCALE}),
        _OTSU,
        Step("close", brint.close_mask, {"diameter": 31, **_SCALE}, shows="mask"),
        Step("open", brint.open_mask, {"diameter": 31, **_SCALE}, shows="mask"),
        _LARGEST,
        Step("dilate", brint.dilate_mask, {"diameter": 157, **_SCALE}, shows="mask"),
        _BLANK,
        Step("flip-left", brint.flip_left),
        _CLAHE,
        _RESIZE,
        Step("brint-channels", brint.brint_channels, {"radius": 2, "q": 2, "background": 10}),
    ),
)

# For any image. Colour is dropped: 764 of the 780 BUSI images are grey, and in the other 16 it comes from marks added
# on the screen, from which a model could learn what the tissue does not show. The marks themselves stay, in grey.
PLAIN = Recipe("plain", (_GREY, _RESIZE, _RGB))

# CLAHE comes last, so that large scans are fast and the result depends little on their resolution. Known weakness: a
# label that overlaps the breast or its glow stays.
_BREAST = {
    "working_side": breast.WORKING_SIDE,
    "contrast": breast.CONTRAST,
    "opening": breast.OPENING,
    "margin": breast.MARGIN,
}
LESION_SAFE = Recipe(
    "lesion-safe",
    (_GREY, Step("find-breast", steps.find_breast, _BREAST, shows="mask"), _BLANK, _CROP, _RESIZE, _CLAHE, _RGB),
    least_crop=0.75,
)

PAD = "pad"


def _padded(recipe: Recipe) -> Recipe:
    """The recipe with its image padded to a square before it is resized, which otherwise stretches it."""
    place = recipe.steps.index(_RESIZE)
    steps_ = (*recipe.steps[:place], Step(PAD, steps.pad), *recipe.steps[place:])
    return Recipe(f"{recipe.name}-{PAD}", steps_, recipe.least_crop)


RECIPES_BY_MODALITY: dict[str, tuple[Recipe, ...]] = {
    modality: (*recipes, *map(_padded, recipes))
    for modality, recipes in {"mammography": (LESION_SAFE, PAPER, PLAIN), "ultrasound": (PLAIN, ULTRASOUND)}.items()
}
"""Which recipes a run of a table may use, the default first. "brint" leaves codes, not an image: its rows name it."""
RECIPES: dict[str, Recipe] = {recipe.name: recipe for some in RECIPES_BY_MODALITY.values() for recipe in (*some, BRINT)}


def get_recipe(name: str) -> Recipe:
    """The recipe of this name; raises ``ConfigurationError``, which suggests the nearest name, where there is none."""
    return _known("recipe", name, RECIPES)


def stored_recipe(config: dict[str, Any]) -> Recipe:
    """The recipe that a model was trained with, for images that it is to predict.

    Args:
        config: as ``Recipe.to_config`` gave it: "preprocessing" in a model's ``model.json``.

    Raises:
        ConfigurationError: there is no recipe of this name, or its steps and numbers are others today.
    """
    recipe = get_recipe(config["name"])
    if recipe.to_config() != config:
        raise ConfigurationError(
            f"Expected the steps and numbers of the recipe {recipe.name!r} that the model was trained with. Received: "
            "others in this version of mmdc_tf. Use the version that model.json names, or train the model again."
        )
    return recipe


def recipe_for(modality: str, name: str | None = None, fit: str = "stretch") -> Recipe:
    """The recipe for ``"mammography"`` or ``"ultrasound"``; without a name the default, "lesion-safe" or "plain".

    Args:
        modality: one of the two.
        name: of the recipe; one that ends in ``-pad`` keeps the image's proportions.
        fit: ``"pad"`` takes the recipe of that name which does.

    Raises:
        ConfigurationError: another modality, or a recipe that is not for it.
    """
    recipes = _known("modality", modality, RECIPES_BY_MODALITY)
    name = recipes[0].name if name is None else name
    name = f"{name}-{PAD}" if fit == PAD and not name.endswith(f"-{PAD}") else name
    return _known(f"recipe for {modality}", name, {one.name: one for one in recipes})


def _known(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name in known:
        return known[name]
    hint = did_you_mean(str(name), known, "Choose one of these.", cutoff=0.4)
    raise ConfigurationError(
        f"Expected {what} to be one of {', '.join(map(repr, known))}. Received: {what.split()[0]}={name!r}. {hint}"
    )
