"""VGG-Like: the counts of its definition, and that it reads positions, not only means."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import ModelSettings, build_model


@pytest.fixture
def tiny() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model("vgg_like", ModelSettings(image_size=64, class_count=3), width=4, dense_width=8)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (4, 64, 64, 3)).astype("float32")


def probabilities(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model({"image": images}, training=False))


@pytest.mark.parametrize(("size", "classes", "count"), [(128, 3, 13_845_539), (100, 10, 7_998_250)])
def test_counts(size, classes, count):
    model = build_model("vgg_like", ModelSettings(image_size=size, class_count=classes))
    assert model.count_params() == count
    assert len(model.non_trainable_weights) == 0


def test_the_layers_at_64_pixels(tiny):
    # Two convolutions without padding take four pixels, pooling halves: 64 → 60 → 30 → 26 → 13.
    assert tiny.get_layer("block1_conv2").output.shape == (None, 60, 60, 4)
    assert tiny.get_layer("block2_pool").output.shape == (None, 13, 13, 8)
    assert tiny.get_layer("flatten").output.shape == (None, 13 * 13 * 8)
    rates = [layer.rate for layer in tiny.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.25, 0.25, 0.5]


def test_pixels_are_scaled_to_plus_and_minus_one(tiny):
    scaling = tiny.get_layer("input_scaling")
    ends = keras.ops.convert_to_numpy(scaling(np.array([0.0, 127.5, 255.0]).reshape(1, 3, 1, 1).repeat(3, 3)))
    np.testing.assert_allclose(ends[0, :, 0, 0], [-1, 0, 1], atol=1e-6)


def test_the_position_of_what_is_seen_counts(tiny):
    # With Flatten in place of pooling, moving the picture by a pooling cell gives other probabilities.
    here, there = (np.zeros((1, 64, 64, 3), "float32") for _ in range(2))
    here[:, 20:28, 20:28] = there[:, 36:44, 36:44] = 255
    pooled = keras.Model(tiny.inputs, keras.layers.GlobalAveragePooling2D()(tiny.get_layer("block2_pool").output))
    np.testing.assert_allclose(probabilities(pooled, here), probabilities(pooled, there), atol=1e-5)
    assert np.abs(probabilities(tiny, here) - probabilities(tiny, there)).max() > 1e-3


def test_takes_a_step_and_survives_saving(tiny, images, tmp_path):
    before = tiny.get_layer("block1_conv1").get_weights()[0]
    tiny.compile("sgd", loss="categorical_crossentropy", jit_compile=False)
    tiny.train_on_batch({"image": images}, np.eye(3, dtype="float32")[[0, 1, 2, 0]])
    assert np.abs(tiny.get_layer("block1_conv1").get_weights()[0] - before).max() > 0
    found = probabilities(tiny, images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    tiny.save(tmp_path / "model.keras")
    np.testing.assert_allclose(
        probabilities(keras.models.load_model(tmp_path / "model.keras"), images), found, atol=1e-6
    )


def test_the_smallest_image():
    model = build_model("vgg_like", ModelSettings(image_size=16), width=1, dense_width=1)
    assert model.get_layer("block2_pool").output.shape == (None, 1, 1, 2)
    with pytest.raises(ConfigurationError, match=r"at least 16 pixels.*Received: image_size=15"):
        build_model("vgg_like", ModelSettings(image_size=15))


@pytest.mark.parametrize("arguments", [{"width": 0}, {"dense_width": 1.5}])
def test_widths_below_one_are_refused(arguments):
    with pytest.raises(ConfigurationError, match="whole number of at least 1"):
        build_model("vgg_like", ModelSettings(image_size=64), **arguments)
