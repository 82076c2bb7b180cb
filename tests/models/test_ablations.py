"""M1 to M5 of Fig. 3: what each has and lacks, and what is frozen in M1."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import keras
import pytest

from mmdc_tf.experiments.rows import load_table
from mmdc_tf.layers import DoubleConvSE, SpatialSelfAttention, SqueezeExcitation, TokenFusion
from mmdc_tf.models import MODELS, ModelSettings, build_model, freeze_through

CHANNELS = {"m2": 512, "m3": 1920, "m4": 1280}
SECOND_BLOCK = "conv3_block12_concat"
MODELS_OF_FIG_3 = {row.name: row for row in load_table("figure3").rows if row.name != "mmdcnet"}


@pytest.fixture(scope="module")
def built() -> Callable[[str], keras.Model]:
    """Each of the five models, built once."""

    @cache
    def build(name: str) -> keras.Model:
        row, size = MODELS_OF_FIG_3[name], 224 if name == "m1" else 64
        return build_model(row.model, ModelSettings(size), **row.arguments)

    return build


def kinds(model: keras.Model, *classes: type) -> list[str]:
    return [layer.name for layer in model.layers if isinstance(layer, classes)]


@pytest.mark.parametrize("name", MODELS_OF_FIG_3)
def test_which_attention_a_model_has(built, name):
    """Where there is one, it stands on the last feature map, before pooling."""
    model = built(name)
    assert kinds(model, SqueezeExcitation, DoubleConvSE, TokenFusion, keras.layers.MultiHeadAttention) == []
    assert kinds(model, SpatialSelfAttention) == (["self_attention"] if name in CHANNELS else [])
    if name in CHANNELS:
        assert model.get_layer("self_attention").input.shape == (None, 2, 2, CHANNELS[name])
        assert model.get_layer("image_pool").input is model.get_layer("self_attention").output


def test_the_image_part_of_m1_ends_with_the_second_dense_block(built):
    pooled = built("m1").get_layer("image_pool").input
    assert pooled is built("m1").get_layer(SECOND_BLOCK).output
    assert pooled.shape == (None, 28, 28, 512)
    assert not [layer.name for layer in built("m1").layers if layer.name.startswith(("pool3", "conv4"))]


def test_m5_takes_the_image_only(built):
    assert MODELS["ablation_image_only"].inputs == ("image",)
    assert set(built("m5").input) == {"image"}
    assert kinds(built("m5"), keras.layers.Concatenate)[-1] == SECOND_BLOCK


def dense_block(channels: int, count: int, growth: int = 32) -> tuple[int, int]:
    """Channels after, and parameters: per layer BN, 1×1 to 4k, BN, 3×3 to k, no biases (Huang et al. 2017)."""
    parameters = 0
    for _ in range(count):
        parameters += 4 * channels + channels * 4 * growth + 4 * 4 * growth + 9 * 4 * growth * growth
        channels += growth
    return channels, parameters


def test_the_parameters_of_m5_by_hand(built):
    channels, first = dense_block(64, 6)
    transition = 4 * channels + channels * channels // 2
    channels, second = dense_block(channels // 2, 12)
    backbone = 7 * 7 * 3 * 64 + 4 * 64 + first + transition + second
    assert channels == 512
    whole = keras.applications.DenseNet201(include_top=False, weights=None, input_shape=(32, 32, 3))
    assert keras.Model(whole.input, whole.get_layer(SECOND_BLOCK).output).count_params() == backbone
    assert built("m5").count_params() == backbone + (512 * 128 + 128) + (128 * 3 + 3)


@pytest.mark.parametrize(("name", "features"), [("m1", 512), *CHANNELS.items()])
def test_pooled_image_and_clinical_features_are_concatenated(built, name, features):
    joined = built(name).get_layer("joined")
    assert [part.shape[-1] for part in joined.input] == [features, 128]
    assert joined.input[0] is built(name).get_layer("image_pool").output
    assert built(name).get_layer("head_dense").input is joined.output


def test_the_cut_of_m1_freezes_all_of_the_backbone_and_nothing_else(built):
    model = built("m1")
    freeze_through(model, SECOND_BLOCK)
    trainable = {layer.name for layer in model.layers if layer.trainable_weights}
    model.trainable = True
    assert trainable == {
        *("metadata_embedding", "clinical_dense", "clinical_bn", "clinical_embedding"),
        *("head_dense", "probabilities"),
    }


@pytest.mark.parametrize("model", ["ablation", "ablation_image_only"])
def test_the_layer_is_the_last_feature_map_unless_one_is_named(tiny_backbone, model):
    for layer, expected in ((None, "tiny_conv2"), ("tiny_pool1", "tiny_pool1")):
        network = build_model(model, ModelSettings(32), backbone=tiny_backbone, layer=layer)
        assert network.get_layer("image_pool").input is network.get_layer(expected).output
