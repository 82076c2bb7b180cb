"""MMDCNet: what age, density and their absence do to its output, and the sizes that the paper names."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.models import ModelSettings, build_model

SETTINGS = ModelSettings(image_size=32, class_count=3)
NAN = float("nan")


@pytest.fixture
def model(tiny_backbone) -> keras.Model:
    """With the statistics of a plausible training part: age 55 ± 10 years, density 2.5 ± 1."""
    keras.utils.set_random_seed(0)
    model = build_model("mmdcnet", SETTINGS, backbone=tiny_backbone, conv_filters=32)
    model.get_layer("metadata_embedding").adapt(np.array([[45.0, 1.5], [65.0, 3.5]]))
    return model


def probabilities(model: keras.Model, metadata: list[list[float]], seed: int = 0) -> np.ndarray:
    """One image for all rows of metadata: only the metadata can make a difference."""
    size = model.input["image"].shape[1]
    image = np.random.default_rng(seed).uniform(0, 255, (1, size, size, 3)).astype("float32")
    tensors = {"image": np.repeat(image, len(metadata), axis=0), "metadata": np.array(metadata, "float32")}
    return keras.ops.convert_to_numpy(model(tensors, training=False))


def distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one - other).max(axis=-1)


def test_the_image_changes_the_output(model):
    assert distance(probabilities(model, [[50.0, 2.0]], 0), probabilities(model, [[50.0, 2.0]], 1)) > 1e-4


@pytest.mark.parametrize("unknown", ["age", "density"])
def test_an_unknown_value_is_finite_and_like_no_guess(model, unknown):
    if unknown == "age":
        missing, guesses = [NAN, 2.0], [[age, 2.0] for age in range(121)]
    else:
        missing, guesses = [50.0, NAN], [[50.0, density] for density in np.arange(1, 4.01, 0.1)]
    found = probabilities(model, [missing])
    assert np.isfinite(found).all()
    assert distance(found, probabilities(model, guesses)).min() > 1e-4


def test_the_sizes_that_the_paper_names(model):
    # Section II-B.1.a: "projected into a 128-dimensional space", "self attention mechanism with eight heads".
    assert model.get_layer("clinical_embedding").output.shape == (None, 128)
    fusion = model.get_layer("fusion")
    assert fusion.heads == 8
    tokens = np.random.default_rng(0).normal(size=(2, 17, 128)).astype("float32")
    assert fusion.attention_scores(tokens).shape == (2, 8, 17, 17)


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_the_tokens_are_one_clinical_and_a_grid_of_image_tokens(tiny_backbone, grid):
    model = build_model("mmdcnet", SETTINGS, backbone=tiny_backbone, grid=grid)
    assert model.get_layer("fusion").output.shape == (None, 1 + grid**2, 128)
    assert np.isfinite(probabilities(model, [[50.0, 2.0]])).all()


def test_the_clinical_token_stands_first(model):
    tokens = keras.Model(model.inputs, model.get_layer("tokens").output)
    first, second = (
        keras.ops.convert_to_numpy(
            tokens({"image": np.zeros((1, 32, 32, 3)), "metadata": np.array([[age, 2.0]])}, training=False)
        )
        for age in (40.0, 70.0)
    )
    changed = np.abs(first - second).max(axis=(0, 2)) > 1e-5
    assert changed.tolist() == [True] + [False] * 16


def test_the_widths_can_be_chosen(tiny_backbone):
    model = build_model("mmdcnet", SETTINGS, backbone=tiny_backbone, conv_filters=32, clinical_width=24, head_width=40)
    assert model.get_layer("double_conv_se").output.shape[-1] == 32
    assert model.get_layer("clinical_dense").output.shape == (None, 24)
    assert model.get_layer("head_dense").output.shape == (None, 40)


def test_dropout_acts_in_training_only(model):
    tensors = {"image": np.zeros((1, 32, 32, 3), "float32"), "metadata": np.array([[50.0, 2.0]], "float32")}
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {"clinical_dropout": 0.2, "head_dropout": 0.3}
    scored = [keras.ops.convert_to_numpy(model(tensors, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*scored)


def test_a_real_backbone_at_the_smallest_size():
    # VGG16's feature map of a 64-pixel image is two by two; the grid of 4 × 4 still has 16 tokens, also in a graph.
    model = build_model("mmdcnet", ModelSettings(64, 3), backbone="vgg16")
    assert model.get_layer("block5_pool").output.shape == (None, 2, 2, 512)
    assert model.get_layer("fusion").output.shape == (None, 17, 128)
    inputs = {"image": np.zeros((2, 64, 64, 3)), "metadata": np.array([[50.0, 2.0], [NAN, NAN]])}
    assert np.isfinite(model.predict(inputs, verbose=0)).all()
