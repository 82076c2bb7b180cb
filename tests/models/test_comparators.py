"""The comparators against their definitions, published counts and shapes."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import swin_by_definition as swin
from keras import ops
from scipy.signal import correlate2d
from scipy.special import erf, softmax

from mmdc_tf.models import ModelSettings, build_model, freeze_through

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet, of [0, 1]


def pixels(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype("float32")


def output(model: keras.Model, layer: str, images: np.ndarray) -> np.ndarray:
    part = keras.Model(model.inputs, model.get_layer(layer).output)
    return ops.convert_to_numpy(part({"image": images}, training=False))


def assert_follows(model: keras.Model, images: np.ndarray, layer: str, expected: np.ndarray, features) -> None:
    """A layer gives what is expected, and the model the probabilities of these features."""
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(output(model, layer, images), expected, atol=1e-4)
    kernel, bias = model.get_layer("probabilities").get_weights()
    probabilities = softmax(features @ kernel + bias, axis=-1)
    assert np.ptp(probabilities, axis=0).max() > 0.01
    np.testing.assert_allclose(output(model, "probabilities", images), probabilities, atol=1e-4)


# --- ViT ---

TINY_VIT = {"width": 12, "depth": 2, "heads": 3, "mlp": 20}


def vit_by_definition(model: keras.Model, images: np.ndarray, heads: int, depth: int) -> np.ndarray:
    """Equations 1 to 4 of Dosovitskiy et al. in float64: the tokens before the head."""

    def weights(name):
        return [weight.astype("float64") for weight in model.get_layer(name).get_weights()]

    def norm(x, name):
        gamma, beta = weights(name)
        centred = x - x.mean(-1, keepdims=True)
        return gamma * centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) + beta

    def attention(x, name):
        wq, bq, wk, bk, wv, bv, wo, bo = weights(name)
        total = bo
        for head in range(heads):
            query, key, value = (x @ w[:, head] + b[head] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
            scores = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1]), axis=-1)
            total = total + scores @ value @ wo[head]
        return total

    def mlp(x, name):
        (w1, b1), (w2, b2) = weights(f"{name}_hidden"), weights(f"{name}_output")
        hidden = x @ w1 + b1
        return hidden * (1 + erf(hidden / np.sqrt(2))) / 2 @ w2 + b2

    side = images.shape[1] // 16
    patches = (images.astype("float64") / 127.5 - 1).reshape(-1, side, 16, side, 16, 3)
    kernel, bias = weights("patch_embedding")
    x = (np.einsum("naibjc,ijco->nabo", patches, kernel) + bias).reshape(len(images), side * side, -1)
    token, positions = weights("class_token")
    x = np.concatenate([np.repeat(token, len(images), axis=0), x], axis=1) + positions
    for number in range(1, depth + 1):
        x = x + attention(norm(x, f"block{number}_attention_norm"), f"block{number}_attention")
        x = x + mlp(norm(x, f"block{number}_mlp_norm"), f"block{number}_mlp")
    return norm(x, "final_norm")


def test_vit_follows_the_definition():
    model = build_model("vit", ModelSettings(image_size=48), **TINY_VIT)
    rng = np.random.default_rng(1)
    for weight in model.weights:  # so large that everything has an effect
        weight.assign(rng.normal(scale=0.5, size=weight.shape) + (1.0 if weight.name == "gamma" else 0.0))
    images = pixels(3, 48)
    expected = vit_by_definition(model, images, TINY_VIT["heads"], TINY_VIT["depth"])
    assert_follows(model, images, "final_norm", expected, expected[:, 0])


# --- ConvMixer ---


def convmixer_by_definition(model: keras.Model, images: np.ndarray, depth: int, patch: int) -> np.ndarray:
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


def test_convmixer_follows_the_definition():
    model = build_model("convmixer", ModelSettings(image_size=8), width=4, depth=2, kernel=3)
    rng = np.random.default_rng(1)
    for weight in model.weights:  # the statistics of BatchNorm too: positive, none 0 or 1
        values = rng.normal(scale=0.5, size=weight.shape)
        weight.assign(values if "kernel" in weight.name else 0.5 + np.abs(values))
    images = pixels(3, 8)
    expected = convmixer_by_definition(model, images, depth=2, patch=2)
    assert_follows(model, images, "block2_point_norm", expected, expected.mean((1, 2)))


# --- Swin Transformer ---


@pytest.mark.parametrize(
    ("size", "sides", "windows"),
    [(224, [56, 28, 14, 7], [7, 7, 7, 7]), (112, [28, 14, 7, 4], [7, 7, 7, 4]), (64, [16, 8, 4, 2], [4, 4, 4, 2])],
)
def test_the_windows_of_each_size(size, sides, windows):
    model = build_model("swin", ModelSettings(size), embed=4, depths=[2, 2, 2, 2], heads=[1, 2, 2, 4])
    for number, (side, window) in enumerate(zip(sides, windows, strict=True), start=1):
        plain, shifted = (model.get_layer(f"stage{number}_block{block}") for block in (1, 2))
        assert plain.output.shape[1:3] == (side, side)
        assert (plain.window, plain.shift, shifted.window, shifted.shift) == (window, 0, window, window // 2)


def swin_by_layers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The map before pooling, layer after layer as the definition has them."""
    x = swin.patch_embedding((images / 255 - MEAN) / DEVIATION, model.get_layer("patch_embedding"))
    x = swin.block(x, model.get_layer("stage1_block1"))
    x = swin.block(x, model.get_layer("stage1_block2"))
    x = swin.patch_merging(x, model.get_layer("stage2_merging"))
    x = swin.block(x, model.get_layer("stage2_block1"))
    return swin.layer_norm(x, model.get_layer("final_norm"))


