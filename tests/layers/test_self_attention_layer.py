"""Spatial self-attention against its formula in numpy, position by position."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mmdc_tf.layers import SpatialSelfAttention


def random_layer(shape, seed=0, scale=0.5, **options):
    """A layer whose seven weights (γ too) are random."""
    rng = np.random.default_rng(seed)
    layer = SpatialSelfAttention(**options)
    layer.build(shape)
    for weight in layer.weights:
        weight.assign(rng.normal(scale=scale, size=weight.shape))
    return layer, rng.normal(size=shape).astype("float32")


def numpy_attention(layer, x):
    """softmax(QKᵀ/√d_k) and γ·softmax(…)V + x, position by position, in float64."""

    def project(convolution, pixel):
        kernel, bias = (np.asarray(w, dtype="float64") for w in convolution.weights)
        return pixel @ kernel[0, 0] + bias

    output, rows = np.empty(x.shape), []
    for image, result in zip(x.astype("float64"), output, strict=True):
        positions = [image[i, j] for i in range(image.shape[0]) for j in range(image.shape[1])]
        queries, keys, values = (
            np.stack([project(c, p) for p in positions]) for c in (layer.query, layer.key, layer.value)
        )
        scores = np.exp([[q @ k / np.sqrt(len(q)) for k in keys] for q in queries])
        scores /= scores.sum(axis=1, keepdims=True)
        rows.append(scores)
        result[:] = float(layer.gamma) * (scores @ values).reshape(image.shape) + image
    return np.stack(rows), output


@pytest.mark.parametrize(("channels", "key_width"), [(16, 8), (64, 8), (72, 9), (512, 64), (1920, 240)])
def test_key_width_is_an_eighth_but_at_least_eight(channels, key_width):
    layer = SpatialSelfAttention()
    layer.build((None, 2, 2, channels))
    assert layer.query.kernel.shape == layer.key.kernel.shape == (1, 1, channels, key_width)
    assert layer.count_params() == 2 * (channels + 1) * key_width + (channels + 1) * channels + 1


def test_a_new_layer_is_the_identity():
    x = np.random.default_rng(3).normal(scale=50, size=(2, 4, 5, 8)).astype("float32")
    np.testing.assert_array_equal(np.asarray(SpatialSelfAttention()(x)), x)


def test_equals_numpy_with_the_same_weights():
    layer, x = random_layer((2, 3, 4, 16))
    scores, output = numpy_attention(layer, x)
    np.testing.assert_allclose(np.asarray(layer.attention_scores(x)), scores, atol=1e-5)
    np.testing.assert_allclose(np.asarray(layer(x)), output, atol=1e-5)
    assert np.abs(output - x).max() > 0.1


def gradients_by_name(layer, x, target):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) * target)
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    return {w.path.split("/", 1)[-1]: np.abs(g).max() for w, g in zip(layer.trainable_weights, gradients, strict=True)}


def test_at_gamma_zero_only_gamma_learns():
    layer, x = random_layer((2, 3, 4, 16))
    target = np.random.default_rng(5).normal(size=x.shape).astype("float32")
    layer.gamma.assign(0.0)
    sizes = gradients_by_name(layer, x, target)
    assert sizes.pop("gamma") > 1e-3
    assert sizes.keys() == {f"{name}/{part}" for name in ("query", "key", "value") for part in ("kernel", "bias")}
    assert set(sizes.values()) == {0.0}
    layer.gamma.assign(0.5)
    assert gradients_by_name(layer, x, target)["query/kernel"] > 1e-3


def test_scores_are_float32_and_finite_under_mixed_precision():
    # Dot products of about 10⁶ leave float16, whose largest number is 65,504.
    layer, x = random_layer((1, 2, 3, 16), dtype="mixed_float16", scale=10.0)
    x *= 10.0
    scores = layer.attention_scores(x)
    products = (
        np.asarray(layer.query(x), "float64").reshape(6, -1) @ np.asarray(layer.key(x), "float64").reshape(6, -1).T
    )
    assert np.abs(products).max() > 65_504
    assert keras.backend.standardize_dtype(scores.dtype) == "float32"
    np.testing.assert_allclose(np.asarray(scores).sum(axis=-1), 1.0, atol=1e-6)
    assert keras.backend.standardize_dtype(layer(x).dtype) == "float16"


def test_images_of_any_size_and_a_symbolic_input():
    layer, x = random_layer((2, 3, 4, 16))
    image = keras.Input((None, None, 16))
    model = keras.Model(image, [layer(image), layer.attention_scores(image)])
    scores, output = numpy_attention(layer, x)
    predicted, predicted_scores = model.predict(x, verbose=0)
    np.testing.assert_allclose(predicted, output, atol=1e-5)
    np.testing.assert_allclose(predicted_scores, scores, atol=1e-5)
    assert model.predict(x[:, :2], verbose=0)[1].shape == (2, 8, 8)
