"""Steps of a recipe: an operation, its parameters, and what it hands on to the next step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.preprocessing import breast, operations


@dataclass(frozen=True)
class State:
    """What one step hands on to the next.

    ``image``, uint8 (H, W) or (H, W, 3), is the picture so far, and ``size`` the side in pixels that it will have at
    the end; ``mask``, uint8 (H, W) of 0 and 255, is the region to keep of it, None before the first and after resizing;
    ``flags`` are what steps noticed, such as "no_breast_found".
    """

    image: np.ndarray
    size: int
    mask: np.ndarray | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One named step of a recipe.

    Args:
        name: as in messages and stored configurations.
        run: ``run(state, **parameters)`` returns the next state; a function of a module, so that it can be pickled.
        parameters: numbers that ``run`` takes, written out so that they are stored with a model.
        shows: what a picture of this step should show, the image or the mask.
    """

    name: str
    run: Callable[..., State]
    parameters: Mapping[str, int | float] = field(default_factory=dict, hash=False)
    shows: Literal["image", "mask"] = "image"

    def __call__(self, state: State) -> State:
        return self.run(state, **self.parameters)

    def picture(self, state: State) -> np.ndarray:
        """The image or mask of the state after this step, uint8."""
        return required_mask(state) if self.shows == "mask" else state.image


def grey(state: State) -> State:
    return replace(state, image=operations.to_grey(state.image))


def otsu(state: State) -> State:
    return replace(state, mask=operations.otsu_mask(state.image))


def largest_contour(state: State) -> State:
    return replace(state, mask=operations.largest_region_mask(required_mask(state)))


def blank_outside(state: State) -> State:
    return replace(state, image=operations.apply_mask(state.image, required_mask(state)))


def crop(state: State) -> State:
    mask = required_mask(state)
    return replace(state, image=operations.crop_to_mask(state.image, mask), mask=operations.crop_to_mask(mask, mask))


def find_breast(state: State, working_side: int, contrast: float, opening: float, margin: float) -> State:
    """Marks the breast and a margin around it; all of an image in which none is found, with a flag."""
    region = breast.find_breast(state.image, working_side, contrast, opening, margin)
    flags = state.flags if region.found else (*state.flags, "no_breast_found")
    return replace(state, mask=region.mask, flags=flags)


def clahe(state: State, clip_limit: float, tiles: int) -> State:
    return replace(state, image=operations.enhance_contrast(state.image, clip_limit, tiles))


def pad(state: State) -> State:
    return replace(state, image=operations.pad_to_square(state.image), mask=None)


def resize(state: State) -> State:
    return replace(state, image=operations.resize(state.image, state.size), mask=None)


def rgb(state: State) -> State:
    return replace(state, image=operations.grey_to_rgb(state.image))


def required_mask(state: State) -> np.ndarray:
    if state.mask is None:
        raise ConfigurationError(
            "Expected a mask from an earlier step. Received: mask=None. Put a step that makes one, such as otsu, first."
        )
    return state.mask