def test_swin_follows_the_definition():
    model = build_model("swin", ModelSettings(image_size=32), embed=8, depths=[2, 1], heads=[2, 4])
    swin.randomise(model)
    images = pixels(2, 32) * np.array([[1, 1, 1], [1, 0.5, 0]], "float32")[:, None, None]  # one grey, one reddish
    expected = swin_by_layers(model, images)
    assert_follows(model, images, "final_norm", expected, expected.mean((1, 2)))


# --- DenseNets ---


def fill(weights: list[keras.Variable]) -> None:
    """Values of the size of trained ones; among them the statistics of BatchNorm, which must be positive."""
    rng = np.random.default_rng(1)
    for weight in weights:
        scale = 1 / math.sqrt(math.prod(weight.shape[:-1])) if len(weight.shape) == 4 else 1.0
        values = rng.normal(scale=scale, size=weight.shape)
        weight.assign(values if len(weight.shape) == 4 else 0.5 + np.abs(values) / 2)


def test_densenet121_is_the_one_of_keras_applications():
    # The same builder with growth 32 and DenseNet-121's blocks; every weight is copied, in order.
    ours = build_model("densenet161", ModelSettings(image_size=32), growth=32, blocks=(6, 12, 24, 16))
    theirs = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(32, 32, 3))
    fill(theirs.weights)
    features = keras.Model(ours.inputs, ours.get_layer("final_relu").output)
    features.set_weights(theirs.get_weights())
    images = pixels(2, 32)
    expected = ops.convert_to_numpy(theirs(((images / 255 - MEAN) / DEVIATION).astype("float32"), training=False))
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(
        output(ours, "final_relu", images), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )


def test_densenet40_differs_by_its_stem_and_its_layers_without_bottleneck():
    """The rest is the builder of the test above; the number of parameters is in test_models.py."""
    model = build_model("densenet40", ModelSettings(image_size=32))
    sides = {name: model.get_layer(name).output.shape[1:] for name in ("stem_conv", "transition1_pool", "final_relu")}
    assert sides == {"stem_conv": (32, 32, 16), "transition1_pool": (16, 16, 160), "final_relu": (8, 8, 448)}
    assert not [layer.name for layer in model.layers if "bottleneck" in layer.name]


# --- SW-ForkNet ---

BRANCHES = ("deep_features", "spatial_features", "swin_features")


@pytest.fixture(scope="module")
def forknet() -> keras.Model:
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


