"""Swin Transformer: counts of Swin-T, its windows at each size, and agreement with its definition written in numpy."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import swin_by_definition as definition
from scipy.special import softmax

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import MODELS, ModelSettings, build_model

TINY = {"embed": 8, "depths": [2, 1], "heads": [2, 4]}
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet, of [0, 1]
LOAD = """
import sys
import mmdc_tf
import keras
import numpy
model = keras.models.load_model(sys.argv[1] + "/model.keras")
numpy.save(sys.argv[1] + "/found.npy", model.predict({"image": numpy.load(sys.argv[1] + "/images.npy")}, verbose=0))
"""


def pixels(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype("float32")


def output(model: keras.Model, images: np.ndarray, layer: str = "probabilities") -> np.ndarray:
    part = keras.Model(model.input, model.get_layer(layer).output)
    return keras.ops.convert_to_numpy(part({"image": images}, training=False))


def test_swin_t_has_the_published_number_of_parameters():
    model = build_model("swin", ModelSettings(image_size=224, class_count=1000))
    assert model.count_params() == 28_288_354
    assert model.count_params() - model.get_layer("probabilities").count_params() == 27_519_354
    assert sum(weight.size for weight in model.get_weights()) == 28_288_354  # nothing that is not trained
    # 49 tokens of 768, and with three classes 997 units of the last layer are left out.
    assert model.get_layer("final_norm").output.shape == (None, 7, 7, 768)
    assert model.get_layer("probabilities").count_params() == 769 * 1000
    assert 28_288_354 - 769 * 997 == 27_521_661


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
    found = output(model, pixels(1, size))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


def test_the_mask_of_shifted_windows_in_the_first_stage():
    model = build_model("swin", ModelSettings(image_size=224), embed=8, depths=[2], heads=[2])
    definition.randomise(model)
    images = pixels(1, 224)
    other = images.copy()
    other[:, :4, :4] = 255 - other[:, :4, :4]  # the pixels of token (0, 0)
    one, two = (output(model, x, "stage1_block2") for x in (images, other))
    assert one.shape == (1, 56, 56, 8)
    changed = np.abs(one - two).max(axis=(0, 3)) > 1e-6
    assert not changed[10:14].any()
    assert not changed[:, 10:14].any()
    # All that the first block's window and then the shifted windows reach, and nothing beyond, the far edges included.
    assert changed[:10, :10].all()
    assert changed.sum() == 100


def by_definition(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The map before pooling, layer after layer as the definition has them."""
    x = definition.patch_embedding((images / 255 - MEAN) / DEVIATION, model.get_layer("patch_embedding"))
    x = definition.block(x, model.get_layer("stage1_block1"))
    x = definition.block(x, model.get_layer("stage1_block2"))
    x = definition.patch_merging(x, model.get_layer("stage2_merging"))
    x = definition.block(x, model.get_layer("stage2_block1"))
    return definition.layer_norm(x, model.get_layer("final_norm"))


def test_follows_the_definition():
    model = build_model("swin", ModelSettings(image_size=32), **TINY)
    assert [model.get_layer(f"stage{n}_block1").output.shape[1:] for n in (1, 2)] == [(8, 8, 8), (4, 4, 16)]
    definition.randomise(model)
    images = pixels(2, 32) * np.array([[1, 1, 1], [1, 0.5, 0]], "float32")[:, None, None]  # one grey, one reddish
    expected = by_definition(model, images)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(output(model, images, "final_norm"), expected, atol=1e-4)
    kernel, bias = model.get_layer("probabilities").get_weights()
    probabilities = softmax(expected.mean((1, 2)) @ kernel + bias, axis=-1)
    assert np.ptp(probabilities, axis=0).max() > 0.01
    np.testing.assert_allclose(output(model, images), probabilities, atol=1e-4)


def test_takes_a_step_and_loads_in_a_fresh_process(tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model("swin", ModelSettings(image_size=64), **TINY)
    assert MODELS["swin"].inputs == ("image",)
    assert set(model.input) == {"image"}
    images, before = pixels(4, 64), model.get_weights()
    model.compile("adam", loss="categorical_crossentropy", jit_compile=False)
    model.train_on_batch({"image": images}, np.eye(3, dtype="float32")[[0, 1, 2, 0]])
    for weight, start in zip(model.weights, before, strict=True):
        assert np.abs(weight.numpy() - start).max() > 0, weight.path
    found = output(model, images)
    assert found.dtype == np.float32
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), found, atol=1e-6)


@pytest.mark.parametrize(("size", "near"), [(2, 4), (50, 48), (63, 64), (222, 224)])
def test_an_image_that_is_no_whole_number_of_patches_is_refused(size, near):
    with pytest.raises(ConfigurationError, match=rf"Received: image_size={size}, patch=4\. Take image_size={near}"):
        build_model("swin", ModelSettings(image_size=size), **TINY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depths": [1]}, r"one entry for each stage.*Received: depths=\[1\], heads=\[2, 4\]"),
        ({"depths": [], "heads": []}, r"Received: depths=\[\], heads=\[\]"),
        ({"depths": [1, 0]}, r"Received: depths\[1\]=0"),
        ({"heads": [0, 4]}, r"Received: heads\[0\]=0"),
        ({"heads": [2, 3]}, r"Received: channels=16, heads=3"),
        ({"embed": 0}, r"Received: embed=0"),
        ({"window": 0}, r"Received: window=0"),
        ({"patch": 0}, r"Received: patch=0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        build_model("swin", ModelSettings(image_size=32), **{**TINY, **arguments})
