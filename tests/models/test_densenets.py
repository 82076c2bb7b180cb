"""DenseNet-161 and DenseNet-40: counts, shapes, dense connectivity, and agreement with two independent forms."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from keras import ops

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import ModelSettings, build_model

SMALL = ModelSettings(image_size=64, class_count=3)
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet, of [0, 1]


def trainable(model: keras.Model) -> int:
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def shape(model: keras.Model, layer: str) -> tuple[int, ...]:
    return model.get_layer(layer).output.shape[1:]


def output(model: keras.Model, layer: str, images: np.ndarray) -> np.ndarray:
    part = keras.Model(model.inputs, model.get_layer(layer).output)
    return ops.convert_to_numpy(part({"image": images}, training=False))


def pixels(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype("float32")


def fill(weights: list[keras.Variable]) -> None:
    """Values of the size of trained ones; among them the statistics of BatchNorm, which must be positive."""
    rng = np.random.default_rng(1)
    for weight in weights:
        scale = 1 / math.sqrt(math.prod(weight.shape[:-1])) if len(weight.shape) == 4 else 1.0
        values = rng.normal(scale=scale, size=weight.shape)
        weight.assign(values if len(weight.shape) == 4 else 0.5 + np.abs(values) / 2)


@pytest.fixture(scope="module")
def densenet161() -> keras.Model:
    return build_model("densenet161", ModelSettings(image_size=224, class_count=3))


@pytest.fixture(scope="module")
def densenet40() -> keras.Model:
    return build_model("densenet40", ModelSettings(image_size=32, class_count=10))


@pytest.fixture
def tiny40() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model("densenet40", SMALL, growth=2, layers_per_block=2)


@pytest.fixture
def tiny161() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model("densenet161", SMALL, growth=2, blocks=(2, 1))


def test_counts_of_densenet161(densenet161):
    assert (densenet161.count_params(), trainable(densenet161)) == (26_698_563, 26_478_627)
    assert trainable(densenet161) + (2208 + 1) * (1000 - 3) == 28_681_000  # with ImageNet's classes


def test_block_outputs_of_densenet161(densenet161):
    assert shape(densenet161, "stem_conv") == (112, 112, 96)
    assert shape(densenet161, "block1_layer6_concat") == (56, 56, 384)
    assert shape(densenet161, "block2_layer12_concat") == (28, 28, 768)
    assert shape(densenet161, "block3_layer36_concat") == (14, 14, 2112)
    assert shape(densenet161, "block4_layer24_concat") == shape(densenet161, "final_relu") == (7, 7, 2208)


def test_counts_of_densenet40(densenet40):
    assert trainable(densenet40) == 1_019_722  # ten classes, as in Huang et al.
    three = (448 + 1) * 3 - (448 + 1) * 10  # of the last layer
    assert trainable(densenet40) + three == 1_016_579
    assert densenet40.count_params() + three == 1_034_675


def test_block_outputs_of_densenet40(densenet40):
    assert shape(densenet40, "stem_conv") == (32, 32, 16)
    assert shape(densenet40, "block1_layer12_concat") == (32, 32, 160)
    assert shape(densenet40, "transition1_pool") == (16, 16, 160)
    assert shape(densenet40, "block2_layer12_concat") == (16, 16, 304)
    assert shape(densenet40, "block3_layer12_concat") == (8, 8, 448)


def test_each_layer_reads_all_channels_before_it_and_adds_the_growth_rate(densenet40):
    kernels = [densenet40.get_layer(f"block1_layer{n}_conv").kernel.shape for n in range(1, 13)]
    assert kernels == [(3, 3, 16 + 12 * n, 12) for n in range(12)]


def test_the_bottleneck_has_four_times_the_growth_rate(densenet161):
    assert densenet161.get_layer("block3_layer2_bottleneck_conv").kernel.shape == (1, 1, 384 + 48, 4 * 48)
    assert densenet161.get_layer("block3_layer2_conv").kernel.shape == (3, 3, 4 * 48, 48)


@pytest.mark.parametrize("name", ["tiny40", "tiny161"])
def test_what_a_layer_computes_stays_to_the_end_of_its_block(name, request):
    model = request.getfixturevalue(name)
    images = pixels(2, 64)
    block = output(model, "block1_layer2_concat", images)
    first, second = (output(model, f"block1_layer{n}_conv", images) for n in (1, 2))
    assert np.abs(first).max() > 1e-2
    np.testing.assert_array_equal(block[..., -4:-2], first)
    np.testing.assert_array_equal(block[..., -2:], second)


def test_densenet121_is_the_one_of_keras_applications():
    # The same builder with growth 32 and DenseNet-121's blocks; every weight is copied, in order.
    keras.utils.set_random_seed(0)
    settings = ModelSettings(image_size=32, class_count=3)
    ours = build_model("densenet161", settings, growth=32, blocks=(6, 12, 24, 16))
    theirs = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(32, 32, 3))
    fill(theirs.weights)
    features = keras.Model(ours.inputs, ours.get_layer("final_relu").output)
    features.set_weights(theirs.get_weights())
    images = pixels(2, 32)
    expected = ops.convert_to_numpy(theirs(((images / 255 - MEAN) / DEVIATION).astype("float32"), training=False))
    found = ops.convert_to_numpy(features({"image": images}, training=False))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def by_definition(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """DenseNet with one layer a block and no bottleneck: H(x) = conv(relu(norm(x))), x ← [x, H(x)]."""

    def norm_relu_conv(x, name):
        gamma, beta, mean, variance = model.get_layer(f"{name}_norm").get_weights()
        x = np.maximum(gamma * (x - mean) / np.sqrt(variance + 1.001e-5) + beta, 0)
        return conv(x, name)

    def conv(x, name):
        (kernel,) = model.get_layer(f"{name}_conv").get_weights()
        margin = kernel.shape[0] // 2
        x = np.pad(x, [(0, 0), (margin, margin), (margin, margin), (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
        return np.einsum("nhwcij,ijco->nhwo", windows, kernel)

    x = conv((images / 255 - MEAN) / DEVIATION, "stem")
    for block in (1, 2, 3):
        x = np.concatenate([x, norm_relu_conv(x, f"block{block}_layer1")], axis=-1)
        if block < 3:
            x = norm_relu_conv(x, f"transition{block}")
            x = x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).mean((2, 4))
    return x


def test_densenet40_follows_the_definition():
    model = build_model("densenet40", ModelSettings(image_size=8), growth=3, layers_per_block=1)
    fill(model.weights)
    images = pixels(2, 8)
    found, expected = output(model, "block3_layer1_concat", images), by_definition(model, images)
    assert found.shape == (2, 2, 2, 16 + 9)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["tiny40", "tiny161"])
def test_takes_a_step_and_survives_saving(name, request, tmp_path):
    model = request.getfixturevalue(name)
    images = pixels(4, 64)
    before = model.get_layer("block2_layer1_conv").get_weights()[0]
    model.compile("sgd", loss="categorical_crossentropy", jit_compile=False)
    model.train_on_batch({"image": images}, np.eye(3, dtype="float32")[[0, 1, 2, 0]])
    assert np.abs(model.get_layer("block2_layer1_conv").get_weights()[0] - before).max() > 0
    found = output(model, "probabilities", images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(output(again, "probabilities", images), found, atol=1e-6)


@pytest.mark.parametrize(("name", "size"), [("densenet161", 32), ("densenet40", 4)])
def test_the_smallest_image(name, size):
    build_model(name, ModelSettings(image_size=size), growth=2)
    with pytest.raises(ConfigurationError, match=rf"at least {size} pixels.*Received: image_size={size - 1}"):
        build_model(name, ModelSettings(image_size=size - 1), growth=2)


@pytest.mark.parametrize("arguments", [{"growth": 0}, {"blocks": (2, 0)}])
def test_numbers_below_one_are_refused(arguments):
    with pytest.raises(ConfigurationError, match="whole number of at least 1"):
        build_model("densenet161", SMALL, **arguments)
