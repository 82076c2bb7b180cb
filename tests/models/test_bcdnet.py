"""BCDNet: attention between the last feature map and the head, and nothing else."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.models import ModelSettings, build_model

SETTINGS = ModelSettings(image_size=32, class_count=3)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")


@pytest.fixture
def model(tiny_backbone) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model("bcdnet", SETTINGS, backbone=tiny_backbone)


def probabilities(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model({"image": images}, training=False))


def test_a_new_model_is_the_plain_classifier(model, images, tiny_backbone):
    # γ starts at 0, so with the same weights the two are the same function.
    plain = build_model("backbone_classifier", SETTINGS, backbone=tiny_backbone)
    for layer in plain.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    np.testing.assert_array_equal(probabilities(model, images), probabilities(plain, images))


def test_attention_stands_on_the_last_feature_map(model):
    attention = model.get_layer("self_attention")
    assert attention.input is model.get_layer("tiny_conv2").output
    assert model.get_layer("image_pool").input is attention.output
