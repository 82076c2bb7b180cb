"""Backbones: their scaling, sizes, cuts and Grad-CAM layers, and freezing."""

from __future__ import annotations

import warnings
from types import ModuleType

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import InputScaling
from mmdc_tf.models import BACKBONES, ModelSettings, build_model, freeze_statistics, freeze_through
from mmdc_tf.models.backbones import Backbone

SETTINGS = ModelSettings(image_size=32)
FAMILIES: dict[str, ModuleType] = {
    "densenet121": keras.applications.densenet,
    "densenet201": keras.applications.densenet,
    "efficientnetb0": keras.applications.efficientnet,
    "vgg16": keras.applications.vgg16,
    "vgg19": keras.applications.vgg19,
    "resnet50": keras.applications.resnet,
    "resnet101": keras.applications.resnet,
    "xception": keras.applications.xception,
    "inceptionv3": keras.applications.inception_v3,
    "mobilenet": keras.applications.mobilenet,
    "mobilenetv2": keras.applications.mobilenet_v2,
}


@pytest.fixture(scope="module", params=FAMILIES)
def real(request) -> tuple[Backbone, keras.Model]:
    """Each backbone, and a classifier with it of images of 64 pixels, or the least that it takes."""
    backbone = BACKBONES[request.param]
    settings = ModelSettings(image_size=max(64, backbone.smallest_size))
    with warnings.catch_warnings():
        # MobileNet's builders warn of sizes that they hold to be other than asked for.
        warnings.simplefilter("error", UserWarning)
        return backbone, build_model("backbone_classifier", settings, backbone=backbone.name)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")


# --- scaling and sizes ---


