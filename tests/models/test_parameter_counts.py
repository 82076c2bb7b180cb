"""Parameter counts at 224×224 with three classes.

The literals are those of Keras 3.15's own applications with a Dense(3) on the pooled features; BCDNet adds attention
to them: three 1×1 convolutions and γ.
"""

from __future__ import annotations

import math

import keras
import pytest

from mmdc_tf.models import ModelSettings, build_model

SETTINGS = ModelSettings(image_size=224, class_count=3)


def counts(model: keras.Model) -> tuple[int, int]:
    """All parameters, and the trainable ones."""
    return model.count_params(), sum(math.prod(weight.shape) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("backbone", "total", "trainable", "features"),
    [
        ("densenet121", 7_040_579, 6_956_931, (7, 7, 1024)),
        ("densenet201", 18_327_747, 18_098_691, (7, 7, 1920)),
        ("efficientnetb0", 4_053_414, 4_011_391, (7, 7, 1280)),
        ("vgg16", 14_716_227, 14_716_227, (7, 7, 512)),
        ("vgg19", 20_025_923, 20_025_923, (7, 7, 512)),
        ("resnet50", 23_593_859, 23_540_739, (7, 7, 2048)),
        ("resnet101", 42_664_323, 42_558_979, (7, 7, 2048)),
        ("xception", 20_867_627, 20_813_099, (7, 7, 2048)),
        ("inceptionv3", 21_808_931, 21_774_499, (5, 5, 2048)),
        ("mobilenet", 3_231_939, 3_210_051, (7, 7, 1024)),
        ("mobilenetv2", 2_261_827, 2_227_715, (7, 7, 1280)),
    ],
)
def test_backbone_classifier(backbone, total, trainable, features):
    model = build_model("backbone_classifier", SETTINGS, backbone=backbone)
    assert counts(model) == (total, trainable)
    assert model.get_layer("image_pool").input.shape == (None, *features)


@pytest.mark.parametrize(
    ("backbone", "total", "plain", "channels"),
    [
        ("densenet201", 18_333_507, 18_327_747, 1920),
        ("xception", 20_873_771, 20_867_627, 2048),
        ("resnet50", 23_600_003, 23_593_859, 2048),
        ("mobilenet", 3_235_011, 3_231_939, 1024),
        ("inceptionv3", 21_815_075, 21_808_931, 2048),
    ],
)
def test_two_views_share_one_backbone(backbone, total, plain, channels):
    assert total == plain + 3 * channels  # the second view adds inputs of Dense(3) and nothing else
    model = build_model("two_view_classifier", SETTINGS, backbone=backbone)
    assert model.count_params() == total


def attention(channels: int) -> int:
    """Three 1×1 convolutions with bias, two of an eighth of the channels, and γ."""
    keys = channels // 8
    return 2 * (channels * keys + keys) + channels * channels + channels + 1


@pytest.mark.parametrize(
    ("arguments", "total", "plain", "channels"),
    [
        ({}, 8_352_580, 7_040_579, 1024),  # α, DenseNet-121, is the default
        ({"backbone": "efficientnetb0"}, 6_103_015, 4_053_414, 1280),
        ({"backbone": "vgg16"}, 15_044_548, 14_716_227, 512),
    ],
)
def test_bcdnet(arguments, total, plain, channels):
    assert total == plain + attention(channels)  # the literal by hand
    model = build_model("bcdnet", SETTINGS, **arguments)
    assert model.count_params() == total
