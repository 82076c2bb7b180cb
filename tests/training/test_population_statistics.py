"""BatchNormalization's statistics are those of the training part under the weights that are validated and saved."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmdc_tf.training.population_statistics import PopulationStatistics, even_batch_size


def norm(name: str) -> keras.layers.BatchNormalization:
    return keras.layers.BatchNormalization(epsilon=0.5, name=name)


@pytest.fixture
def model() -> keras.Model:
    """Two normalisations with a dropout between them, over images of two channels."""
    image = keras.Input((2, 3, 2), name="image")
    hidden = keras.layers.Dropout(0.5, seed=1)(norm("first")(image))
    outputs = keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(norm("second")(hidden)))
    network = keras.Model({"image": image}, outputs)
    network.compile("sgd", "categorical_crossentropy")
    return network


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).normal([3, -5], [2, 0.5], (7, 2, 3, 2)).astype("float32")


def batches(images: np.ndarray, size: int) -> tf.data.Dataset:
    labels = np.eye(3, dtype="float32")[np.arange(len(images)) % 3]
    return tf.data.Dataset.from_tensor_slices(({"image": images}, labels)).batch(size)


def measure(model: keras.Model, images: np.ndarray, size: int) -> None:
    """As a training does before each validation."""
    model.evaluate(batches(images[:2], 2), callbacks=[PopulationStatistics(batches(images, size))], verbose=0)


def statistics(model: keras.Model, name: str) -> tuple[np.ndarray, np.ndarray]:
    layer = model.get_layer(name)
    return np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)


@pytest.mark.parametrize("size", [7, 4, 2])  # with a last batch that is smaller, too
def test_they_are_mean_and_variance_of_all_training_images_whatever_the_batches(model, images, size):
    measure(model, images, size)
    mean, variance = statistics(model, "first")
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, images.var((0, 1, 2)), rtol=1e-4)


def test_a_later_layer_sees_normalised_values_of_which_nothing_is_dropped(model, images):
    measure(model, images, 7)
    normalised = (images - images.mean((0, 1, 2))) / np.sqrt(images.var((0, 1, 2)) + 0.5)
    mean, variance = statistics(model, "second")
    np.testing.assert_allclose(mean, normalised.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(variance, normalised.var((0, 1, 2)), rtol=1e-4)


def test_measuring_leaves_everything_else_as_it_was(model, images):
    before = [np.array(variable) for variable in model.variables if "moving" not in variable.name]
    measure(model, images, 4)
    after = [np.array(variable) for variable in model.variables if "moving" not in variable.name]
    for one, other in zip(before, after, strict=True):  # weights, and the seed of the dropout
        np.testing.assert_array_equal(one, other)
    first, drop = model.get_layer("first"), next(layer for layer in model.layers if hasattr(layer, "rate"))
    assert (first.momentum, drop.rate) == (0.99, 0.5)


def test_frozen_layers_keep_theirs(model, images):
    model.get_layer("first").trainable = False
    measure(model, images, 7)
    mean, variance = statistics(model, "first")
    assert (mean.tolist(), variance.tolist()) == ([0, 0], [1, 1])
    # the second one's values are then those of the frozen layer with mean 0 and variance 1
    np.testing.assert_allclose(statistics(model, "second")[0], images.mean((0, 1, 2)) / np.sqrt(1.5), rtol=1e-5)


def test_the_pass_is_traced_once_for_all_trainings_of_a_model(model, images):
    measure(model, images, 4)
    measure(model, images, 3)
    assert model.population_pass.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(("count", "size"), [(1, 1), (64, 64), (65, 33), (192, 64), (193, 49)])
def test_batches_are_large_and_even(count, size):
    assert even_batch_size(count) == size
