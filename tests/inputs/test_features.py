"""Batches of frozen features: in the usual order, views drawn anew, samples mixed; stored and computed are the same."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import tensorflow as tf

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError
from mmdc_tf.inputs.augmentation import Augmentation, FixedView, fixed_views
from mmdc_tf.inputs.features import ComputedFeatures, StoredFeatures, with_mixing, with_sample_weights
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset, training_dataset

SIZE = 8
COUNT = 23
CLASSES = ("benign", "cancer", "normal")
NAN = float("nan")
Batches = list[tuple]


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
    """With images."""
    paths = [str(tmp_path / f"{number}.png") for number in range(COUNT)]
    for number, path in enumerate(paths):
        assert cv2.imwrite(path, np.random.default_rng(number).integers(0, 256, (SIZE, SIZE), np.uint8))
    return a_table().assign(image_path=paths)


def features_of(values: np.ndarray, views: int = 1, mixing: float = 0.0) -> StoredFeatures:
    """For sample i the row ``values[i]``, view v a thousand v above; stored in reverse order."""
    arrays = [[(values[::-1] + 1000.0 * view).astype(values.dtype)] for view in range(views)]
    return StoredFeatures(arrays, {f"s{number}": len(values) - 1 - number for number in range(len(values))}, mixing)


def telling(count: int = COUNT, views: int = 1, mixing: float = 0.0) -> StoredFeatures:
    """Features (2, 3, 1) that are the sample's number everywhere, plus a thousand for each view."""
    numbers = np.arange(count, dtype=np.float32)
    return features_of(np.broadcast_to(numbers[:, None, None, None], (count, 2, 3, 1)), views, mixing)


def epochs(dataset: tf.data.Dataset, count: int = 2) -> list[Batches]:
    return [list(dataset.as_numpy_iterator()) for _ in range(count)]


def whole(batches: Batches, name: str = "features0") -> np.ndarray:
    return np.concatenate([batch[0][name] for batch in batches])


def samples_and_views(batches: Batches) -> tuple[np.ndarray, np.ndarray]:
    values = whole(batches)[:, 0, 0, 0].astype(int)
    return values % 1000, values // 1000


