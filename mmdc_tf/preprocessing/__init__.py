"""Pixels to pixels, without TensorFlow: pure operations, and recipes that put them in order."""

from __future__ import annotations

from mmdc_tf.preprocessing.recipes import RECIPES, Recipe, get_recipe, recipe_for, stored_recipe
from mmdc_tf.preprocessing.scan_file import PreprocessedScan, preprocess_file, preprocess_scan
from mmdc_tf.preprocessing.steps import State, Step

__all__ = [
    "RECIPES",
    "PreprocessedScan",
    "Recipe",
    "State",
    "Step",
    "get_recipe",
    "preprocess_file",
    "preprocess_scan",
    "recipe_for",
    "stored_recipe",
]
