"""What every registered model must do, by one harness; parameter counts; and clear errors for names and arguments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import MODELS, ModelSettings, build_model, register_model

SETTINGS = ModelSettings(image_size=32)
NAN = float("nan")
TINY = {"backbone": "tiny"}
SMALL: dict[str, tuple[int, dict[str, Any]]] = {
    "ablation": (32, {**TINY, "attention": True}),
    "ablation_image_only": (32, TINY),
    "backbone_classifier": (32, TINY),
    "bcdnet": (32, TINY),
    "brint_classifier": (32, {**TINY, "head": [0.2, 8, 4]}),
    "brint_custom_cnn": (32, {"width": 4}),
    "convmixer": (16, {"width": 4, "depth": 2, "kernel": 3}),
    "densenet161": (32, {"growth": 2, "blocks": (2, 1)}),
    "densenet40": (32, {"growth": 2, "layers_per_block": 2}),
    "medfuse": (32, {**TINY, "width": 16}),
    "mmdcnet": (32, {**TINY, "conv_filters": 64}),
    "sw_forknet": (64, {}),
    "swin": (32, {"embed": 8, "depths": [2, 1], "heads": [2, 4]}),
    "two_view_classifier": (32, TINY),
    "vgg_like": (32, {"width": 4, "dense_width": 8}),
    "vit": (32, {"width": 12, "depth": 2, "heads": 3, "mlp": 20}),
}
"""Image size and arguments of a small network of each kind."""
LIGHT = sorted(set(SMALL) - {"sw_forknet"})  # which holds a whole DenseNet-121; its branches are trained elsewhere


def small(name: str, class_count: int = 3) -> keras.Model:
    keras.utils.set_random_seed(0)
    size, arguments = SMALL[name]
    return build_model(name, ModelSettings(size, class_count), **arguments)


def given(model: keras.Model) -> dict[str, np.ndarray]:
    """Four samples; of some the other view, age or density is unknown."""
    rng = np.random.default_rng(0)
    views = rng.uniform(0, 255, (2, 4, *model.input["image"].shape[1:])).astype("float32")
    views[1, 1] = NAN
    metadata = np.array([[50.0, 2.0], [NAN, 3.0], [61.0, NAN], [NAN, NAN]], "float32")
    tensors = {"image": views[0], "other_view": views[1], "metadata": metadata}
    return {name: tensors[name] for name in model.input}


def probabilities(model: keras.Model) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(given(model), training=False))


def test_every_model_has_a_case():
    assert set(SMALL) == set(MODELS)


def test_the_models_of_the_paper_declare_their_inputs():
    assert MODELS["bcdnet"].inputs == MODELS["backbone_classifier"].inputs == ("image",)
    assert MODELS["mmdcnet"].inputs == MODELS["medfuse"].inputs == ("image", "metadata")
    assert MODELS["ablation_image_only"].inputs == ("image",)


@pytest.mark.parametrize("name", SMALL)
def test_models_take_the_declared_tensors_and_return_one_probability_a_class(tiny_backbone, name):
    model = small(name, class_count=4)
    assert set(model.input) == set(MODELS[name].inputs)
    assert model.input["image"].shape == (None, SMALL[name][0], SMALL[name][0], 3)
    assert model.output.shape == (None, 4)
    assert all(layer.trainable for layer in model.layers)
    found = probabilities(model)
    assert found.dtype == np.float32
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(found, axis=0).max() > 0


@pytest.mark.parametrize("name", [name for name, entry in MODELS.items() if "metadata" in entry.inputs])
def test_age_density_and_their_absence_change_the_output(tiny_backbone, name):
    model = small(name)
    model.get_layer("metadata_embedding").adapt(np.array([[45.0, 1.5], [65.0, 3.5]]))
    rows = [[50.0, 2.0], [50.0, 2.0], [75.0, 2.0], [50.0, 4.0], [NAN, 2.0], [50.0, NAN], [NAN, NAN]]
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    tensors = {"image": np.repeat(image, len(rows), axis=0), "metadata": np.array(rows, "float32")}
    found = keras.ops.convert_to_numpy(model(tensors, training=False))
    assert np.isfinite(found).all()
    assert np.abs(found[0] - found[1]).max() < 1e-6
    assert min(np.abs(found[i] - found[j]).max() for i in range(1, len(rows)) for j in range(1, i)) > 1e-4


@pytest.mark.parametrize("name", LIGHT)
def test_takes_a_step_and_survives_saving(tiny_backbone, name, tmp_path):
    model = small(name)
    for layer in model.layers:
        if layer.name == "self_attention":
            layer.gamma.assign(0.5)  # at 0 nothing else of the layer would learn
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile("adam", loss="categorical_crossentropy", jit_compile=False)
    assert np.isfinite(model.train_on_batch(given(model), np.eye(3, dtype="float32")[[0, 1, 2, 0]]))
    for weight, start in zip(model.trainable_weights, before, strict=True):
        assert np.isfinite(weight.numpy()).all(), weight.path
        # the gradient of a bias before BatchNorm is rounding, if anything
        assert "bias" in weight.path or np.abs(weight.numpy() - start).max() > 0, weight.path
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(probabilities(again), probabilities(model), atol=1e-6)


@pytest.mark.parametrize("name", LIGHT)
def test_mixed_precision_gives_float32(tiny_backbone, name):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small(name)
    finally:
        keras.config.set_dtype_policy("float32")
    found = probabilities(model)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert "float16" in {layer.output.dtype for layer in model.layers if layer.weights}


@pytest.mark.parametrize(
    ("name", "size", "arguments", "message"),
    [
        ("bcdnet", 32, {"bakbone": "vgg16"}, "(?s)bcdnet.*Received.*bakbone"),
        ("bcdnet", 32, {"backbone": "vgg16", "grid": 4}, "(?s)bcdnet.*Received.*grid"),
        ("backbone_classifier", 32, {}, "(?s)backbone_classifier.*Received.*backbone"),
        ("bcdnet", 32, {"backbone": "densnet201"}, r"backbone='densnet201'. Did you mean 'densenet201'\?"),
        ("ablation", 32, {"backbone": "vgg16", "layer": "block9"}, "Received: layer='block9'"),
        ("brint_classifier", 32, {"backbone": "vgg16", "head": [8, 2.5]}, "Received: entry 2 of head="),
        ("brint_classifier", 32, {"backbone": "vgg16", "head": [8, True]}, "Received: entry 2 of head="),
        ("brint_custom_cnn", 13, {}, "Received: image_size=13"),
        ("brint_custom_cnn", 32, {"width": 0}, "Received: width=0"),
        ("convmixer", 1, {}, "Received: image_size=1"),
        ("convmixer", 16, {"kernel": 0}, "Received: kernel=0"),
        ("densenet161", 31, {}, "at least 32 pixels.*Received: image_size=31"),
        ("densenet161", 32, {"blocks": (2, 0)}, "whole number of at least 1"),
        ("densenet40", 3, {}, "at least 4 pixels.*Received: image_size=3"),
        ("densenet40", 32, {"growth": 0}, "whole number of at least 1"),
        ("mmdcnet", 63, {"backbone": "vgg16"}, r"at least 2 by 2 positions\. Received: 1 by 1\. Use a larger"),
        ("sw_forknet", 64, {"backbone": "vgg16"}, "densenet121 or densenet201.*Received: backbone='vgg16'"),
        ("swin", 50, {}, r"Received: image_size=50, patch=4\. Take image_size=48"),
        ("swin", 32, {"depths": [1]}, r"one entry for each stage.*Received: depths=\[1\], heads=\[3, 6, 12, 24\]"),
        ("swin", 32, {"depths": [], "heads": []}, r"Received: depths=\[\], heads=\[\]"),
        ("swin", 32, {"depths": [1, 0], "heads": [2, 4]}, r"Received: depths\[1\]=0"),
        ("swin", 32, {"depths": [1, 1], "heads": [0, 4]}, r"Received: heads\[0\]=0"),
        ("swin", 32, {"depths": [1, 1], "heads": [2, 5], "embed": 8}, "Received: channels=16, heads=5"),
        ("swin", 32, {"embed": 0}, "Received: embed=0"),
        ("swin", 32, {"window": 0}, "Received: window=0"),
        ("vgg_like", 15, {}, "at least 16 pixels.*Received: image_size=15"),
        ("vgg_like", 32, {"dense_width": 1.5}, "whole number of at least 1"),
        ("vit", 100, {}, r"Received: image_size=100, patch=16\. Take image_size=96"),
        ("vit", 8, {}, r"Received: image_size=8, patch=16\. Take image_size=16"),
        ("vit", 32, {"width": 13, "heads": 3}, r"Received: width=13, heads=3\. Take width=12"),
        ("vit", 32, {"depth": 0}, "Expected depth to be a whole number of at least 1"),
    ],
)
def test_what_does_not_fit_is_named(name, size, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        build_model(name, ModelSettings(size), **arguments)


def test_the_smallest_images():
    vgg = build_model("vgg_like", ModelSettings(16), width=1, dense_width=1)
    assert vgg.get_layer("block2_pool").output.shape == (None, 1, 1, 2)
    assert build_model("brint_custom_cnn", ModelSettings(14)).get_layer("flatten").input.shape == (None, 1, 1, 64)
    build_model("densenet161", ModelSettings(32), growth=2)
    build_model("densenet40", ModelSettings(4), growth=2)


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
    """The literals are those of Keras 3.15's own applications with a Dense(3) on the pooled features."""
    model = build_model("backbone_classifier", ModelSettings(224), backbone=backbone)
    assert counts(model) == (total, trainable)
    assert model.get_layer("image_pool").input.shape == (None, *features)