def assert_same(one: list[Batches], other: list[Batches]) -> None:
    tf.nest.map_structure(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_order_metadata_and_labels_are_those_of_the_usual_batches(table, dropout):
    usual = epochs(training_dataset(table, settings(), Augmentation(), 3, dropout))
    stored = epochs(telling(views=3).training(table, settings(), 3, dropout))
    for left, right in zip(chain(*usual), chain(*stored), strict=True):
        np.testing.assert_array_equal(left[0]["metadata"], right[0]["metadata"])
        np.testing.assert_array_equal(left[1], right[1])
    for batches in stored:
        known = ~np.isnan(ages := whole(batches, "metadata")[:, 0])
        np.testing.assert_array_equal(samples_and_views(batches)[0][known], ages[known] - 30)
    assert (samples_and_views(stored[0])[0] != samples_and_views(stored[1])[0]).any()


def test_evaluation_is_in_the_order_of_the_table_and_of_the_first_view():
    reordered = a_table().iloc[::-1][3:]
    batches = epochs(telling(views=3).evaluation(reordered, settings()), 1)[0]
    samples, views = samples_and_views(batches)
    np.testing.assert_array_equal(samples, np.arange(COUNT)[::-1][3:])
    assert (views == 0).all()
    np.testing.assert_array_equal(whole(batches, "metadata")[:, 0], reordered["age"])
    np.testing.assert_array_equal(np.concatenate([label for _, label in batches]).argmax(1), samples % 3)


def test_each_view_is_drawn_as_often_and_anew_in_every_epoch():
    drawn = []
    for batches in epochs(telling(600, 4).training(a_table(600), settings(), 0)):
        samples, views = samples_and_views(batches)
        assert scipy.stats.chisquare(np.bincount(views, minlength=4)).pvalue > 1e-3
        drawn.append(views[np.argsort(samples)])
    # two independent draws of 4 agree in a quarter of the samples
    assert abs((drawn[0] == drawn[1]).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 600)


def test_the_seed_decides_everything():
    def drawn(seed: int) -> list[Batches]:
        return epochs(telling(views=4, mixing=0.5).training(a_table(), settings(), seed, 0.3, {0: 2.0}))

    first = drawn(1)
    assert_same(first, drawn(1))
    assert (whole(first[0]) != whole(drawn(2)[0])).any()


def test_stored_numbers_come_as_they_are_from_a_mapped_file(tmp_path):
    values = np.random.default_rng(0).normal(size=(COUNT, 2, 2, 3)).astype(np.float16)
    np.save(tmp_path / "features.npy", values)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    features = StoredFeatures([[mapped, mapped[:, 0]]], {f"s{number}": number for number in range(COUNT)})
    dataset = features.evaluation(a_table(), settings())
    batches = list(dataset.as_numpy_iterator())
    np.testing.assert_array_equal(whole(batches), values.astype(np.float32))
    np.testing.assert_array_equal(whole(batches, "features1"), values[:, 0].astype(np.float32))
    (tensors, label), weight = dataset.element_spec, tf.TensorSpec((None,), tf.float32)
    assert tensors["features1"] == tf.TensorSpec((None, 2, 3), tf.float32)
    training = features.training(a_table(), settings(), 0, weights={0: 2.0})
    assert training.element_spec == (tensors, label, weight)
    assert len(training) == 5  # 4 · 5 + 3


# --- mixing ---


def mixed_and_unmixed(seed: int) -> list[tuple[tuple, tuple]]:
    """The batches of two epochs; features of sample i are row i of the unit matrix, and so tell the shares."""
    values = np.eye(COUNT, dtype=np.float32)[:, None, None, :]
    mixed, unmixed = (
        epochs(features_of(values, mixing=mixing).training(a_table(), settings(), seed)) for mixing in (1.0, 0.0)
    )
    return list(zip(chain(*mixed), chain(*unmixed), strict=True))


def test_features_and_labels_are_mixed_with_one_share_a_batch_among_its_samples():
    shares_seen, partners_seen = set(), set()
    for (tensors, label), (unmixed, unmixed_label) in mixed_and_unmixed(seed=2):
        shares = tensors["features0"][:, 0, 0] @ unmixed["features0"][:, 0, 0].T  # of each of the batch's samples
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(shares.sum(axis=0), 1, rtol=1e-5)  # each is the partner of one
        np.testing.assert_allclose(label, shares @ unmixed_label, atol=1e-6)
        own = np.diag(shares)[np.diag(shares) < 1]
        assert np.ptp(own) < 1e-6
        shares_seen.add(float(own[0]))
        partners_seen.add((shares > 0).tobytes())
    assert len(shares_seen) == 10  # every batch of both epochs
    assert len(partners_seen) > 5


def test_metadata_is_mixed_where_known_and_else_that_of_the_larger_share():
    unknown = 0
    for (tensors, _), (unmixed, _) in mixed_and_unmixed(seed=4):
        shares = tensors["features0"][:, 0, 0] @ unmixed["features0"][:, 0, 0].T
        for row, share in zip(tensors["metadata"], shares, strict=True):
            partners = np.flatnonzero(share)
            of_both = unmixed["metadata"][partners]
            expected = share[partners] @ of_both
            larger = of_both[np.argmax(share[partners])]
            np.testing.assert_allclose(row, np.where(np.isnan(expected), larger, expected), rtol=1e-5)
            unknown += np.isnan(expected).sum()
    assert unknown > 10


@pytest.mark.parametrize("alpha", [0.01, 2.0])
def test_shares_are_of_the_beta_distribution(alpha):
    dataset = with_mixing(tf.data.Dataset.from_tensors(({"features0": tf.eye(8)}, tf.eye(8))).repeat(1000), alpha, 0)
    labels = np.stack([label for _, label in dataset.as_numpy_iterator()])
    np.testing.assert_allclose(labels.sum(axis=2), 1)
    # λ stands on the diagonal of all that are not their own partner
    shares = labels.diagonal(axis1=1, axis2=2).min(axis=1)
    inner = (shares > 1e-6) & (shares < 1 - 1e-6)  # a small α gives shares nearer to 0 or 1 than float32 can say
    beta = scipy.stats.beta(alpha, alpha)
    low, high = beta.cdf(1e-6), beta.cdf(1 - 1e-6)
    assert scipy.stats.kstest((beta.cdf(shares[inner]) - low) / (high - low), "uniform").pvalue > 1e-3
    assert abs(inner.mean() - (high - low)) < 4 * np.sqrt(0.25 / 1000)


def test_a_sample_weighs_the_mean_of_its_classes_by_their_shares():
    label = tf.constant([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.5, 0.5]])
    _, same, weights = next(iter(with_sample_weights(tf.data.Dataset.from_tensors(({}, label)), {0: 2.0, 1: 0.5})))
    np.testing.assert_array_equal(same, label)
    # 2; 0.25 · 2 + 0.75 · 0.5; 0.5 · 0.5 + 0.5 · 1, as a class without a weight weighs 1
    np.testing.assert_allclose(weights, [2.0, 0.875, 0.75])


# --- computed ---


def pooled(images: tf.Tensor) -> list[tf.Tensor]:
    return [tf.nn.avg_pool2d(images, 2, 2, "VALID"), tf.reduce_max(images, axis=(1, 2), keepdims=True)]


def test_stored_and_computed_batches_are_the_same(table):
    views = fixed_views(4, Augmentation(rotation=10.0, brightness=20.0))
    pixels = whole(list(evaluation_dataset(table, settings()).as_numpy_iterator()), "image").astype(np.uint8)
    arrays = [
        [output.numpy() for output in pooled(np.stack([view(image) for image in pixels]).astype(np.float32))]
        for view in views
    ]
    stored = StoredFeatures(arrays, {f"s{number}": number for number in range(COUNT)}, mixing=0.4)
    computed = ComputedFeatures(views, pooled, mixing=0.4)
    weights = {0: 0.5, 1: 1.0, 2: 3.0}
    assert_same(*(epochs(features.training(table, settings(), 6, 0.3, weights)) for features in (stored, computed)))
    assert_same(*(epochs(features.evaluation(table, settings())) for features in (stored, computed)))


# --- what is refused ---


def test_a_sample_without_features_is_named():
    for given in (telling(COUNT).training, telling(COUNT).evaluation):
        with pytest.raises(DatasetError, match="Received: sample_id='s23'"):
            given(a_table(COUNT + 1), settings(), *([0] if given.__name__ == "training" else []))


@pytest.mark.parametrize("inputs", [("metadata",), ("image", "other_view", "metadata")])
def test_other_inputs_than_one_image_and_metadata_are_refused(inputs):
    with pytest.raises(ConfigurationError, match="Expected inputs of one image"):
        telling().training(a_table(), settings(inputs=inputs), 0)
    with pytest.raises(ConfigurationError, match="Expected inputs of one image"):
        ComputedFeatures((FixedView(),), pooled).evaluation(a_table(), settings(inputs=inputs))
