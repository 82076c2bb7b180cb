"""Batches of frozen features: in the usual order, views drawn anew, samples mixed; stored and computed are the same."""

from __future__ import annotations

from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import tensorflow as tf

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError
from mmdc_tf.inputs.augmentation import Augmentation
from mmdc_tf.inputs.features import (
    FrozenFeatures,
    computed_evaluation_dataset,
    computed_training_dataset,
    feature_evaluation_dataset,
    feature_training_dataset,
)
from mmdc_tf.inputs.fixed_views import fixed_views
from mmdc_tf.inputs.pipeline import InputSettings, training_dataset
from mmdc_tf.preprocessing import steps
from mmdc_tf.preprocessing.recipes import RECIPES, Recipe
from mmdc_tf.preprocessing.scan_file import preprocess_file
from mmdc_tf.preprocessing.steps import Step

SIZE = 8
COUNT = 23
CLASSES = ("benign", "cancer", "normal")
NAN = float("nan")
Batches = list[tuple]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe that only resizes."""
    recipe = Recipe("plain", "resize", "test", (Step("resize", steps.resize),))
    monkeypatch.setitem(RECIPES, recipe.name, recipe)
    return recipe


def settings(batch_size: int = 5, inputs: tuple[str, ...] = ("image", "metadata")) -> InputSettings:
    return InputSettings("plain", SIZE, batch_size, CLASSES, inputs)


def a_table(count: int = COUNT) -> pd.DataFrame:
    """Sample i is called s<i>, of class i modulo 3, aged 30 + i; every fourth density is unknown."""
    numbers = np.arange(count)
    return pd.DataFrame(
        {
            "sample_id": [f"s{number}" for number in numbers],
            "image_path": "",
            "label": [CLASSES[number % 3] for number in numbers],
            "age": 30.0 + numbers,
            "density": np.where(numbers % 4 == 0, NAN, 1 + numbers % 4),
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """With images, of which the first pixel tells the sample."""
    paths = []
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        pixels[0, 0] = 10 * number
        paths.append(str(tmp_path / f"{number}.png"))
        assert cv2.imwrite(paths[-1], pixels)
    return a_table().assign(image_path=paths)


def features_of(values: np.ndarray, views: int = 1) -> FrozenFeatures:
    """For sample i the row ``values[i]``, view v a thousand v above; stored in reverse order."""
    arrays = tuple((values[::-1] + 1000.0 * view).astype(values.dtype) for view in range(views))
    rows = {f"s{number}": len(values) - 1 - number for number in range(len(values))}
    return FrozenFeatures(tuple((array,) for array in arrays), rows)


def telling(count: int = COUNT, views: int = 1) -> FrozenFeatures:
    """Features (2, 3, 1) that are the sample's number everywhere, plus a thousand for each view."""
    numbers = np.arange(count, dtype=np.float32)
    return features_of(np.broadcast_to(numbers[:, None, None, None], (count, 2, 3, 1)), views)


def epochs(dataset: tf.data.Dataset, count: int = 2) -> list[Batches]:
    return [list(dataset.as_numpy_iterator()) for _ in range(count)]


def whole(batches: Batches, name: str = "features0") -> np.ndarray:
    return np.concatenate([batch[0][name] for batch in batches])


