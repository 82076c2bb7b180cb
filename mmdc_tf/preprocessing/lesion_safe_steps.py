"""Steps of the recipe "lesion-safe"."""

from __future__ import annotations

from dataclasses import replace

from mmdc_tf.preprocessing import breast
from mmdc_tf.preprocessing.steps import State


def find_breast(state: State, working_side: int, contrast: float, opening: float, margin: float) -> State:
    """Marks the breast and a margin around it; all of an image in which none is found, with a flag."""
    region = breast.find_breast(state.image, working_side, contrast, opening, margin)
    flags = state.flags if region.found else (*state.flags, "no_breast_found")
    return replace(state, mask=region.mask, flags=flags)
