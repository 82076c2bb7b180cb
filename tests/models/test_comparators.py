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
NAN = float("nan")


def pixels(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype("float32")


def output(model: keras.Model, layer: str, images: np.ndarray) -> np.ndarray:
    part = keras.Model(model.inputs, model.get_layer(layer).output)
    return ops.convert_to_numpy(part({"image": images}, training=False))


def trainable(model: keras.Model) -> int:
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def shape(model: keras.Model, layer: str) -> tuple[int, ...]:
    return model.get_layer(layer).output.shape[1:]


# --- ViT ---

TINY_VIT = {"width": 12, "depth": 2, "heads": 3, "mlp": 20}


@pytest.fixture
def tiny_vit() -> keras.Model:
    """With weights large enough that everything has an effect."""
    model = build_model("vit", ModelSettings(image_size=48, class_count=3), **TINY_VIT)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(scale=0.5, size=weight.shape) + (1.0 if weight.name == "gamma" else 0.0))
    return model


def test_vit_b16_has_the_published_number_of_parameters():
    model = build_model("vit", ModelSettings(image_size=224, class_count=1000))
    assert model.count_params() == 86_567_656
    # With three classes 997 units of the last layer are left out.
    assert model.get_layer("probabilities").count_params() == 769 * 1000
    assert 86_567_656 - 769 * 997 == 85_800_963
    assert model.get_layer("patch_tokens").output.shape == (None, 196, 768)
    assert model.get_layer("final_norm").output.shape == (None, 197, 768)


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


def test_vit_follows_the_definition(tiny_vit):
    images = pixels(3, 48)
    expected = vit_by_definition(tiny_vit, images, TINY_VIT["heads"], TINY_VIT["depth"])
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(output(tiny_vit, "final_norm", images), expected, atol=1e-4)
    kernel, bias = tiny_vit.get_layer("probabilities").get_weights()
    probabilities = softmax(expected[:, 0] @ kernel + bias, axis=-1)
    assert np.ptp(probabilities, axis=0).max() > 0.01
    np.testing.assert_allclose(output(tiny_vit, "probabilities", images), probabilities, atol=1e-4)


# --- ConvMixer ---

TINY_MIXER = {"width": 4, "depth": 2, "kernel": 3}


def test_what_is_trained_in_convmixer_and_its_shapes():
    model = build_model("convmixer", ModelSettings(image_size=64, class_count=3))
    assert sum(math.prod(weight.shape) for weight in model.trainable_weights) == 592_387
    assert model.get_layer("patch_embedding").output.shape == (None, 32, 32, 256)
    assert model.get_layer("block8_point_norm").output.shape == (None, 32, 32, 256)


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
    model = build_model("convmixer", ModelSettings(image_size=8, class_count=3), **TINY_MIXER)
    rng = np.random.default_rng(1)
    for weight in model.weights:  # the statistics of BatchNorm too: positive, none 0 or 1
        values = rng.normal(scale=0.5, size=weight.shape)
        weight.assign(values if "kernel" in weight.name else 0.5 + np.abs(values))
    images = pixels(3, 8)
    expected = convmixer_by_definition(model, images, depth=2, patch=2)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(output(model, "block2_point_norm", images), expected, atol=1e-4)
    kernel, bias = model.get_layer("probabilities").get_weights()
    probabilities = softmax(expected.mean((1, 2)) @ kernel + bias, axis=-1)
    assert np.ptp(probabilities, axis=0).max() > 0.01
    np.testing.assert_allclose(output(model, "probabilities", images), probabilities, atol=1e-4)


# --- Swin Transformer ---

TINY_SWIN = {"embed": 8, "depths": [2, 1], "heads": [2, 4]}


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
    found = output(model, "probabilities", pixels(1, size))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