def samples_and_views(batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    values = whole(batches)[:, 0, 0, 0].astype(int)
    return values % 1000, values // 1000


def assert_same(one: Batches, other: Batches) -> None:
    for left, right in zip(one, other, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_order_metadata_and_labels_are_those_of_the_usual_batches(table, dropout):
    usual = epochs(training_dataset(table, settings(), Augmentation(), 3, dropout))
    still = epochs(training_dataset(table, settings(), None, 3, dropout))
    stored = epochs(feature_training_dataset(table, telling(views=3), settings(), 3, dropout))
    for moved, unmoved, found in zip(usual, still, stored, strict=True):
        samples, _ = samples_and_views(found)
        np.testing.assert_array_equal(samples, whole(unmoved, "image")[:, 0, 0, 0] / 10)
        for left, middle, right in zip(moved, unmoved, found, strict=True):
            np.testing.assert_array_equal(left[0]["metadata"], right[0]["metadata"])
            np.testing.assert_array_equal(middle[0]["metadata"], right[0]["metadata"])
            np.testing.assert_array_equal(left[1], right[1])
    assert (samples_and_views(stored[0])[0] != samples_and_views(stored[1])[0]).any()


def test_evaluation_is_in_the_order_of_the_table_and_of_the_first_view():
    reordered = a_table().iloc[::-1][3:]
    batches = epochs(feature_evaluation_dataset(reordered, telling(views=3), settings()), 1)[0]
    samples, views = samples_and_views(batches)
    np.testing.assert_array_equal(samples, np.arange(COUNT)[::-1][3:])
    assert (views == 0).all()
    np.testing.assert_array_equal(whole(batches, "metadata")[:, 0], reordered["age"])
    np.testing.assert_array_equal(np.concatenate([label for _, label in batches]).argmax(1), samples % 3)


def test_each_view_is_drawn_as_often_and_anew_in_every_epoch():
    first, second = epochs(feature_training_dataset(a_table(600), telling(600, 4), settings(), 0))
    drawn = []
    for batches in (first, second):
        samples, views = samples_and_views(batches)
        assert scipy.stats.chisquare(np.bincount(views, minlength=4)).pvalue > 1e-3
        drawn.append(views[np.argsort(samples)])
    # two independent draws of 4 agree in a quarter of the samples
    assert abs((drawn[0] == drawn[1]).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 600)


def test_the_seed_decides_everything():
    def drawn(seed: int) -> list[Batches]:
        return epochs(feature_training_dataset(a_table(), telling(views=4), settings(), seed, 0.3, 0.5, {0: 2.0}))

    for one, again in zip(drawn(1), drawn(1), strict=True):
        assert_same(one, again)
    assert (whole(drawn(1)[0]) != whole(drawn(2)[0])).any()


def test_views_neither_change_the_order_nor_what_is_dropped():
    one, several = (feature_training_dataset(a_table(), telling(views=k), settings(), 5, 0.5) for k in (1, 4))
    for left, right in zip(epochs(one), epochs(several), strict=True):
        np.testing.assert_array_equal(samples_and_views(left)[0], samples_and_views(right)[0])
        np.testing.assert_array_equal(whole(left, "metadata"), whole(right, "metadata"))


def test_one_view_without_mixing_gives_the_stored_features():
    values = np.random.default_rng(0).normal(size=(COUNT, 2, 2, 3)).astype(np.float32)
    batches = epochs(feature_training_dataset(a_table(), features_of(values), settings(), 0), 1)[0]
    samples = whole(batches, "metadata")[:, 0].astype(int) - 30
    assert sorted(samples) == list(range(COUNT))
    np.testing.assert_array_equal(whole(batches), values[samples])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_stored_numbers_of_every_precision_come_as_they_are_from_a_mapped_file(tmp_path, dtype):
    values = np.random.default_rng(0).normal(size=(COUNT, 2, 2, 3)).astype(dtype)
    values.tofile(tmp_path / "features")
    mapped = np.memmap(tmp_path / "features", dtype=dtype, mode="r", shape=values.shape)
    features = FrozenFeatures(((mapped, mapped[:, 0]),), {f"s{number}": number for number in range(COUNT)})
    dataset = feature_evaluation_dataset(a_table(), features, settings())
    assert dataset.element_spec[0]["features0"] == tf.TensorSpec((None, 2, 2, 3), tf.float32)
    assert dataset.element_spec[0]["features1"] == tf.TensorSpec((None, 2, 3), tf.float32)
    batches = list(dataset.as_numpy_iterator())
    np.testing.assert_array_equal(whole(batches), values.astype(np.float32))
    np.testing.assert_array_equal(whole(batches, "features1"), values[:, 0].astype(np.float32))


def test_shapes_and_the_number_of_batches_are_known():
    dataset = feature_training_dataset(a_table(), telling(), settings(), 0, 0.1, 0.5, {0: 2.0})
    tensors, label, weight = dataset.element_spec
    assert tensors["features0"] == tf.TensorSpec((None, 2, 3, 1), tf.float32)
    assert tensors["metadata"] == tf.TensorSpec((None, 2), tf.float32)
    assert label == tf.TensorSpec((None, 3), tf.float32)
    assert weight == tf.TensorSpec((None,), tf.float32)
    assert len(dataset) == 5  # 4 · 5 + 3
    only_images = feature_training_dataset(a_table(), telling(), settings(inputs=("image",)), 0, 0.1, 0.5)
    assert set(only_images.element_spec[0]) == {"features0"}


def mixed_and_unmixed(table: pd.DataFrame, seed: int) -> list[tuple[tuple, tuple]]:
    """The batches of two epochs; features of sample i are row i of the unit matrix, and so tell the shares."""
    features = features_of(np.eye(len(table), dtype=np.float32)[:, None, None, :])
    mixed, unmixed = (
        epochs(feature_training_dataset(table, features, settings(), seed, mixing=mixing)) for mixing in (1.0, 0.0)
    )
    return [pair for one, other in zip(mixed, unmixed, strict=True) for pair in zip(one, other, strict=True)]


def test_features_and_labels_are_mixed_with_one_share_a_batch_among_its_samples():
    shares_seen, partners_seen = set(), set()
    for (tensors, label), (unmixed, unmixed_label) in mixed_and_unmixed(a_table(), seed=2):
        shares = tensors["features0"][:, 0, 0] @ unmixed["features0"][:, 0, 0].T  # of each of the batch's samples
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(shares.sum(axis=0), 1, rtol=1e-5)  # each is the partner of one
        np.testing.assert_allclose(label, shares @ unmixed_label, atol=1e-6)
        np.testing.assert_allclose(label.sum(axis=1), 1, rtol=1e-5)
        own = np.diag(shares)[np.diag(shares) < 1]
        assert np.ptp(own) < 1e-6
        shares_seen.add(float(own[0]))
        partners_seen.add((shares > 0).tobytes())
    assert len(shares_seen) == 10  # every batch of both epochs
    assert len(partners_seen) > 5


def test_metadata_is_mixed_where_known_and_else_that_of_the_larger_share():
    unknown = 0
    for (tensors, _), (unmixed, _) in mixed_and_unmixed(a_table(), seed=4):
        shares = tensors["features0"][:, 0, 0] @ unmixed["features0"][:, 0, 0].T
        for row, share in zip(tensors["metadata"], shares, strict=True):
            partners = np.flatnonzero(share)
            of_both = unmixed["metadata"][partners]
            expected = share[partners] @ of_both
            larger = of_both[np.argmax(share[partners])]
            np.testing.assert_allclose(row, np.where(np.isnan(expected), larger, expected), rtol=1e-5)
            unknown += np.isnan(expected).sum()
    assert unknown > 10


def pooled(images: tf.Tensor) -> list[tf.Tensor]:
    return [tf.nn.avg_pool2d(images, 2, 2, "VALID"), tf.reduce_max(images, axis=(1, 2), keepdims=True)]


def test_stored_and_computed_batches_are_the_same(table, plain):
    views = fixed_views(4, Augmentation(rotation=10.0, brightness=20.0))
    pixels = [preprocess_file(path, plain, SIZE) for path in table["image_path"]]
    arrays = tuple(
        tuple(output.numpy() for output in pooled(np.stack([view(image) for image in pixels]).astype(np.float32)))
        for view in views
    )
    features = FrozenFeatures(arrays, {f"s{number}": number for number in range(COUNT)})
    draws = {"seed": 6, "metadata_dropout": 0.3, "mixing": 0.4, "class_weights": {0: 0.5, 1: 1.0, 2: 3.0}}
    stored = epochs(feature_training_dataset(table, features, settings(), **draws))
    computed = epochs(computed_training_dataset(table, settings(), views, pooled, **draws))
    for one, other in zip(stored, computed, strict=True):
        assert_same(one, other)
    stored = epochs(feature_evaluation_dataset(table, features, settings()))
    for one, other in zip(stored, epochs(computed_evaluation_dataset(table, settings(), pooled)), strict=True):
        assert_same(one, other)


def test_a_keras_model_is_a_frozen_part(table):
    image = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(image, [keras.layers.Conv2D(4, 3)(image), keras.layers.Conv2D(2, 1, strides=2)(image)])
    single = computed_evaluation_dataset(table, settings(), keras.Model(image, model.outputs[:1]))
    assert single.element_spec[0]["features0"] == tf.TensorSpec((None, 6, 6, 4), tf.float32)
    dataset = computed_evaluation_dataset(table, settings(), model)
    assert dataset.element_spec[0]["features1"] == tf.TensorSpec((None, 4, 4, 2), tf.float32)
    usual = training_dataset(table, settings(COUNT), None, seed=0)
    images, metadata = next((tensors["image"], tensors["metadata"]) for tensors, _ in usual)
    expected = keras.ops.convert_to_numpy(model(images)[1])
    found = whole(list(dataset.as_numpy_iterator()), "features1")
    np.testing.assert_allclose(found[metadata[:, 0].numpy().astype(int) - 30], expected, rtol=1e-4, atol=1e-2)


def test_a_sample_without_features_is_named():
    with pytest.raises(DatasetError, match="Received: sample_id='s23'"):
        feature_training_dataset(a_table(COUNT + 1), telling(COUNT), settings(), 0)
    with pytest.raises(DatasetError, match="Received: sample_id='s23'"):
        feature_evaluation_dataset(a_table(COUNT + 1), telling(COUNT), settings())


@pytest.mark.parametrize("inputs", [("metadata",), ("image", "other_view", "metadata")])
def test_other_inputs_than_one_image_and_metadata_are_refused(inputs):
    with pytest.raises(ConfigurationError, match="Expected inputs of one image"):
        feature_training_dataset(a_table(), telling(), settings(inputs=inputs), 0)
    with pytest.raises(ConfigurationError, match="Expected inputs of one image"):
        computed_evaluation_dataset(a_table(), settings(inputs=inputs), pooled)
