"""MedFuse: a clinical part that is absent has no say, one that is there has."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.models import ModelSettings, build_model

SETTINGS = ModelSettings(image_size=32, class_count=3)
NAN = float("nan")
CLINICAL = ("metadata_embedding", "clinical_dense", "clinical_bn", "clinical_embedding")


@pytest.fixture
def model(tiny_backbone) -> keras.Model:
    """With the statistics of a plausible training part: age 55 ± 10 years, density 2.5 ± 1."""
    keras.utils.set_random_seed(0)
    model = build_model("medfuse", SETTINGS, backbone=tiny_backbone)
    model.get_layer("metadata_embedding").adapt(np.array([[45.0, 1.5], [65.0, 3.5]]))
    return model


def output(model: keras.Model, metadata: list[list[float]], layer: str = "probabilities") -> np.ndarray:
    """What a layer gives for one image with all rows of metadata."""
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    tensors = {"image": np.repeat(image, len(metadata), axis=0), "metadata": np.array(metadata, "float32")}
    part = keras.Model(model.input, model.get_layer(layer).output)
    return keras.ops.convert_to_numpy(part(tensors, training=False))


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def test_two_tokens_of_width_256_into_an_lstm_of_256(model):
    assert model.get_layer("tokens").output.shape == (None, 2, 256)
    assert model.get_layer("fusion").output.shape == (None, 256)
    # Four gates, each of 256 inputs, 256 states and a bias.
    assert model.get_layer("fusion").count_params() == 4 * (256 * 256 + 256 * 256 + 256)


@pytest.mark.parametrize("metadata", [[50.0, 2.0], [NAN, 2.0], [50.0, NAN]])
def test_the_clinical_network_has_a_say_only_where_something_is_known(model, metadata):
    before = output(model, [metadata, [NAN, NAN]])
    rng = np.random.default_rng(1)
    for name in CLINICAL:
        for weight in model.get_layer(name).weights:
            weight.assign(rng.uniform(0.5, 2.0, weight.shape))
    after = output(model, [metadata, [NAN, NAN]])
    assert distance(before[0], after[0]) > 1e-3
    np.testing.assert_array_equal(before[1], after[1])


def lstm(tokens: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Hochreiter and Schmidhuber's cell with a forget gate, in Keras' order of gates: i, f, c, o."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    state = cell = np.zeros(recurrent.shape[0])
    for token in tokens.astype("float64"):
        i, f, c, o = np.split(token @ kernel + state @ recurrent + bias, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        state = sigmoid(o) * np.tanh(cell)
    return state


def test_fusion_equals_numpy_with_and_without_the_clinical_token(model):
    rows = [[50.0, 2.0], [NAN, NAN]]
    tokens = output(model, rows, "tokens")
    weights = model.get_layer("fusion").get_weights()
    found = output(model, rows, "fusion")
    np.testing.assert_allclose(found[0], lstm(tokens[0], *weights), atol=1e-5)
    np.testing.assert_allclose(found[1], lstm(tokens[1, :1], *weights), atol=1e-5)
