import numpy as np
import pytest
from keras.src.testing import TestCase

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import SqueezeExcitation


class SqueezeExcitationLayerTest(TestCase):
    def test_keras_layer_test(self):
        self.run_layer_test(
            SqueezeExcitation,
            init_kwargs={"ratio": 4},
            input_shape=(2, 5, 3, 8),
            expected_output_shape=(2, 5, 3, 8),
            expected_num_trainable_weights=4,
            expected_num_non_trainable_weights=0,
            expected_num_seed_generators=0,
            expected_num_losses=0,
        )


@pytest.mark.parametrize(("channels", "parameters"), [(512, 33_312), (1024, 132_160), (1280, 206_160), (1920, 462_840)])
def test_parameter_counts_at_ratio_16(channels, parameters):
    layer = SqueezeExcitation(ratio=16)
    layer.build((None, 7, 7, channels))
    assert layer.count_params() == parameters


def test_equals_numpy_with_the_same_weights():
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


def test_zero_weights_scale_by_one_half():
    x = np.random.default_rng(2).normal(size=(2, 3, 3, 4)).astype("float32")
    layer = SqueezeExcitation(ratio=2)
    layer.build(x.shape)
    layer.set_weights([np.zeros(w.shape) for w in layer.weights])
    np.testing.assert_array_equal(np.asarray(layer(x)), 0.5 * x)


@pytest.mark.parametrize(("channels", "ratio", "width"), [(32, 16, 2), (32, 4, 8), (8, 16, 1)])
def test_bottleneck_is_ratio_times_narrower_but_at_least_one_wide(channels, ratio, width):
    layer = SqueezeExcitation(ratio=ratio)
    layer.build((None, 2, 2, channels))
    assert [tuple(w.shape) for w in layer.weights] == [(channels, width), (width,), (width, channels), (channels,)]


@pytest.mark.parametrize("ratio", [0, -1, 2.5, True, "16"])
def test_bad_ratio_is_named(ratio):
    with pytest.raises(ConfigurationError, match=r"Received: ratio="):
        SqueezeExcitation(ratio=ratio)


def test_unknown_channels_are_refused():
    with pytest.raises(ConfigurationError, match="last axis has a fixed length"):
        SqueezeExcitation().build((None, 7, 7, None))
