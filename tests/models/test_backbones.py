"""Backbones: their cuts and Grad-CAM layers, and freezing."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import BACKBONES, ModelSettings, build_model, freeze_through
from mmdc_tf.models.backbones import Backbone, register_backbone

SETTINGS = ModelSettings(image_size=32)
REAL = ("densenet121", "densenet201", "efficientnetb0", "vgg16")


@pytest.fixture(scope="module", params=REAL)
def real(request) -> tuple[Backbone, keras.Model]:
    """Each backbone, and a classifier of 32-pixel images with it."""
    return BACKBONES[request.param], build_model("backbone_classifier", SETTINGS, backbone=request.param)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype("float32")


# --- declared layers ---


def test_cuts_are_layers_from_early_to_late(real):
    backbone, model = real
    names = [layer.name for layer in model.layers]
    places = [names.index(cut) for cut in backbone.cuts]
    assert places == sorted(places)
    assert len(backbone.cuts) >= 3
    sides = [model.get_layer(cut).output.shape[1] for cut in backbone.cuts]
    assert sides == sorted(sides, reverse=True)


def test_gradcam_layer_is_the_last_feature_map(real):
    backbone, model = real
    assert model.get_layer(backbone.gradcam_layer).output is model.get_layer("image_pool").input


def test_every_layer_of_the_backbone_is_reachable_by_name(real):
    _, model = real
    assert not [layer for layer in model.layers if isinstance(layer, keras.Model)]


def test_a_taken_backbone_name_raises():
    before = BACKBONES["vgg16"]
    with pytest.raises(ConfigurationError, match="name='vgg16'"):
        register_backbone(before)


# --- freezing ---

# The parts of each backbone before a cut, by the prefixes of their layers' names, read off the architectures.
BEFORE = {
    ("vgg16", "block1_pool"): ("block1",),
    ("vgg16", "block3_pool"): ("block1", "block2", "block3"),
    ("vgg16", "block4_pool"): ("block1", "block2", "block3", "block4"),
    ("densenet121", "pool3_pool"): ("zero_padding2d", "conv1", "pool1", "conv2", "pool2", "conv3", "pool3"),
    ("densenet201", "pool2_pool"): ("zero_padding2d", "conv1", "pool1", "conv2", "pool2"),
    ("efficientnetb0", "block2b_add"): ("rescaling", "normalization", "stem", "block1", "block2"),
    ("efficientnetb0", "block4c_add"): (
        *("rescaling", "normalization", "stem", "block1", "block2", "block3", "block4"),
    ),
}


def test_freezing_stops_exactly_at_the_cut(real):
    backbone, model = real
    for (name, cut), parts in BEFORE.items():
        if name != backbone.name:
            continue
        model.trainable = True
        freeze_through(model, cut)
        frozen = {layer.name for layer in model.layers if not layer.trainable}
        prefixes = ("image", "input_scaling", *parts)
        expected = {layer.name for layer in model.layers if layer.name.startswith(prefixes)} - {"image_pool"}
        assert frozen == expected, cut
        kept = {id(weight) for layer in model.layers if layer.name in expected for weight in layer.weights}
        assert kept
        assert not kept & {id(weight) for weight in model.trainable_weights}
        assert model.trainable_weights


def frozen_tiny(name: str) -> keras.Model:
    model = build_model("backbone_classifier", SETTINGS, backbone=name)
    freeze_through(model, "tiny_pool1")
    return model


def test_frozen_weights_and_statistics_stay_in_training(tiny_backbone, images):
    model = frozen_tiny(tiny_backbone)
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


def test_frozen_batch_norm_infers_even_when_called_in_training(tiny_backbone, images):
    for freeze, same in ((True, True), (False, False)):
        model = build_model("backbone_classifier", SETTINGS, backbone=tiny_backbone)
        if freeze:
            freeze_through(model, "tiny_pool1")
        first = keras.Model(model.inputs, model.get_layer("tiny_pool1").output)
        training, inference = (keras.ops.convert_to_numpy(first([images], training=flag)) for flag in (True, False))
        assert np.array_equal(training, inference) is same


def test_freezing_leaves_the_clinical_part_trainable(tiny_backbone):
    model = build_model("mmdcnet", SETTINGS, backbone=tiny_backbone, conv_filters=16)
    freeze_through(model, "tiny_pool1")
    frozen = {layer.name for layer in model.layers if layer.weights and not layer.trainable}
    assert frozen == {"tiny_conv1", "tiny_bn1"}


def test_a_frozen_model_is_still_frozen_when_loaded(tiny_backbone, tmp_path):
    model = frozen_tiny(tiny_backbone)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    frozen = {layer.name for layer in again.layers if layer.weights and not layer.trainable}
    assert frozen == {"tiny_conv1", "tiny_bn1"}


def test_an_unknown_cut_raises_and_names_the_backbones_cuts(tiny_backbone):
    model = build_model("backbone_classifier", SETTINGS, backbone=tiny_backbone)
    with pytest.raises(ConfigurationError, match=r"Received: cut='tiny_pool9'.*The backbone's cuts: tiny_pool1\."):
        freeze_through(model, "tiny_pool9")
    assert all(layer.trainable for layer in model.layers)