def test_where_the_branches_of_sw_forknet_stand(forknet):
    """The number of parameters (test_models.py) says the rest."""
    fork = forknet.get_layer("conv3_block12_concat").output
    assert fork.shape[1:] == (28, 28, 512)
    assert forknet.get_layer("deep_pool").input is forknet.get_layer("relu").output
    assert forknet.get_layer("swin_patch_embedding").input is forknet.get_layer("spatial_squeeze").input is fork
    assert forknet.get_layer("swin_norm").output.shape[1:] == (7, 7, 256)
    assert [forknet.get_layer(f"swin_block{n}").shift for n in (1, 2)] == [0, 2]
    parts = {layer.name: layer.count_params() for layer in branches(forknet, "probabilities").layers}
    assert parts["spatial_squeeze"] + parts["spatial_gates"] == 65_793
    assert sum(count for name, count in parts.items() if name.startswith("swin_")) == 3_678_736


def test_gates_scale_each_position_and_each_branch_has_a_say(forknet, maps):
    part = branches(forknet, "spatial_gates", "spatial_excitation", *BRANCHES, "branches")
    gates, scaled, *features, joined = (keras.ops.convert_to_numpy(x) for x in part(maps))
    assert 0 < gates.min() < gates.max() < 1
    np.testing.assert_allclose(scaled, maps[0] * gates, rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate(features, axis=-1), joined)
    assert all(np.ptp(branch, axis=0).max() > 1e-3 for branch in features)


def test_a_step_trains_every_layer_of_the_branches(forknet, maps, tmp_path):
    part = branches(forknet, "probabilities")
    start = part.get_weights()
    part.compile("adam", loss="categorical_crossentropy", run_eagerly=True)
    part.train_on_batch(maps, np.eye(3, dtype="float32")[[0, 1]])
    for weight, before in zip(part.weights, start, strict=True):
        assert np.abs(weight.numpy() - before).max() > 0, weight.path
    part.save(tmp_path / "part.keras")
    again = keras.models.load_model(tmp_path / "part.keras")
    np.testing.assert_allclose(np.asarray(again(maps)), np.asarray(part(maps)), atol=1e-6)


def test_sw_forknet_at_64_pixels_is_cut_behind_the_fork():
    model = build_model("sw_forknet", ModelSettings(image_size=64))
    assert model.count_params() == 11_178_068  # as at 224: no weight depends on the image size
    freeze_through(model, "pool3_pool")
    assert not model.get_layer("conv3_block12_2_conv").trainable_weights
    assert model.get_layer("conv4_block1_1_conv").trainable_weights
    own = [layer for layer in branches(model, "probabilities").layers if layer.weights]
    assert len(own) == 9
    assert all(len(layer.trainable_weights) == len(layer.weights) for layer in own)


# --- VGG-Like and BRINT + CNN: their numbers of parameters (test_models.py) leave only the dropouts open ---


@pytest.mark.parametrize(("name", "rates"), [("vgg_like", [0.25, 0.25, 0.5]), ("brint_custom_cnn", [0.25, 0.25])])
def test_the_dropouts_of_small_networks(name, rates):
    model = build_model(name, ModelSettings(image_size=64), width=4, dense_width=8)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == rates


def test_of_the_frozen_resnet_the_head_is_trained():
    model = build_model("brint_classifier", ModelSettings(224), backbone="resnet50", head=[128, 0.3, 128, 0.3])
    assert model.count_params() == 36_449_795
    freeze_through(model, "conv5_block3_out")
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == 12_862_083


def test_a_head_is_built_in_the_order_given(tiny_backbone):
    model = build_model("brint_classifier", ModelSettings(32), backbone=tiny_backbone, head=[0.2, 12, 0.3, 5])
    kinds = [(type(layer).__name__, getattr(layer, "rate", None) or layer.units) for layer in model.layers[-5:]]
    assert kinds == [("Dropout", 0.2), ("Dense", 12), ("Dropout", 0.3), ("Dense", 5), ("Dense", 3)]
    activations = [layer.activation.__name__ for layer in model.layers if hasattr(layer, "units")]
    assert activations == ["relu", "relu", "softmax"]
    assert model.get_layer("flatten").output.shape == (None, 16 * 16 * 8)
