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
    ],
)
def test_backbone_classifier(backbone, total, trainable, features):
    model = build_model("backbone_classifier", SETTINGS, backbone=backbone)
    assert counts(model) == (total, trainable)
    assert model.get_layer("image_pool").input.shape == (None, *features)


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
