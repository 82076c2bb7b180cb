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

Make = Callable[[], keras.layers.Layer]
LAYERS: dict[str, Make] = {
    "usual": lambda: keras.layers.BatchNormalization(momentum=0.9, epsilon=1.001e-5),
    "no scale": lambda: keras.layers.BatchNormalization(scale=False),
    "no center": lambda: keras.layers.BatchNormalization(center=False, axis=3),
}
OTHERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "first axis": (lambda: keras.layers.BatchNormalization(axis=1), IMAGES.shape),
    "vectors": (lambda: keras.layers.BatchNormalization(), (4, 3)),
    "synchronised": (lambda: keras.layers.BatchNormalization(synchronized=True), IMAGES.shape),
}


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


@pytest.mark.parametrize("make", LAYERS.values(), ids=list(LAYERS))
def test_outputs_gradients_and_moving_averages_are_those_of_keras(make: Make):
    model = around(make())
    (ours, graph), (expected, _) = step(model, IMAGES, fused=True), step(model, IMAGES, fused=False)
    assert FUSED in graph
    assert len(ours) == len(expected) >= 5
    for one, two in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-5, atol=2e-5 * np.abs(two).max())


def test_the_moving_variance_is_that_of_the_batch_without_bessels_correction():
    """By hand: 0.9 of what it was and 0.1 of the variance over 4 × 6 × 5 values."""
    model = around(LAYERS["usual"]())
    before = model.layers[-1].moving_variance.numpy()
    with fused_batch_normalization(model):
        model(IMAGES, training=True)
    expected = 0.9 * before + 0.1 * IMAGES.astype("float64").var(axis=(0, 1, 2))
    np.testing.assert_allclose(model.layers[-1].moving_variance.numpy(), expected, rtol=1e-5)


def test_bfloat16_stays_bfloat16_with_statistics_in_float32():
    model = around(keras.layers.BatchNormalization(dtype="mixed_bfloat16"))
    (ours, graph), (expected, _) = step(model, IMAGES, fused=True), step(model, IMAGES, fused=False)
    assert FUSED in graph
    with fused_batch_normalization(model):
        assert model(IMAGES, training=True).dtype == tf.bfloat16
    for one, two in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=0.02, atol=0.02 * np.abs(two).max())


@pytest.mark.parametrize(("make", "shape"), OTHERS.values(), ids=list(OTHERS))
def test_what_the_operation_cannot_do_is_done_by_keras(make: Make, shape: tuple[int, ...]):
    model, images = around(make(), shape), np.resize(IMAGES, shape)
    (ours, graph), (expected, _) = step(model, images, fused=True), step(model, images, fused=False)
    assert FUSED not in graph
    for one, two in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("trainable", "training"), [(False, True), (True, False)], ids=["frozen", "inference"])
def test_a_layer_that_infers_keeps_its_averages(trainable: bool, training: bool):
    model = around(LAYERS["usual"]())
    model.layers[-1].trainable = trainable
    before = model.get_weights()
    ours, graph = step(model, IMAGES, fused=True, training=training)
    assert FUSED not in graph
    for one, two in zip(ours[-len(before) :], before, strict=True):
        np.testing.assert_array_equal(one, two)


def test_nested_layers_are_found():
    model = around(DoubleConvSE(16), (4, 8, 8, 3))
    assert step(model, np.resize(IMAGES, (4, 8, 8, 3)), fused=True)[1].count(f'op: "{FUSED}"') == 2


def test_outside_the_layers_are_keras_own_and_so_is_the_saved_file(tmp_path: Path):
    model = around(LAYERS["usual"]())
    with pytest.raises(KeyError), fused_batch_normalization(model):
        model(IMAGES, training=True)
        model.save(tmp_path / "model.keras")
        raise KeyError
    assert FUSED not in step(model, IMAGES, fused=False)[1]
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is keras.layers.BatchNormalization
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
