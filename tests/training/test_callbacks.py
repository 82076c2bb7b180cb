"""The learning rate step by step, and BatchNormalization's statistics, against values by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmdc_tf.training.callbacks import PopulationStatistics, WarmupCosine, even_batch_size

# Ten steps, two of them warm-up: half of the peak, the peak, then half a cosine over eight steps:
# peak · (1 + cos(πk/8)) / 2 for k = 1..8.
BY_HAND = [0.5, 1.0, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060, 0.0]

# --- the learning rate ---


def rates(peak: float, steps: int, share: float) -> list[float]:
    return [WarmupCosine(peak, steps, share).at(step) for step in range(steps)]


def test_warm_up_and_cosine_by_hand():
    np.testing.assert_allclose(rates(1.0, 10, 0.2), BY_HAND, atol=1e-6)
    assert rates(0.1, 1, 0.1) == [pytest.approx(0.1)]  # a training of one step is at the peak


@pytest.mark.parametrize(("steps", "share", "warmup"), [(100, 0.1, 10), (40, 0.25, 10), (7, 0.1, 1), (30, 0.0, 1)])
def test_the_peak_ends_the_warm_up_and_zero_ends_the_training(steps, share, warmup):
    found = rates(3e-4, steps, share)
    assert max(found) == found[warmup - 1] == pytest.approx(3e-4)
    assert found[-1] == pytest.approx(0.0, abs=1e-10)
    np.testing.assert_allclose(found[:warmup], 3e-4 * np.arange(1, warmup + 1) / warmup, rtol=1e-5)
    assert all(one > other for one, other in zip(found[warmup - 1 :], found[warmup:], strict=False))


def test_every_step_of_a_training_has_its_own_rate():
    """With plain gradient descent on loss = mean(w · x), each step moves w by the rate: so the rate can be read off."""
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(77.0), loss=lambda y, p: keras.ops.mean(p, axis=-1), jit_compile=False)
    weights = [0.0]
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: weights.append(layer.kernel.numpy().item())
    )
    ones = np.ones((8, 1), "float32")
    callbacks = [WarmupCosine(1.0, 10, 0.2), watch]
    history = model.fit(ones, ones, batch_size=4, epochs=5, verbose=0, callbacks=callbacks).history
    np.testing.assert_allclose(-np.diff(weights), BY_HAND, atol=1e-5)
    # The history tells the last rate of each epoch of two steps.
    np.testing.assert_allclose(history["learning_rate"], BY_HAND[1::2], atol=1e-6)


# --- statistics ---


def norm(name: str) -> keras.layers.BatchNormalization:
    return keras.layers.BatchNormalization(epsilon=0.5, name=name)


@pytest.fixture
def model() -> keras.Model:
    """Two normalisations with a dropout between them, over images of two channels."""
    image = keras.Input((2, 3, 2), name="image")
    hidden = keras.layers.Dropout(0.5, seed=1, name="drop")(norm("first")(image))
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
    def others() -> list[np.ndarray]:  # weights, and the seed of the dropout
        return [np.array(variable) for variable in model.variables if "moving" not in variable.name]

    before = others()
    measure(model, images, 4)
    for one, other in zip(before, others(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (model.get_layer("first").momentum, model.get_layer("drop").rate) == (0.99, 0.5)


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
