"""The training recipe: both profiles, what replaces their values, and values that cannot be."""

from __future__ import annotations

import dataclasses

import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.inputs.augmentation import Augmentation
from mmdc_tf.training.recipe import load_profile


def test_full_is_the_papers_image_size_and_five_folds():
    # Sections II-A (224 × 224) of the paper; the design's five folds.
    profile = load_profile("full")
    assert (profile.name, profile.recipe.image_size, profile.folds) == ("full", 224, 5)


def test_quick_is_smaller_than_full():
    quick, full = load_profile("quick"), load_profile("full")
    assert quick.folds < full.folds
    assert quick.recipe.image_size < full.recipe.image_size
    assert quick.recipe.epochs < full.recipe.epochs
    assert quick.recipe.learning_rate == full.recipe.learning_rate


@pytest.mark.parametrize("name", ["quick", "full"])
def test_profiles_hold_what_training_needs(name):
    recipe = load_profile(name).recipe
    assert recipe.learning_rate < recipe.learning_rate_random
    assert recipe.class_weights is True
    assert recipe.monitor == "val_accuracy"
    assert 0 < recipe.metadata_dropout < 0.5
    augmentation = Augmentation(**recipe.augmentation)
    assert augmentation.mirror
    assert augmentation.shift > 0
    still = recipe.without_augmentation()
    assert (still.augmentation, still.feature_views) == (None, 1)


def test_overrides_replace_and_none_keeps():
    profile = load_profile("quick", image_size=112, epochs=25, folds=3, batch_size=None)
    kept = load_profile("quick")
    assert (profile.recipe.image_size, profile.recipe.epochs, profile.folds) == (112, 25, 3)
    replaced = dataclasses.replace(profile.recipe, image_size=kept.recipe.image_size, epochs=kept.recipe.epochs)
    assert replaced == kept.recipe


def test_unknown_names_raise():
    with pytest.raises(ConfigurationError, match=r"full, quick\. Received: profile='fast'"):
        load_profile("fast")
    with pytest.raises(ConfigurationError, match=r"Received: learning_rat=0\.1"):
        load_profile("quick", learning_rat=0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 0),
        ("epochs", 0),
        ("batch_size", -1),
        ("learning_rate", float("nan")),
        ("learning_rate_random", -1e-3),
        ("warmup_share", 1.0),
        ("clip_norm", 0.0),
        ("label_smoothing", 1.0),
        ("metadata_dropout", 1.0),
        ("early_stopping_patience", 0),
        ("feature_views", 0),
        ("feature_mixing", -0.1),
        ("monitor", "accuracy"),
    ],
)
def test_values_out_of_range_raise(field, value):
    with pytest.raises(ConfigurationError, match=f"Expected {field} .*Received: {field}="):
        load_profile("quick", **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 1), ("warmup_share", 0.0), ("label_smoothing", 0.0), ("monitor", "val_loss")],
)
def test_values_at_the_edge_are_taken(field, value):
    assert getattr(load_profile("quick", **{field: value}).recipe, field) == value