@pytest.mark.parametrize(
    ("backbone", "plain", "channels"), [("densenet201", 18_327_747, 1920), ("mobilenet", 3_231_939, 1024)]
)
def test_two_views_share_one_backbone(backbone, plain, channels):
    """The second view adds inputs of Dense(3) and nothing else."""
    model = build_model("two_view_classifier", ModelSettings(224), backbone=backbone)
    assert model.count_params() == plain + 3 * channels


@pytest.mark.parametrize(
    ("arguments", "total", "plain", "channels"),
    [
        ({}, 8_352_580, 7_040_579, 1024),  # α, DenseNet-121, is the default
        ({"backbone": "efficientnetb0"}, 6_103_015, 4_053_414, 1280),
        ({"backbone": "vgg16"}, 15_044_548, 14_716_227, 512),
    ],
)
def test_bcdnet(arguments, total, plain, channels):
    """The backbone, three 1×1 convolutions with bias, two of an eighth of the channels, and γ."""
    keys = channels // 8
    assert total == plain + 2 * (channels * keys + keys) + channels * channels + channels + 1
    assert build_model("bcdnet", ModelSettings(224), **arguments).count_params() == total


@pytest.mark.parametrize(
    ("name", "size", "classes", "arguments", "total"),
    [
        ("convmixer", 224, 3, {}, 601_091),
        ("convmixer", 32, 10, {}, 602_890),
        ("convmixer", 224, 3, {"width": 768, "depth": 32, "kernel": 7, "patch": 7}, 20_443_395),
        ("vgg_like", 128, 3, {}, 13_845_539),
        ("vgg_like", 100, 10, {}, 7_998_250),
        ("swin", 224, 1000, {}, 28_288_354),
        ("vit", 224, 1000, {}, 86_567_656),
        ("densenet161", 224, 1000, {}, 28_900_936),  # 28,681,000 of them trainable
        ("densenet40", 32, 10, {}, 1_037_818),  # 1,019,722 of them trainable
        ("sw_forknet", 224, 3, {}, 11_178_068),
        ("brint_custom_cnn", 128, 3, {}, 233_283),
        ("brint_custom_cnn", 224, 3, {}, 620_355),
        ("brint_classifier", 224, 3, {"backbone": "vgg16", "head": [128, 128]}, 17_942_979),
        ("brint_classifier", 224, 3, {"backbone": "vgg19", "head": [128, 0.3, 128, 0.3]}, 23_252_675),
        ("brint_classifier", 224, 3, {"backbone": "mobilenetv2", "head": [0.2, 512, 32]}, 34_387_651),
    ],
)
def test_published_numbers_of_parameters(name, size, classes, arguments, total):
    assert build_model(name, ModelSettings(size, classes), **arguments).count_params() == total


