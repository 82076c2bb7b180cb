"""SW-ForkNet: counts and shapes of its three branches, the gates, and where a cut leaves it trainable."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import ModelSettings, build_model, freeze_through

COUNT = 11_178_068


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model("sw_forknet", ModelSettings(image_size=224, class_count=3))


@pytest.fixture(scope="module")
def maps() -> list[np.ndarray]:
    """The two maps of DenseNet-121 on which the branches stand, for two images; not negative, as after a ReLU."""
    rng = np.random.default_rng(0)
    shapes = [(2, 28, 28, 512), (2, 7, 7, 1024)]
    return [np.abs(rng.normal(size=shape)).astype("float32") for shape in shapes]


def branches(model: keras.Model, *layers: str) -> keras.Model:
    """From the two maps to these layers: the part of the network that is not DenseNet."""
    inputs = [model.get_layer(name).output for name in ("conv3_block12_concat", "relu")]
    outputs = [model.get_layer(name).output for name in layers]
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])


def own_layers(model: keras.Model) -> list[keras.Layer]:
    part = branches(model, "probabilities")
    return [layer for layer in part.layers if layer.weights]


def test_counts(model):
    parts = {layer.name: layer.count_params() for layer in own_layers(model)}
    assert parts["spatial_squeeze"] + parts["spatial_gates"] == 65_793
    assert sum(count for name, count in parts.items() if name.startswith("swin_")) == 3_678_736
    # DenseNet-121 has 7,037,504; two Dense(256) on 1,024 and 512 features; Dense(3) on the three branches.
    assert COUNT == 7_037_504 + 262_400 + 131_328 + 65_793 + 3_678_736 + 2_307
    assert model.count_params() == COUNT


def test_shapes(model):
    def shape(name):
        return model.get_layer(name).output.shape[1:]

    assert shape("conv3_block12_concat") == shape("spatial_excitation") == (28, 28, 512)
    assert shape("spatial_gates") == (28, 28, 1)
    assert shape("swin_patch_embedding") == shape("swin_norm") == (7, 7, 256)
    assert shape("deep_features") == shape("spatial_features") == shape("swin_features") == (256,)
    assert shape("branches") == (768,)
    assert shape("probabilities") == (3,)
    assert model.get_layer("deep_pool").input is model.get_layer("relu").output
    assert model.get_layer("swin_patch_embedding").input is model.get_layer("conv3_block12_concat").output
    assert [model.get_layer(f"swin_block{n}").shift for n in (1, 2)] == [0, 2]


def test_gates_lie_between_0_and_1_and_scale_each_position(model, maps):
    gates, scaled = (
        keras.ops.convert_to_numpy(x) for x in branches(model, "spatial_gates", "spatial_excitation")(maps)
    )
    assert 0 < gates.min() < gates.max() < 1
    np.testing.assert_allclose(scaled, maps[0] * gates, rtol=1e-6)


def test_without_excitation_weights_all_is_halved(model, maps):
    layers = [model.get_layer(name) for name in ("spatial_squeeze", "spatial_gates")]
    kept = [layer.get_weights() for layer in layers]
    for layer in layers:
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    scaled = keras.ops.convert_to_numpy(branches(model, "spatial_excitation")(maps))
    for layer, weights in zip(layers, kept, strict=True):
        layer.set_weights(weights)
    np.testing.assert_array_equal(scaled, maps[0] * np.float32(0.5))


def test_each_branch_has_a_say(model, maps):
    kernel, _ = model.get_layer("probabilities").get_weights()
    part = branches(model, "deep_features", "spatial_features", "swin_features", "branches", "probabilities")
    *three, joined, probabilities = (keras.ops.convert_to_numpy(x) for x in part(maps))
    np.testing.assert_array_equal(np.concatenate(three, axis=-1), joined)
    assert all(np.ptp(features, axis=0).max() > 1e-3 for features in three)
    assert kernel.shape == (768, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


def test_a_step_trains_every_layer_of_the_branches(model, maps):
    part = branches(model, "probabilities")
    start = part.get_weights()
    part.compile("adam", loss="categorical_crossentropy", run_eagerly=True)
    part.train_on_batch(maps, np.eye(3, dtype="float32")[[0, 1]])
    for weight, before in zip(part.weights, start, strict=True):
        assert np.abs(weight.numpy() - before).max() > 0, weight.path


def test_at_64_pixels_and_cut_behind_the_fork():
    model = build_model("sw_forknet", ModelSettings(image_size=64, class_count=3))
    assert model.get_layer("conv3_block12_concat").output.shape == (None, 8, 8, 512)
    assert model.get_layer("swin_patch_embedding").output.shape == (None, 2, 2, 256)
    assert model.count_params() == COUNT  # no weight depends on the image size
    freeze_through(model, "pool3_pool")
    assert not model.get_layer("conv3_block12_2_conv").trainable_weights
    assert model.get_layer("conv4_block1_1_conv").trainable_weights
    own = own_layers(model)
    assert len(own) == 9
    assert all(len(layer.trainable_weights) == len(layer.weights) for layer in own)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    found = keras.ops.convert_to_numpy(model({"image": images}, training=False))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 0


def test_a_backbone_without_the_fork_is_refused():
    with pytest.raises(ConfigurationError, match=r"densenet121 or densenet201.*Received: backbone='vgg16'"):
        build_model("sw_forknet", ModelSettings(image_size=64), backbone="vgg16")
