"""Pixels to pixels, without TensorFlow: pure operations, and recipes that put them in order."""

from __future__ import annotations

from mmdc_tf.preprocessing.recipes import RECIPES, Recipe, default_recipe, get_recipe
from mmdc_tf.preprocessing.steps import State, Step

__all__ = ["RECIPES", "Recipe", "State", "Step", "default_recipe", "get_recipe"]
