"""ConvMixer: counts, the residual, and agreement with its definition written in numpy and scipy."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
from scipy.signal import correlate2d
from scipy.special import erf, softmax

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import ModelSettings, build_model

TINY = {"width": 4, "depth": 2, "kernel": 3}
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet, of [0, 1]


def output(model: keras.Model, layer: str, images: np.ndarray) -> np.ndarray:
    part = keras.Model(model.inputs, model.get_layer(layer).output)
    return keras.ops.convert_to_numpy(part({"image": images}, training=False))


def pixels(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype("float32")


@pytest.mark.parametrize(
    ("size", "classes", "arguments", "count"),
    [
        (224, 3, {}, 601_091),
        (32, 10, {}, 602_890),
        (224, 3, {"width": 768, "depth": 32, "kernel": 7, "patch": 7}, 20_443_395),
    ],
)
def test_counts(size, classes, arguments, count):
    model = build_model("convmixer", ModelSettings(image_size=size, class_count=classes), **arguments)
    assert model.count_params() == count


def test_what_is_trained_and_the_shapes():
    model = build_model("convmixer", ModelSettings(image_size=64, class_count=3))
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == 592_387
    assert model.get_layer("patch_embedding").output.shape == (None, 32, 32, 256)
    assert model.get_layer("block8_point_norm").output.shape == (None, 32, 32, 256)


def test_with_an_empty_depthwise_convolution_a_block_passes_its_input_on():
    keras.utils.set_random_seed(0)
    model = build_model("convmixer", ModelSettings(image_size=16), **TINY)
    depthwise = model.get_layer("block1_depth_conv")
    images = pixels(2, 16)
    before = output(model, "patch_norm", images)
    assert np.abs(output(model, "block1_residual", images) - before).max() > 1e-2
    depthwise.set_weights([np.zeros_like(weight) for weight in depthwise.get_weights()])
    np.testing.assert_array_equal(output(model, "block1_residual", images), before)
    # The 1×1 convolution has no residual: empty, nothing of its input is left.
    pointwise = model.get_layer("block1_point_conv")
    pointwise.set_weights([np.zeros_like(weight) for weight in pointwise.get_weights()])
    assert np.abs(output(model, "block1_point_norm", images)).max() == 0


def by_definition(model: keras.Model, images: np.ndarray, depth: int, patch: int) -> np.ndarray:
    """The last feature map of Trockman and Kolter's network, an image and a channel at a time."""

    def gelu_norm(x, name):
        gamma, beta, mean, variance = model.get_layer(f"{name}_norm").get_weights()
        x = x * (1 + erf(x / np.sqrt(2))) / 2
        return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta

    def depthwise(x, name):
        kernel, bias = model.get_layer(f"{name}_depth_conv").get_weights()
        channels = [correlate2d(x[..., c], kernel[..., c, 0], mode="same") + bias[c] for c in range(x.shape[-1])]
        return np.stack(channels, axis=-1)

    def of_one(image):
        kernel, bias = model.get_layer("patch_embedding").get_weights()
        side = image.shape[0] // patch
        patches = ((image / 255 - MEAN) / DEVIATION).reshape(side, patch, side, patch, 3)
        x = gelu_norm(np.einsum("aibjc,ijco->abo", patches, kernel) + bias, "patch")
        for number in range(1, depth + 1):
            x = x + gelu_norm(depthwise(x, f"block{number}"), f"block{number}_depth")
            kernel, bias = model.get_layer(f"block{number}_point_conv").get_weights()
            x = gelu_norm(x @ kernel[0, 0] + bias, f"block{number}_point")
        return x

    return np.stack([of_one(image) for image in images.astype("float64")])


def test_follows_the_definition():
    model = build_model("convmixer", ModelSettings(image_size=8, class_count=3), **TINY)
    rng = np.random.default_rng(1)
    for weight in model.weights:  # the statistics of BatchNorm too: positive, none 0 or 1
        values = rng.normal(scale=0.5, size=weight.shape)
        weight.assign(values if "kernel" in weight.name else 0.5 + np.abs(values))
    images = pixels(3, 8)
    expected = by_definition(model, images, depth=2, patch=2)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(output(model, "block2_point_norm", images), expected, atol=1e-4)
    kernel, bias = model.get_layer("probabilities").get_weights()
    probabilities = softmax(expected.mean((1, 2)) @ kernel + bias, axis=-1)
    assert np.ptp(probabilities, axis=0).max() > 0.01
    np.testing.assert_allclose(output(model, "probabilities", images), probabilities, atol=1e-4)


def test_takes_a_step_and_survives_saving(tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model("convmixer", ModelSettings(image_size=64, class_count=3), patch=4, **TINY)
    images = pixels(4, 64)
    before = model.get_layer("block1_depth_conv").get_weights()[0]
    model.compile("sgd", loss="categorical_crossentropy", jit_compile=False)
    model.train_on_batch({"image": images}, np.eye(3, dtype="float32")[[0, 1, 2, 0]])
    assert np.abs(model.get_layer("block1_depth_conv").get_weights()[0] - before).max() > 0
    found = output(model, "probabilities", images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(output(again, "probabilities", images), found, atol=1e-6)


@pytest.mark.parametrize("argument", ["width", "depth", "kernel", "patch"])
def test_numbers_below_one_are_refused(argument):
    with pytest.raises(ConfigurationError, match=f"Expected {argument} to be a whole number of at least 1"):
        build_model("convmixer", ModelSettings(image_size=64), **{argument: 0})


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(ConfigurationError, match=r"at least 7 pixels, one patch\. Received: image_size=6"):
        build_model("convmixer", ModelSettings(image_size=6), patch=7)
