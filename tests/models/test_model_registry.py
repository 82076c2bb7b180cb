"""Models by name: what is registered, and clear errors for names and arguments that are not."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import MODELS, ModelSettings, build_model, register_model

SETTINGS = ModelSettings(image_size=32)


@pytest.fixture
def registered() -> Iterator[set[str]]:
    """Names put here are taken out of the registry again."""
    names: set[str] = set()
    yield names
    for name in names:
        MODELS.pop(name, None)


def test_the_models_of_the_paper_declare_their_inputs():
    assert MODELS["bcdnet"].inputs == ("image",)
    assert MODELS["backbone_classifier"].inputs == ("image",)
    assert MODELS["mmdcnet"].inputs == ("image", "metadata")


@pytest.mark.parametrize("name", ["bcdnet", "backbone_classifier", "mmdcnet"])
@pytest.mark.parametrize("class_count", [2, 3])
def test_models_take_the_declared_tensors_and_return_one_probability_a_class(tiny_backbone, name, class_count):
    model = build_model(name, ModelSettings(32, class_count), backbone=tiny_backbone)
    assert set(model.input) == set(MODELS[name].inputs)
    assert model.input["image"].shape == (None, 32, 32, 3)
    assert model.output.shape == (None, class_count)
    assert all(layer.trainable for layer in model.layers)


def test_a_registered_builder_is_called_with_settings_and_arguments(registered):
    registered.add("only-for-this-test")

    @register_model("only-for-this-test", inputs=("image",))
    def builder(settings: ModelSettings, width: int = 1) -> keras.Model:
        """Units: image size times width."""
        images = keras.Input((settings.image_size,), name="image")
        return keras.Model({"image": images}, keras.layers.Dense(settings.image_size * width)(images))

    assert build_model("only-for-this-test", SETTINGS).output.shape == (None, 32)
    assert build_model("only-for-this-test", SETTINGS, width=3).output.shape == (None, 96)


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


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("bcdnet", {"bakbone": "vgg16"}, "bakbone"),
        ("bcdnet", {"backbone": "vgg16", "grid": 4}, "grid"),
        ("backbone_classifier", {}, "backbone"),
    ],
)
def test_wrong_and_missing_arguments_raise(name, arguments, told):
    with pytest.raises(ConfigurationError, match=f"(?s){name}.*Received.*{told}"):
        build_model(name, SETTINGS, **arguments)


def test_a_fault_inside_a_builder_is_not_blamed_on_the_row(registered):
    registered.add("faulty")

    @register_model("faulty", inputs=("image",))
    def builder(settings: ModelSettings) -> keras.Model:
        return keras.layers.Dense(3)(1, 2, no_such_argument=True)

    with pytest.raises(Exception, match="argument") as caught:
        build_model("faulty", SETTINGS)
    assert not isinstance(caught.value, ConfigurationError)


def test_an_unknown_backbone_raises_and_suggests():
    with pytest.raises(ConfigurationError, match=r"Received: backbone='densnet201'. Did you mean 'densenet201'\?"):
        build_model("bcdnet", SETTINGS, backbone="densnet201")


@pytest.mark.parametrize("backbone", ["densenet121", "densenet201", "efficientnetb0", "vgg16"])
def test_an_image_too_small_for_the_backbone_raises(backbone):
    with pytest.raises(ConfigurationError, match=f"at least 32 pixels for {backbone}. Received: image_size=31"):
        build_model("backbone_classifier", ModelSettings(31), backbone=backbone)