@pytest.fixture
def registered() -> Iterator[set[str]]:
    """Names put here are taken out of the registry again."""
    names: set[str] = set()
    yield names
    for name in names:
        MODELS.pop(name, None)


def test_a_registered_builder_is_called_with_settings_and_arguments(registered):
    registered.update(("only-for-this-test", "faulty"))

    @register_model("only-for-this-test", inputs=("image",))
    def builder(settings: ModelSettings, width: int = 1) -> keras.Model:
        images = keras.Input((settings.image_size,), name="image")
        return keras.Model({"image": images}, keras.layers.Dense(settings.image_size * width)(images))

    assert build_model("only-for-this-test", SETTINGS).output.shape == (None, 32)
    assert build_model("only-for-this-test", SETTINGS, width=3).output.shape == (None, 96)

    @register_model("faulty", inputs=("image",))
    def faulty(settings: ModelSettings) -> keras.Model:
        return keras.layers.Dense(3)(1, 2, no_such_argument=True)

    with pytest.raises(Exception, match="argument") as caught:  # a fault inside a builder is not blamed on the row
        build_model("faulty", SETTINGS)
    assert not isinstance(caught.value, ConfigurationError)


def test_a_taken_name_raises():
    before = MODELS["mmdcnet"]
    with pytest.raises(ConfigurationError, match="name='mmdcnet'"):
        register_model("mmdcnet", inputs=("image",))(lambda settings: None)
    assert MODELS["mmdcnet"] is before


@pytest.mark.parametrize(("wrong", "near"), [("mmdcnte", "mmdcnet"), ("BCDNet", None), ("bcdnett", "bcdnet")])
def test_an_unknown_name_raises_and_suggests(wrong, near):
    with pytest.raises(ConfigurationError, match=f"Received: model='{wrong}'") as caught:
        build_model(wrong, SETTINGS)
    assert (f"Did you mean '{near}'?" if near else "backbone_classifier, bcdnet") in str(caught.value)