def test_every_backbone_is_tested_here():
    assert set(FAMILIES) == set(BACKBONES)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_scaling_is_that_of_the_family(name, images):
    found = keras.ops.convert_to_numpy(InputScaling(BACKBONES[name].scaling)(images))
    np.testing.assert_allclose(found, FAMILIES[name].preprocess_input(images.copy()), atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_smallest_size_is_the_one_that_keras_names(name):
    backbone = BACKBONES[name]
    small = backbone.smallest_size - 1
    with pytest.raises(ValueError, match=rf"at least {small + 1}x{small + 1}"):
        backbone.builder(include_top=False, weights=None, input_shape=(small, small, 3))
    with pytest.raises(ConfigurationError, match=f"at least {small + 1} pixels.*Received: image_size={small}"):
        build_model("backbone_classifier", ModelSettings(small), backbone=name)


# --- declared layers ---


def test_cuts_go_from_early_to_late_and_the_last_feature_map_is_pooled(real):
    backbone, model = real
    names = [layer.name for layer in model.layers]
    places = [names.index(cut) for cut in backbone.cuts]
    assert places == sorted(places)
    assert len(backbone.cuts) >= 3
    sides = [model.get_layer(cut).output.shape[1] for cut in backbone.cuts]
    assert sides == sorted(sides, reverse=True)
    assert model.get_layer(backbone.gradcam_layer).output is model.get_layer("image_pool").input
    assert not [layer for layer in model.layers if isinstance(layer, keras.Model)]  # each is reachable by its name


@pytest.mark.parametrize("name", ["xception", "inceptionv3"])
def test_declared_layers_keep_their_names_where_others_are_numbered(name):
    """Keras' own numbers (conv2d_12) count the layers of the whole process: every model has others."""
    backbone = BACKBONES[name]
    settings = ModelSettings(backbone.smallest_size)
    first, second = (
        {layer.name for layer in build_model("backbone_classifier", settings, backbone=name).layers} for _ in range(2)
    )
    assert len(first - second) > 4
    assert {*backbone.cuts, backbone.gradcam_layer} <= first & second


# --- freezing ---

# The parts of each backbone before a cut, by the prefixes of their layers' names, read off the architectures.
BEFORE = {
    ("vgg16", "block1_pool"): ("block1",),
    ("vgg16", "block3_pool"): ("block1", "block2", "block3"),
    ("vgg16", "block4_pool"): ("block1", "block2", "block3", "block4"),
    ("vgg19", "block3_pool"): ("block1", "block2", "block3"),
    ("resnet50", "conv3_block4_out"): ("conv1", "pool1", "conv2", "conv3"),
    ("resnet50", "conv4_block4_out"): (
        *("conv1", "pool1", "conv2", "conv3", "conv4_block1", "conv4_block2", "conv4_block3", "conv4_block4"),
    ),
    ("resnet101", "conv4_block23_out"): ("conv1", "pool1", "conv2", "conv3", "conv4"),
    ("densenet121", "pool3_pool"): ("zero_padding2d", "conv1", "pool1", "conv2", "pool2", "conv3", "pool3"),
    ("densenet201", "pool2_pool"): ("zero_padding2d", "conv1", "pool1", "conv2", "pool2"),
    ("efficientnetb0", "block2b_add"): ("rescaling", "normalization", "stem", "block1", "block2"),
    ("efficientnetb0", "block4c_add"): (
        *("rescaling", "normalization", "stem", "block1", "block2", "block3", "block4"),
    ),
}


def freeze_afresh(model: keras.Model, cut: str) -> None:
    """Freezes a model that another test may have frozen further."""
    for layer in model.layers:  # model.trainable = True does nothing where the model itself is trainable already
        layer.trainable = True
    freeze_through(model, cut)


def test_freezing_stops_exactly_at_the_cut(real):
    backbone, model = real
    for (name, cut), parts in BEFORE.items():
        if name != backbone.name:
            continue
        freeze_afresh(model, cut)
        frozen = {layer.name for layer in model.layers if not layer.trainable}
        prefixes = ("image", "input_scaling", *parts)
        expected = {layer.name for layer in model.layers if layer.name.startswith(prefixes)} - {"image_pool"}
        assert frozen == expected, cut
        kept = {id(weight) for layer in model.layers if layer.name in expected for weight in layer.weights}
        assert kept
        assert not kept & {id(weight) for weight in model.trainable_weights}
        assert model.trainable_weights


def weighted(layers: list[keras.layers.Layer]) -> set[str]:
    return {layer.name for layer in layers if layer.weights}


def test_every_cut_parts_the_network_in_two(real):
    """All that has weights is either frozen or computed from the cut alone: no branch goes past it."""
    backbone, model = real
    for cut in backbone.cuts:
        freeze_afresh(model, cut)
        layer = model.get_layer(cut)
        # Xception's cuts are the ReLU on a block's sum, and it is the sum that the next shortcut starts from.
        point = layer.input if backbone.name == "xception" else layer.output
        after = weighted(keras.Model(point, model.output).layers)
        frozen = weighted([layer for layer in model.layers if not layer.trainable])
        assert not frozen & after, cut
        assert frozen | after == weighted(model.layers), cut


def test_frozen_weights_and_statistics_stay_in_training(tiny_backbone, images):
    model = build_model("backbone_classifier", SETTINGS, backbone=tiny_backbone)
    freeze_through(model, "tiny_pool1")
    model.compile(keras.optimizers.SGD(0.1), loss="categorical_crossentropy", jit_compile=False)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    for _ in range(2):
        model.train_on_batch({"image": images}, np.eye(3, dtype="float32"))
    after = {layer.name: layer.get_weights() for layer in model.layers}
    for name in ("tiny_conv1", "tiny_bn1"):
        for one, other in zip(before[name], after[name], strict=True):
            np.testing.assert_array_equal(one, other)
    for name in ("tiny_conv2_linear", "tiny_bn2", "probabilities"):
        assert all(not np.array_equal(one, other) for one, other in zip(before[name], after[name], strict=True)), name


def test_with_frozen_statistics_the_convolutions_learn_and_batch_norm_infers(tiny_backbone, images):
    model = build_model("backbone_classifier", SETTINGS, backbone=tiny_backbone)
    freeze_statistics(model, "tiny_conv2")
    model.compile(keras.optimizers.SGD(0.1), loss="categorical_crossentropy", jit_compile=False)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model.train_on_batch({"image": images}, np.eye(3, dtype="float32"))
    after = {layer.name: layer.get_weights() for layer in model.layers}
    for name in ("tiny_bn1", "tiny_bn2"):
        assert all(np.array_equal(one, other) for one, other in zip(before[name], after[name], strict=True)), name
    for name in ("tiny_conv1", "tiny_conv2_linear", "probabilities"):
        assert not np.array_equal(before[name][0], after[name][0]), name


def test_frozen_batch_norm_infers_even_when_called_in_training(tiny_backbone, images):
    for freeze, same in ((True, True), (False, False)):
        model = build_model("backbone_classifier", SETTINGS, backbone=tiny_backbone)
        if freeze:
            freeze_through(model, "tiny_pool1")
        first = keras.Model(model.inputs, model.get_layer("tiny_pool1").output)
        training, inference = (keras.ops.convert_to_numpy(first([images], training=flag)) for flag in (True, False))
        assert np.array_equal(training, inference) is same


def test_freezing_leaves_the_clinical_part_trainable_and_is_saved(tiny_backbone, tmp_path):
    model = build_model("mmdcnet", SETTINGS, backbone=tiny_backbone, conv_filters=16)
    freeze_through(model, "tiny_pool1")
    model.save(tmp_path / "model.keras")
    for one in (model, keras.models.load_model(tmp_path / "model.keras")):
        frozen = {layer.name for layer in one.layers if layer.weights and not layer.trainable}
        assert frozen == {"tiny_conv1", "tiny_bn1"}


def test_an_unknown_cut_raises_and_names_the_backbones_cuts(tiny_backbone):
    model = build_model("backbone_classifier", SETTINGS, backbone=tiny_backbone)
    with pytest.raises(ConfigurationError, match=r"Received: cut='tiny_pool9'.*The backbone's cuts: tiny_pool1\."):
        freeze_through(model, "tiny_pool9")
    assert all(layer.trainable for layer in model.layers)
