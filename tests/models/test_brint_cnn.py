"""BRINT + CNN: the published parameter counts and shapes, the heads, saving."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import MODELS, ModelSettings, build_model, freeze_through

FULL = ModelSettings(image_size=224, class_count=3)


def trainable(model: keras.Model) -> int:
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def probabilities(model: keras.Model) -> np.ndarray:
    side = model.input["image"].shape[1]
    images = np.random.default_rng(0).integers(0, 256, (2, side, side, 3)).astype("float32")
    return keras.ops.convert_to_numpy(model({"image": images}, training=False))


@pytest.mark.parametrize(
    ("backbone", "head", "total", "not_trained"),
    [
        ("vgg16", [128, 128], 17_942_979, 0),
        ("vgg19", [128, 0.3, 128, 0.3], 23_252_675, 0),
        ("mobilenetv2", [0.2, 512, 32], 34_387_651, 34_112),  # the moving statistics of BatchNorm
    ],
)
def test_counts_of_the_published_heads(backbone, head, total, not_trained):
    model = build_model("brint_classifier", FULL, backbone=backbone, head=head)
    assert model.count_params() == total
    assert trainable(model) == total - not_trained


def test_of_the_frozen_resnet_the_head_is_trained():
    model = build_model("brint_classifier", FULL, backbone="resnet50", head=[128, 0.3, 128, 0.3])
    assert model.count_params() == 36_449_795
    freeze_through(model, "conv5_block3_out")
    assert trainable(model) == 12_862_083


@pytest.mark.parametrize(("size", "total"), [(128, 233_283), (224, 620_355)])
def test_counts_of_the_custom_network(size, total):
    model = build_model("brint_custom_cnn", ModelSettings(image_size=size))
    assert model.count_params() == trainable(model) == total


def test_the_custom_networks_dense_layer_stands_before_flatten():
    model = build_model("brint_custom_cnn", ModelSettings(image_size=128))
    dense = model.get_layer("position_dense")
    assert dense.input.shape == (None, 30, 30, 64)
    assert dense.kernel.shape == (64, 64)
    assert model.get_layer("flatten").input.shape == (None, 30, 30, 64)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.25, 0.25]


def test_a_head_is_built_in_the_order_given(tiny_backbone):
    settings = ModelSettings(image_size=32, class_count=3)
    model = build_model("brint_classifier", settings, backbone=tiny_backbone, head=[0.2, 12, 0.3, 5])
    kinds = [(type(layer).__name__, getattr(layer, "rate", None) or layer.units) for layer in model.layers[-5:]]
    assert kinds == [("Dropout", 0.2), ("Dense", 12), ("Dropout", 0.3), ("Dense", 5), ("Dense", 3)]
    assert [layer.activation.__name__ for layer in model.layers if hasattr(layer, "units")] == [
        "relu",
        "relu",
        "softmax",
    ]
    assert model.get_layer("flatten").output.shape == (None, 16 * 16 * 8)


@pytest.mark.parametrize("entry", [0, -3, 0.0, 1.0, 2.5, True, "128"])
def test_other_entries_of_a_head_are_named(tiny_backbone, entry):
    with pytest.raises(ConfigurationError, match=r"Received: entry 2 of head="):
        build_model("brint_classifier", ModelSettings(image_size=32), backbone=tiny_backbone, head=[8, entry])


@pytest.mark.parametrize(
    ("name", "arguments"), [("brint_classifier", {"head": [0.2, 8, 4]}), ("brint_custom_cnn", {"width": 4})]
)
def test_a_small_model_gives_probabilities_and_loads_again(name, arguments, tiny_backbone, tmp_path):
    keras.utils.set_random_seed(0)
    if name == "brint_classifier":
        arguments = {"backbone": tiny_backbone, **arguments}
    model = build_model(name, ModelSettings(image_size=32, class_count=4), **arguments)
    assert MODELS[name].inputs == ("image",)
    found = probabilities(model)
    assert (found.shape, found.dtype) == ((2, 4), np.float32)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(probabilities(keras.models.load_model(tmp_path / "model.keras")), found, atol=1e-6)


@pytest.mark.parametrize("channel", [0, 1, 2], ids=["grey", "s", "m"])
def test_each_channel_counts(channel):
    keras.utils.set_random_seed(0)
    model = build_model("brint_custom_cnn", ModelSettings(image_size=32), width=4)
    images = np.full((2, 32, 32, 3), 100, "float32")
    images[1, :, :16, channel] = 200
    one, other = keras.ops.convert_to_numpy(model({"image": images}, training=False))
    assert np.abs(one - other).max() > 1e-4


def test_the_custom_networks_smallest_image():
    settings = ModelSettings(image_size=14)
    assert build_model("brint_custom_cnn", settings).get_layer("flatten").input.shape == (None, 1, 1, 64)
    with pytest.raises(ConfigurationError, match="Received: image_size=13"):
        build_model("brint_custom_cnn", ModelSettings(image_size=13))
    with pytest.raises(ConfigurationError, match="Received: width=0"):
        build_model("brint_custom_cnn", settings, width=0)
