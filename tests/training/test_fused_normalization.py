"""BatchNormalization in training as one operation: what Keras computes, in the layers that can, and only inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmdc_tf.layers import DoubleConvSE
from mmdc_tf.training.fused_normalization import fused_batch_normalization

FUSED = "FusedBatchNormV3"
IMAGES = np.random.default_rng(0).normal(3, 2, (4, 6, 5, 3)).astype("float32")
Norm = keras.layers.BatchNormalization
Make = Callable[[], keras.layers.Layer]


def around(layer: keras.layers.Layer, shape: tuple[int, ...] = IMAGES.shape) -> keras.Model:
    """A model of this one layer, its weights not at their start."""
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, layer(inputs))
    draw = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(draw.uniform(0.5, 1.5, weight.shape))
    return model


def step(model: keras.Model, images: np.ndarray, fused: bool, training: bool = True) -> tuple[list[np.ndarray], str]:
    """Outputs, gradients and weights after one step in a graph, from the same start; and the graph."""
    start = model.get_weights()

    @tf.function
    def run(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = model(images, training=training)
            loss = tf.reduce_sum(tf.cast(outputs, "float32") ** 3)
        return outputs, tape.gradient(loss, [images, *model.trainable_variables])

    if fused:
        with fused_batch_normalization(model):
            graph = run.get_concrete_function(tf.constant(images))
    else:
        graph = run.get_concrete_function(tf.constant(images))
    outputs, gradients = graph(tf.constant(images))
    found = [np.asarray(value, "float32") for value in (outputs, *gradients)] + model.get_weights()
    model.set_weights(start)
    return found, str(graph.graph.as_graph_def())


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [
        (lambda: Norm(momentum=0.9, epsilon=1.001e-5), 2e-5),
        (lambda: Norm(scale=False), 2e-5),
        (lambda: Norm(center=False, axis=3), 2e-5),
        (lambda: Norm(dtype="mixed_bfloat16"), 0.02),
    ],
    ids=["usual", "no scale", "no center", "bfloat16"],
)
def test_outputs_gradients_and_moving_averages_are_those_of_keras(make: Make, tolerance: float):
    model = around(make())
    (ours, graph), (expected, _) = step(model, IMAGES, fused=True), step(model, IMAGES, fused=False)
    assert FUSED in graph
    assert len(ours) == len(expected) >= 5
    for one, two in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance * np.abs(two).max())
    with fused_batch_normalization(model):
        assert model(IMAGES, training=True).dtype == model.layers[-1].compute_dtype


def test_the_moving_variance_is_that_of_the_batch_without_bessels_correction():
    """By hand: 0.9 of what it was and 0.1 of the variance over 4 × 6 × 5 values."""
    model = around(Norm(momentum=0.9))
    before = model.layers[-1].moving_variance.numpy()
    with fused_batch_normalization(model):
        model(IMAGES, training=True)
    expected = 0.9 * before + 0.1 * IMAGES.astype("float64").var(axis=(0, 1, 2))
    np.testing.assert_allclose(model.layers[-1].moving_variance.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Norm(axis=1), IMAGES.shape),
        (lambda: Norm(), (4, 3)),
        (lambda: Norm(synchronized=True), IMAGES.shape),
        (lambda: Norm(trainable=False), IMAGES.shape),
    ],
    ids=["first axis", "vectors", "synchronised", "frozen"],
)
@pytest.mark.parametrize("training", [True, False])
def test_what_the_operation_cannot_do_is_done_by_keras(make: Make, shape: tuple[int, ...], training: bool):
    model, images = around(make(), shape), np.resize(IMAGES, shape)
    (ours, graph), (expected, _) = (step(model, images, fused, training) for fused in (True, False))
    assert FUSED not in graph
    for one, two in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(one, two)


def test_nested_layers_are_found():
    model = around(DoubleConvSE(16), (4, 8, 8, 3))
    assert step(model, np.resize(IMAGES, (4, 8, 8, 3)), fused=True)[1].count(f'op: "{FUSED}"') == 2


def test_outside_the_layers_are_keras_own_and_so_is_the_saved_file(tmp_path: Path):
    model = around(Norm())
    with pytest.raises(KeyError), fused_batch_normalization(model):
        model(IMAGES, training=True)
        model.save(tmp_path / "model.keras")
        raise KeyError
    assert FUSED not in step(model, IMAGES, fused=False)[1]
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is Norm
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
