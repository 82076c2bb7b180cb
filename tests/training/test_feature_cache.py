"""Training on stored features: views, mixing, sharing, and what is done where there is no room."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from mmdc_tf.datasets.phantom import phantom_mammograms, phantom_ultrasound
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.models import ModelSettings, build_model, freeze_through
from mmdc_tf.models.frozen_part import FrozenSplit, split_frozen
from mmdc_tf.training import feature_entry
from mmdc_tf.training.feature_cache import FeatureCache
from mmdc_tf.training.feature_folder import list_entries
from mmdc_tf.training.feature_store import CacheSettings
from mmdc_tf.training.recipe import TrainingRecipe, load_profile
from mmdc_tf.training.trainer import TrainingParts, make_deterministic, train

IMAGES, EPOCHS = 36, 3


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Dataset:
    return phantom_ultrasound(tmp_path_factory.mktemp("phantom") / "data", images=IMAGES, seed=0)


@pytest.fixture(scope="module")
def mammograms(tmp_path_factory) -> Dataset:
    return phantom_mammograms(tmp_path_factory.mktemp("phantom") / "data", patients=9, height=64, seed=1)


def exact(size: int, **changes: object) -> TrainingRecipe:
    """Three epochs of the full recipe on images as they are, with features as they are."""
    given = {"epochs": EPOCHS, "feature_dtype": "float32", "feature_views": 1, "augmentation": {}, **changes}
    return replace(load_profile("full", image_size=size).recipe, **given).without_augmentation()


def fused(backbone: str, seed: int = 0) -> tuple[keras.Model, FrozenSplit]:
    """A small MMDCNet, frozen up to its first pooling."""
    keras.utils.clear_session()
    make_deterministic(seed)
    model = build_model("mmdcnet", ModelSettings(32), backbone=backbone, conv_filters=16, grid=2)
    freeze_through(model, "tiny_pool1")
    split = split_frozen(model, "tiny_pool1")
    assert split is not None
    return model, split


def parts_of(dataset: Dataset, recipe: TrainingRecipe) -> TrainingParts:
    inputs = InputSettings("paper", 32, recipe.batch_size, dataset.info.class_names, ("image", "metadata"))
    return TrainingParts(dataset.table[:28], dataset.table[28:], inputs)


def fit(dataset: Dataset, backbone: str, recipe: TrainingRecipe, cache: CacheSettings | None, say=print, seed=0):
    """The trained model, its history, and where its features came from."""
    model, split = fused(backbone, seed)
    parts = parts_of(dataset, recipe)
    if cache is None:
        return model, train(model, parts, recipe, seed, pretrained=False), None
    features = FeatureCache(cache, dataset, say).open(split, backbone, parts.inputs, recipe)
    return model, train(split.tail, parts, recipe, seed, pretrained=False, features=features), features.kind


def open_features(dataset: Dataset, backbone: str, recipe: TrainingRecipe, cache: CacheSettings, say, seed=0) -> None:
    """As ``fit`` without the training: the features are there before it begins."""
    _, split = fused(backbone, seed)
    FeatureCache(cache, dataset, say).open(split, backbone, parts_of(dataset, recipe).inputs, recipe)


@pytest.fixture(scope="module")
def finished() -> dict:
    """What was trained once for several tests."""
    return {}


@pytest.fixture
def usual_and_stored(finished, mammograms, tiny_backbone, tmp_path_factory):
    """What ``fit`` gives for the usual loop, and for stored features."""
    if not finished:
        finished["usual"] = fit(mammograms, tiny_backbone, exact(32), None)
        finished["stored"] = fit(mammograms, tiny_backbone, exact(32), CacheSettings(tmp_path_factory.mktemp("cache")))
    return finished["usual"], finished["stored"]


def assert_same_weights(one: keras.Model, two: keras.Model, tolerance: float) -> None:
    for first, second in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=tolerance, err_msg=first.path)


def test_metadata_and_their_dropout_are_those_of_the_usual_loop(usual_and_stored):
    (usual, before, _), (stored, after, kind) = usual_and_stored
    assert kind == "stored"
    assert_same_weights(usual, stored, 1e-5)
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_where_there_is_no_room_the_same_is_computed_in_each_step(mammograms, tiny_backbone, tmp_path):
    lines: list[str] = []
    recipe = load_profile("full", image_size=32, epochs=2, feature_views=4, feature_dtype="float32").recipe
    stored, *_ = fit(mammograms, tiny_backbone, recipe, CacheSettings(tmp_path))
    computed, _, kind = fit(
        mammograms, tiny_backbone, recipe, CacheSettings(tmp_path / "other", limit=100), lines.append
    )
    assert kind == "computed"
    assert len(lines) == 1 and lines[0].startswith("note: ") and "computed in every step" in lines[0]
    assert_same_weights(stored, computed, 1e-4)


def test_views_and_mixing_change_what_is_learned_and_one_view_switches_them_off(mammograms, tiny_backbone, tmp_path):
    weights = {}
    for name, changes in {
        "plain": {"feature_views": 1},
        "one view, mixing asked for": {"feature_views": 1, "feature_mixing": 5.0},
        "views": {"feature_views": 4, "feature_mixing": 0.0},
        "views, mixed": {"feature_views": 4, "feature_mixing": 5.0},
    }.items():
        recipe = load_profile("full", image_size=32, epochs=1, **changes).recipe
        model, history, _ = fit(mammograms, tiny_backbone, recipe, CacheSettings(tmp_path))
        assert np.isfinite(history.to_numpy()).all()
        weights[name] = np.concatenate([np.ravel(weight) for weight in model.trainable_weights])
    assert np.array_equal(weights["plain"], weights["one view, mixing asked for"])
    assert not np.allclose(weights["plain"], weights["views"], atol=1e-6)
    assert not np.allclose(weights["views"], weights["views, mixed"], atol=1e-6)


def test_features_are_computed_once_and_shared(mammograms, tiny_backbone, tmp_path):
    lines: list[str] = []
    cache = CacheSettings(tmp_path)
    first = load_profile("full", image_size=32, epochs=1, feature_views=2).recipe
    open_features(mammograms, tiny_backbone, first, cache, lines.append)
    assert len(lines) == 1 and "2 views of" in lines[0]
    open_features(mammograms, tiny_backbone, replace(first, learning_rate_random=1e-3), cache, lines.append)
    assert len(lines) == 1  # another training with the same frozen weights
    assert len(list_entries(tmp_path)) == 2
    open_features(mammograms, tiny_backbone, replace(first, feature_views=4), cache, lines.append)
    assert len(list_entries(tmp_path)) == 4  # the two that were there, and two more
    open_features(mammograms, tiny_backbone, first, cache, lines.append, seed=1)
    assert len(list_entries(tmp_path)) == 6  # other random weights give other features


def test_a_limit_evicts_what_this_process_used_before(mammograms, tiny_backbone, tmp_path):
    one_view = 36 * 16 * 16 * 4 * 4  # images × the first pooling's map × bytes of float32
    cache = FeatureCache(CacheSettings(tmp_path, limit=one_view), mammograms)
    for seed in (0, 1):
        _, split = fused(tiny_backbone, seed)
        inputs = parts_of(mammograms, exact(32)).inputs
        assert cache.open(split, tiny_backbone, inputs, exact(32)).kind == "stored"
    assert len(list_entries(tmp_path)) == 1


def test_a_damaged_part_is_said_and_redone(mammograms, tiny_backbone, tmp_path, monkeypatch):
    lines: list[str] = []
    recipe, cache = exact(32), CacheSettings(tmp_path)
    whole, *_ = fit(mammograms, tiny_backbone, recipe, cache)
    file = max(tmp_path.rglob("*.bin"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[100] ^= 0xFF
    file.write_bytes(content)
    monkeypatch.setattr(feature_entry, "_verified", {})  # as in a new process, which has verified nothing yet
    again, *_ = fit(mammograms, tiny_backbone, recipe, cache, lines.append)
    assert any("1 damaged part" in line for line in lines)
    assert_same_weights(whole, again, 0.0)


def test_the_saved_model_is_whole_and_that_of_the_usual_loop(mammograms, usual_and_stored, tmp_path):
    models = []
    for name, (model, *_) in zip(("usual", "stored"), usual_and_stored, strict=True):
        keras.Model(model.input, model.output, name=model.name).save(tmp_path / f"{name}.keras")
        models.append(keras.models.load_model(tmp_path / f"{name}.keras"))
    usual, stored = models
    assert usual.get_config() == stored.get_config()
    batches = evaluation_dataset(mammograms.table, parts_of(mammograms, exact(32)).inputs)
    np.testing.assert_allclose(usual.predict(batches, verbose=0), stored.predict(batches, verbose=0), atol=1e-5)
