"""DoubleConv and Squeeze-and-Excitation against their formulas in numpy."""

import numpy as np
import pytest
from scipy.ndimage import correlate

from mmdc_tf.layers import DoubleConv, DoubleConvSE, SqueezeExcitation


def randomise(layer, shape, seed=0):
    """Random weights; moving variances stay positive."""
    rng = np.random.default_rng(seed)
    layer.build(shape)
    for weight in layer.weights:
        value = rng.normal(size=weight.shape)
        weight.assign(np.abs(value) + 0.5 if weight.path.endswith("variance") else value)
    return rng.normal(size=shape).astype("float32")


def numpy_double_conv(layer, x):
    """The inference formula, one correlation a pair of channels (scipy, zero padding), in float64."""
    maps = x.astype("float64")
    weights = [np.asarray(w, dtype="float64") for step in layer.steps for w in step.weights]
    for kernel, gamma, beta, mean, variance in (weights[:5], weights[5:]):
        convolved = np.zeros((*maps.shape[:3], kernel.shape[-1]))
        for source in range(kernel.shape[2]):
            for target in range(kernel.shape[3]):
                for image, result in zip(maps[..., source], convolved[..., target], strict=True):
                    result += correlate(image, kernel[:, :, source, target], mode="constant")
        maps = np.maximum((convolved - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0.0)
    return maps


def test_equals_numpy_with_the_same_weights():
    layer = DoubleConv(4)
    x = randomise(layer, (2, 5, 6, 3))
    expected = numpy_double_conv(layer, x)
    assert (expected > 0).any()
    np.testing.assert_allclose(np.asarray(layer(x)), expected, rtol=1e-4, atol=1e-4)


def test_with_se_is_double_conv_then_squeeze_excitation():
    layer = DoubleConvSE(4, ratio=2)
    x = randomise(layer, (2, 5, 6, 3))
    excitation = SqueezeExcitation(ratio=2)
    excitation.build((None, 5, 6, 4))
    excitation.set_weights(layer.get_weights()[-4:])
    expected = np.asarray(excitation(numpy_double_conv(layer.double_conv, x)))
    np.testing.assert_allclose(np.asarray(layer(x)), expected, rtol=1e-4, atol=1e-4)


def test_parameter_counts():
    # 9·C·F + 9·F·F + 2·4·F, and for SE 2·F·(F/16) + F/16 + F, by hand for C = 1920, F = 128.
    plain, with_se = DoubleConv(128), DoubleConvSE(128)
    plain.build((None, 7, 7, 1920))
    with_se.build((None, 7, 7, 1920))
    assert plain.count_params() == 2_211_840 + 147_456 + 1_024
    assert with_se.count_params() - plain.count_params() == 2_048 + 8 + 128


def test_training_uses_the_batch_statistics_and_inference_the_moving_ones():
    layer = DoubleConv(4)
    x = 100.0 + randomise(layer, (8, 4, 4, 3))
    before = np.asarray(layer.steps[1].moving_mean).copy()
    inference = np.asarray(layer(x, training=False))
    np.testing.assert_array_equal(before, layer.steps[1].moving_mean)
    assert np.abs(np.asarray(layer(x, training=True)) - inference).max() > 1.0
    assert np.abs(np.asarray(layer.steps[1].moving_mean) - before).max() > 1.0


@pytest.mark.parametrize("layer_class", [DoubleConv, DoubleConvSE])
def test_a_frozen_layer_stays_frozen_after_a_round_trip(layer_class):
    layer = layer_class(4)
    layer.trainable = False
    revived = layer_class.from_config(layer.get_config())
    x = 100.0 + randomise(revived, (8, 4, 4, 3))
    np.testing.assert_array_equal(np.asarray(revived(x, training=True)), np.asarray(revived(x, training=False)))
    assert revived.trainable_weights == []


def test_squeeze_excitation_equals_numpy():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 4, 5, 8)).astype("float32")
    layer = SqueezeExcitation(ratio=2)
    layer.build(x.shape)
    weights = [rng.normal(size=w.shape).astype("float32") for w in layer.weights]
    layer.set_weights(weights)
    first, first_bias, second, second_bias = weights
    hidden = np.maximum(x.mean(axis=(1, 2)) @ first + first_bias, 0.0)
    gates = 1.0 / (1.0 + np.exp(-(hidden @ second + second_bias)))
    np.testing.assert_allclose(np.asarray(layer(x)), x * gates[:, None, None, :], atol=1e-5)
