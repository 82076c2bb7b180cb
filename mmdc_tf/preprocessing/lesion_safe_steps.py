"""Steps of the recipe "lesion-safe"."""

from __future__ import annotations

from dataclasses import replace

from mmdc_tf.preprocessing import breast, operations
from mmdc_tf.preprocessing.checks import require_positive_whole
from mmdc_tf.preprocessing.steps import State


def find_breast(state: State, working_side: int, contrast: float, opening: float, margin: float) -> State:
    """Marks the breast and a margin around it; all of an image in which none is found."""
    return replace(state, mask=breast.find_breast(state.image, working_side, contrast, opening, margin).mask)


def reduce(state: State, times: int) -> State:
    """Averages a grey image down to a longest side of ``times`` the asked size; a smaller one stays as it is.

    The mask, of no use from here on, is dropped.
    """
    require_positive_whole(times, "times")
    require_positive_whole(state.size, "size")
    return replace(state, image=operations.shrink(state.image, times * state.size), mask=None)
