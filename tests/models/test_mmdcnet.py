"""MMDCNet, BCDNet, MedFuse and the model of two views, on a tiny backbone: what each part does to the output."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mmdc_tf.models import ModelSettings, build_model

SETTINGS = ModelSettings(image_size=32, class_count=3)
NAN = float("nan")
KNOWN, NOTHING = [50.0, 2.0], [NAN, NAN]


@pytest.fixture(autouse=True)
def tiny(tiny_backbone) -> str:
    keras.utils.set_random_seed(0)
    return tiny_backbone


def multimodal(name: str, **arguments: int) -> keras.Model:
    """With the statistics of a plausible training part: age 55 ± 10 years, density 2.5 ± 1."""
    model = build_model(name, SETTINGS, backbone="tiny", **arguments)
    model.get_layer("metadata_embedding").adapt(np.array([[45.0, 1.5], [65.0, 3.5]]))
    return model


@pytest.fixture
def mmdcnet() -> keras.Model:
    return multimodal("mmdcnet", conv_filters=32)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (count, 32, 32, 3)).astype("float32")


def output(model: keras.Model, tensors: dict[str, np.ndarray], layer: str = "probabilities", **more) -> np.ndarray:
    part = keras.Model(model.input, model.get_layer(layer).output)
    return keras.ops.convert_to_numpy(part(tensors, **{"training": False, **more}))


def of_rows(model: keras.Model, rows: list[list[float]], layer: str = "probabilities", seed: int = 0) -> np.ndarray:
    """What a layer gives for one image with all rows of metadata."""
    images = np.repeat(noise(1, seed), len(rows), axis=0)
    return output(model, {"image": images, "metadata": np.array(rows, "float32")}, layer)


def distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one - other).max(axis=-1)


# --- MMDCNet; test_models.py shows that age, density and their absence change the output ---


def test_the_image_changes_the_output(mmdcnet):
    assert distance(of_rows(mmdcnet, [KNOWN], seed=0), of_rows(mmdcnet, [KNOWN], seed=1)) > 1e-4


@pytest.mark.parametrize(
    ("missing", "guesses"),
    [
        ([NAN, 2.0], [[age, 2.0] for age in range(121)]),
        ([50.0, NAN], [[50.0, density] for density in np.arange(1, 4.01, 0.1)]),
    ],
)
def test_an_unknown_value_is_finite_and_like_no_guess(mmdcnet, missing, guesses):
    found = of_rows(mmdcnet, [missing])
    assert np.isfinite(found).all()
    assert distance(found, of_rows(mmdcnet, guesses)).min() > 1e-4


def test_the_sizes_that_the_paper_names(mmdcnet):
    # Section II-B.1.a: "projected into a 128-dimensional space", "self attention mechanism with eight heads".
    assert mmdcnet.get_layer("clinical_embedding").output.shape == (None, 128)
    fusion = mmdcnet.get_layer("fusion")
    assert fusion.heads == 8
    tokens = np.random.default_rng(0).normal(size=(2, 17, 128)).astype("float32")
    assert fusion.attention_scores(tokens).shape == (2, 8, 17, 17)


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_the_tokens_are_one_clinical_and_a_grid_of_image_tokens(grid):
    model = multimodal("mmdcnet", grid=grid)
    assert model.get_layer("fusion").output.shape == (None, 1 + grid**2, 128)
    assert np.isfinite(of_rows(model, [KNOWN])).all()


def test_the_clinical_token_stands_first(mmdcnet):
    younger, older = of_rows(mmdcnet, [[40.0, 2.0], [70.0, 2.0]], "tokens")
    assert (distance(younger, older) > 1e-5).tolist() == [True] + [False] * 16


def test_the_widths_can_be_chosen():
    model = multimodal("mmdcnet", conv_filters=32, clinical_width=24, head_width=40)
    assert model.get_layer("double_conv_se").output.shape[-1] == 32
    assert model.get_layer("clinical_dense").output.shape == (None, 24)
    assert model.get_layer("head_dense").output.shape == (None, 40)


def test_dropout_acts_in_training_only(mmdcnet):
    rates = {layer.name: layer.rate for layer in mmdcnet.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {"clinical_dropout": 0.2, "head_dropout": 0.3}
    np.testing.assert_array_equal(*(of_rows(mmdcnet, [KNOWN]) for _ in range(2)))


def test_a_real_backbone_at_the_smallest_size():
    # VGG16's feature map of a 64-pixel image is two by two; the grid of 4 × 4 still has 16 tokens, also in a graph.
    model = build_model("mmdcnet", ModelSettings(64), backbone="vgg16")
    assert model.get_layer("block5_pool").output.shape == (None, 2, 2, 512)
    assert model.get_layer("fusion").output.shape == (None, 17, 128)
    inputs = {"image": np.zeros((2, 64, 64, 3)), "metadata": np.array([KNOWN, NOTHING])}
    assert np.isfinite(model.predict(inputs, verbose=0)).all()


# --- BCDNet: attention between the last feature map and the head, and nothing else ---


def test_attention_stands_on_the_last_feature_map_and_a_new_model_is_the_plain_classifier():
    model = build_model("bcdnet", SETTINGS, backbone="tiny")
    attention = model.get_layer("self_attention")
    assert attention.input is model.get_layer("tiny_conv2").output
    assert model.get_layer("image_pool").input is attention.output
    # γ starts at 0, so with the same weights the two are the same function.
    plain = build_model("backbone_classifier", SETTINGS, backbone="tiny")
    for layer in plain.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    images = {"image": noise(4)}
    np.testing.assert_array_equal(output(model, images), output(plain, images))


# --- MedFuse: a clinical part that is absent has no say, one that is there has ---


def test_two_tokens_of_width_256_into_an_lstm_of_256():
    model = multimodal("medfuse")
    assert model.get_layer("tokens").output.shape == (None, 2, 256)
    # Four gates, each of 256 inputs, 256 states and a bias.
    assert model.get_layer("fusion").count_params() == 4 * (256 * 256 + 256 * 256 + 256)


@pytest.mark.parametrize("metadata", [KNOWN, [NAN, 2.0], [50.0, NAN]])
def test_the_clinical_network_has_a_say_only_where_something_is_known(metadata):
    model = multimodal("medfuse")
    before = of_rows(model, [metadata, NOTHING])
    rng = np.random.default_rng(1)
    for name in ("metadata_embedding", "clinical_dense", "clinical_bn", "clinical_embedding"):
        for weight in model.get_layer(name).weights:
            weight.assign(rng.uniform(0.5, 2.0, weight.shape))
    after = of_rows(model, [metadata, NOTHING])
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


def test_fusion_equals_numpy_with_and_without_the_clinical_token():
    model = multimodal("medfuse")
    tokens, found = (of_rows(model, [KNOWN, NOTHING], layer) for layer in ("tokens", "fusion"))
    weights = model.get_layer("fusion").get_weights()
    np.testing.assert_allclose(found[0], lstm(tokens[0], *weights), atol=1e-5)
    np.testing.assert_allclose(found[1], lstm(tokens[1, :1], *weights), atol=1e-5)


# --- two views of a breast: which image goes where, and what a missing view does ---


def pictures(seed: int) -> np.ndarray:
    """Noise, each picture of its own brightness and contrast."""
    rng = np.random.default_rng(seed)
    bounds = np.sort(rng.uniform(0, 255, (2, 4, 1, 1, 3)), axis=0)
    return rng.uniform(*bounds, (4, 32, 32, 3)).astype("float32")


FIRST, SECOND = pictures(1), pictures(2)


@pytest.fixture
def pair() -> keras.Model:
    """With a last layer so large that the images show in the output, and statistics unlike those of a batch."""
    model = build_model("two_view_classifier", SETTINGS, backbone="tiny")
    kernel = model.get_layer("probabilities").kernel
    kernel.assign(np.random.default_rng(3).normal(0, 2, kernel.shape))
    model.get_layer("tiny_bn1").moving_mean.assign([0.1, -0.2, 0.3, -0.4])
    return model


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_a_missing_view_is_the_image_twice(pair, training):
    # In training, too: BatchNorm's statistics are those of the image twice, and no black image is among them.
    missing, twice, black = (
        output(pair, {"image": FIRST, "other_view": other}, training=training)
        for other in (np.full_like(FIRST, NAN), FIRST, np.zeros_like(FIRST))
    )
    np.testing.assert_array_equal(missing, twice)
    assert distance(missing, black).min() > 1e-4


def test_the_pair_is_the_pooled_features_of_each_view(pair):
    alone = [output(pair, {"image": view, "other_view": view}, "image_pool")[:4] for view in (FIRST, SECOND)]
    found = output(pair, {"image": FIRST, "other_view": SECOND}, "both_views")
    np.testing.assert_allclose(found, np.concatenate(alone, axis=1), atol=1e-5)
    assert distance(*alone).min() > 1e-4
