"""Training on stored features gives the weights of the usual loop, for the families of the paper's own models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from backbone_families import of_the_papers_models

from mmdc_tf.datasets.phantom import phantom_ultrasound
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.inputs.pipeline import InputSettings
from mmdc_tf.models import BACKBONES, ModelSettings, build_model, freeze_through
from mmdc_tf.models.frozen_part import FrozenSplit, split_frozen
from mmdc_tf.training.feature_cache import FeatureCache
from mmdc_tf.training.feature_store import CacheSettings
from mmdc_tf.training.recipe import TrainingRecipe, load_profile
from mmdc_tf.training.trainer import TrainingParts, make_deterministic, train

IMAGES, TRAINING = 36, 28  # the last batch of eight is not full
EPOCHS = 3


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Dataset:
    return phantom_ultrasound(tmp_path_factory.mktemp("phantom") / "data", images=IMAGES, seed=0)


def recipe(size: int) -> TrainingRecipe:
    """The full one on images as they are, with features as they are."""
    given = load_profile("full", image_size=size, epochs=EPOCHS, feature_dtype="float32").recipe
    return replace(given.without_augmentation(), early_stopping_patience=EPOCHS)


def network(backbone: str, size: int) -> tuple[keras.Model, FrozenSplit]:
    """Frozen up to its last cut."""
    keras.utils.clear_session()
    make_deterministic(0)
    model, cut = (
        build_model("backbone_classifier", ModelSettings(size), backbone=backbone),
        BACKBONES[backbone].cuts[-1],
    )
    freeze_through(model, cut)
    split = split_frozen(model, cut)
    assert split is not None
    return model, split


def values(model: keras.Model) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in model.variables]


@pytest.mark.parametrize("backbone", of_the_papers_models())
def test_stored_features_give_the_weights_of_the_usual_loop(backbone: str, phantom: Dataset, tmp_path: Path):
    size = max(32, BACKBONES[backbone].smallest_size)
    model, split = network(backbone, size)
    inputs = InputSettings("ultrasound", size, recipe(size).batch_size, phantom.info.class_names, ("image",))
    parts = TrainingParts(phantom.table[:TRAINING], phantom.table[TRAINING:], inputs)
    initial = values(model)
    train(model, parts, recipe(size), 0, pretrained=True)
    usual = values(model)
    for variable, value in zip(model.variables, initial, strict=True):
        variable.assign(value)
    make_deterministic(0)
    features = FeatureCache(CacheSettings(tmp_path), phantom).open(split, backbone, inputs, recipe(size))
    assert features.kind == "stored"
    train(split.tail, parts, recipe(size), 0, pretrained=True, features=features)
    assert any(np.abs(one - two).max() > 1e-4 for one, two in zip(initial, usual, strict=True))
    for variable, one, two in zip(model.variables, usual, values(model), strict=True):
        assert np.abs(one - two).max() < 1e-5, variable.path