def swin_by_layers(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The map before pooling, layer after layer as the definition has them."""
    x = swin.patch_embedding((images / 255 - MEAN) / DEVIATION, model.get_layer("patch_embedding"))
    x = swin.block(x, model.get_layer("stage1_block1"))
    x = swin.block(x, model.get_layer("stage1_block2"))
    x = swin.patch_merging(x, model.get_layer("stage2_merging"))
    x = swin.block(x, model.get_layer("stage2_block1"))
    return swin.layer_norm(x, model.get_layer("final_norm"))


def test_swin_follows_the_definition():
    model = build_model("swin", ModelSettings(image_size=32), **TINY_SWIN)
    assert [model.get_layer(f"stage{n}_block1").output.shape[1:] for n in (1, 2)] == [(8, 8, 8), (4, 4, 16)]
    swin.randomise(model)
    images = pixels(2, 32) * np.array([[1, 1, 1], [1, 0.5, 0]], "float32")[:, None, None]  # one grey, one reddish
    expected = swin_by_layers(model, images)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(output(model, "final_norm", images), expected, atol=1e-4)
    kernel, bias = model.get_layer("probabilities").get_weights()
    probabilities = softmax(expected.mean((1, 2)) @ kernel + bias, axis=-1)
    assert np.ptp(probabilities, axis=0).max() > 0.01
    np.testing.assert_allclose(output(model, "probabilities", images), probabilities, atol=1e-4)


# --- DenseNets ---


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


def densenet_by_definition(model: keras.Model, images: np.ndarray) -> np.ndarray:
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
    found, expected = output(model, "block3_layer1_concat", images), densenet_by_definition(model, images)
    assert found.shape == (2, 2, 2, 16 + 9)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# --- SW-ForkNet ---

COUNT = 11_178_068


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


def own_layers(model: keras.Model) -> list[keras.Layer]:
    part = branches(model, "probabilities")
    return [layer for layer in part.layers if layer.weights]


def test_counts_of_sw_forknet(forknet):
    parts = {layer.name: layer.count_params() for layer in own_layers(forknet)}
    assert parts["spatial_squeeze"] + parts["spatial_gates"] == 65_793
    assert sum(count for name, count in parts.items() if name.startswith("swin_")) == 3_678_736
    # DenseNet-121 has 7,037,504; two Dense(256) on 1,024 and 512 features; Dense(3) on the three branches.
    assert COUNT == 7_037_504 + 262_400 + 131_328 + 65_793 + 3_678_736 + 2_307
    assert forknet.count_params() == COUNT


def test_shapes_of_sw_forknet(forknet):
    def shape(name):
        return forknet.get_layer(name).output.shape[1:]

    assert shape("conv3_block12_concat") == shape("spatial_excitation") == (28, 28, 512)
    assert shape("spatial_gates") == (28, 28, 1)
    assert shape("swin_patch_embedding") == shape("swin_norm") == (7, 7, 256)
    assert shape("deep_features") == shape("spatial_features") == shape("swin_features") == (256,)
    assert shape("branches") == (768,)
    assert shape("probabilities") == (3,)
    assert forknet.get_layer("deep_pool").input is forknet.get_layer("relu").output
    assert forknet.get_layer("swin_patch_embedding").input is forknet.get_layer("conv3_block12_concat").output
    assert [forknet.get_layer(f"swin_block{n}").shift for n in (1, 2)] == [0, 2]


def test_gates_lie_between_0_and_1_and_scale_each_position(forknet, maps):
    gates, scaled = (
        keras.ops.convert_to_numpy(x) for x in branches(forknet, "spatial_gates", "spatial_excitation")(maps)
    )
    assert 0 < gates.min() < gates.max() < 1
    np.testing.assert_allclose(scaled, maps[0] * gates, rtol=1e-6)


def test_each_branch_has_a_say(forknet, maps):
    kernel, _ = forknet.get_layer("probabilities").get_weights()
    part = branches(forknet, "deep_features", "spatial_features", "swin_features", "branches", "probabilities")
    *three, joined, probabilities = (keras.ops.convert_to_numpy(x) for x in part(maps))
    np.testing.assert_array_equal(np.concatenate(three, axis=-1), joined)
    assert all(np.ptp(features, axis=0).max() > 1e-3 for features in three)
    assert kernel.shape == (768, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


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


# --- VGG-Like ---


@pytest.fixture
def tiny_vgg() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model("vgg_like", ModelSettings(image_size=64, class_count=3), width=4, dense_width=8)


def test_the_layers_of_vgg_like_at_64_pixels(tiny_vgg):
    # Two convolutions without padding take four pixels, pooling halves: 64 → 60 → 30 → 26 → 13.
    assert tiny_vgg.get_layer("block1_conv2").output.shape == (None, 60, 60, 4)
    assert tiny_vgg.get_layer("block2_pool").output.shape == (None, 13, 13, 8)
    assert tiny_vgg.get_layer("flatten").output.shape == (None, 13 * 13 * 8)
    rates = [layer.rate for layer in tiny_vgg.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.25, 0.25, 0.5]


# --- BRINT + CNN ---


@pytest.mark.parametrize(
    ("backbone", "head", "total", "not_trained"),
    [
        ("vgg16", [128, 128], 17_942_979, 0),
        ("vgg19", [128, 0.3, 128, 0.3], 23_252_675, 0),
        ("mobilenetv2", [0.2, 512, 32], 34_387_651, 34_112),  # the moving statistics of BatchNorm
    ],
)
def test_counts_of_the_published_heads(backbone, head, total, not_trained):
    model = build_model("brint_classifier", ModelSettings(224), backbone=backbone, head=head)
    assert model.count_params() == total
    assert trainable(model) == total - not_trained


def test_of_the_frozen_resnet_the_head_is_trained():
    model = build_model("brint_classifier", ModelSettings(224), backbone="resnet50", head=[128, 0.3, 128, 0.3])
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
