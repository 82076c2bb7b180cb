"""Training on stored features: the weights of the usual loop; views, mixing, sharing, and what is done without room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from backbone_families import of_the_papers_models

from mmdc_tf.datasets.phantom import phantom_mammograms, phantom_ultrasound
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.inputs.pipeline import InputSettings
from mmdc_tf.models import BACKBONES, MODELS, ModelSettings, build_model, freeze_through
from mmdc_tf.models.frozen_part import FrozenSplit, split_frozen
from mmdc_tf.training import feature_cache
from mmdc_tf.training.feature_cache import FeatureCache
from mmdc_tf.training.feature_store import CacheSettings, list_entries
from mmdc_tf.training.recipe import TrainingRecipe, load_profile
from mmdc_tf.training.trainer import TrainingParts, make_deterministic, train

IMAGES, TRAINING, EPOCHS = 36, 28, 3  # the last batch of eight is not full


@pytest.fixture(scope="module")
def ultrasound(tmp_path_factory) -> Dataset:
    return phantom_ultrasound(tmp_path_factory.mktemp("phantom") / "data", images=IMAGES, seed=0)


@pytest.fixture(scope="module")
def mammograms(tmp_path_factory) -> Dataset:
    return phantom_mammograms(tmp_path_factory.mktemp("phantom") / "data", patients=9, height=64, seed=1)


def recipe(size: int = 32, **changes: object) -> TrainingRecipe:
    return load_profile("full", image_size=size, **changes).recipe


def network(name: str, backbone: str, size: int, seed: int = 0) -> tuple[keras.Model, FrozenSplit]:
    """Frozen up to its backbone's last cut."""
    keras.utils.clear_session()
    make_deterministic(seed)
    arguments = {"conv_filters": 16, "grid": 2} if name == "mmdcnet" else {}
    model, cut = build_model(name, ModelSettings(size), backbone=backbone, **arguments), BACKBONES[backbone].cuts[-1]
    freeze_through(model, cut)
    split = split_frozen(model, cut)
    assert split is not None
    return model, split


def parts_of(dataset: Dataset, name: str, given: TrainingRecipe) -> TrainingParts:
    inputs = InputSettings("plain", given.image_size, given.batch_size, dataset.info.class_names, MODELS[name].inputs)
    return TrainingParts(dataset.table[:TRAINING], dataset.table[TRAINING:], inputs)


def fit(dataset: Dataset, name: str, backbone: str, given: TrainingRecipe, cache: CacheSettings | None, say=print):
    """The trained model, its history, and where its features came from; without a cache by the usual loop."""
    model, split = network(name, backbone, given.image_size)
    parts = parts_of(dataset, name, given)
    if cache is None:
        return model, train(model, parts, given, 0, pretrained=True), None
    features = FeatureCache(cache, dataset, say).open(split, backbone, parts.inputs, given)
    return model, train(split.tail, parts, given, 0, pretrained=True, features=features), features.kind


def assert_same_weights(one: keras.Model, two: keras.Model, tolerance: float) -> None:
    for first, second in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=tolerance, err_msg=first.path)


# --- exactness ---


@pytest.mark.parametrize(
    ("name", "backbone"), [("backbone_classifier", backbone) for backbone in of_the_papers_models()]
)
def test_stored_features_give_the_weights_of_the_usual_loop(name, backbone, ultrasound, tmp_path, monkeypatch):
    assert_exact(ultrasound, name, backbone, max(32, BACKBONES[backbone].smallest_size), tmp_path, monkeypatch)


def test_so_they_do_with_metadata_that_are_dropped(tiny_backbone, mammograms, tmp_path, monkeypatch):
    stored = assert_exact(mammograms, "mmdcnet", tiny_backbone, 32, tmp_path, monkeypatch)
    keras.Model(stored.input, stored.output, name=stored.name).save(tmp_path / "whole.keras")
    loaded = keras.models.load_model(tmp_path / "whole.keras")
    assert [tensor.name for tensor in loaded.inputs] == ["image", "metadata"]
    assert_same_weights(loaded, stored, 0.0)


def assert_exact(dataset: Dataset, name: str, backbone: str, size: int, folder: Path, monkeypatch) -> keras.Model:
    """Images as they are, and features as they are: float16 would round them."""
    monkeypatch.setattr(feature_cache, "DTYPE", "float32")
    given = recipe(size, epochs=EPOCHS, early_stopping_patience=EPOCHS).without_augmentation()
    usual, history, _ = fit(dataset, name, backbone, given, None)
    before = network(name, backbone, size)[0]
    assert max(np.abs(one - two).max() for one, two in zip(before.weights, usual.weights, strict=True)) > 1e-4
    stored, found, kind = fit(dataset, name, backbone, given, CacheSettings(folder / "features"))
    assert kind == "stored"
    assert_same_weights(usual, stored, 1e-5)
    np.testing.assert_allclose(found, history, atol=1e-5)
    return stored


# --- views, mixing, room ---


def test_where_there_is_no_room_the_same_is_computed_in_each_step(mammograms, tiny_backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "DTYPE", "float32")
    given, lines = recipe(epochs=2, feature_views=4), []
    stored, *_ = fit(mammograms, "mmdcnet", tiny_backbone, given, CacheSettings(tmp_path))
    full = CacheSettings(tmp_path / "other", limit=100)
    computed, _, kind = fit(mammograms, "mmdcnet", tiny_backbone, given, full, lines.append)
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
        given = recipe(epochs=1, **changes)
        model, history, _ = fit(mammograms, "mmdcnet", tiny_backbone, given, CacheSettings(tmp_path))
        assert np.isfinite(history.to_numpy()).all()
        weights[name] = np.concatenate([np.ravel(weight) for weight in model.trainable_weights])
    assert np.array_equal(weights["plain"], weights["one view, mixing asked for"])
    assert not np.allclose(weights["plain"], weights["views"], atol=1e-6)
    assert not np.allclose(weights["views"], weights["views, mixed"], atol=1e-6)


def test_features_are_computed_once_and_shared(mammograms, tiny_backbone, tmp_path):
    lines: list[str] = []

    def entries_after(given: TrainingRecipe, seed: int = 0) -> int:
        _, split = network("mmdcnet", tiny_backbone, 32, seed)
        cache = FeatureCache(CacheSettings(tmp_path), mammograms, lines.append)
        assert cache.open(split, tiny_backbone, parts_of(mammograms, "mmdcnet", given).inputs, given).kind == "stored"
        return len(list_entries(tmp_path))

    first = recipe(feature_views=2)
    assert entries_after(first) == 2
    assert len(lines) == 1 and "2 views of 36 images, stored in" in lines[0]
    assert entries_after(replace(first, learning_rate_random=1e-3)) == 2
    assert len(lines) == 1  # another training with the same frozen weights
    assert entries_after(replace(first, feature_views=4)) == 4  # the two that were there, and two more
    assert entries_after(first, seed=1) == 6  # other random weights give other features


def test_a_limit_evicts_what_this_process_used_before(mammograms, tiny_backbone, tmp_path):
    given = recipe(feature_views=1)
    one_view = 36 * 16 * 16 * 4 * 2  # images × the first pooling's map × bytes of float16
    cache = FeatureCache(CacheSettings(tmp_path, limit=one_view), mammograms)
    for seed in (0, 1):
        _, split = network("mmdcnet", tiny_backbone, 32, seed)
        inputs = parts_of(mammograms, "mmdcnet", given).inputs
        assert cache.open(split, tiny_backbone, inputs, given).kind == "stored"
    assert len(list_entries(tmp_path)) == 1
