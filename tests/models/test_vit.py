"""ViT: counts of ViT-B/16, what positions do, and agreement with its definition written in numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.special import erf, softmax

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.models import MODELS, ModelSettings, build_model

PATCH = 16
TINY = {"width": 12, "depth": 2, "heads": 3, "mlp": 20}


def pixels(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype("float32")


def output(model: keras.Model, images: np.ndarray, layer: str = "probabilities") -> np.ndarray:
    part = keras.Model(model.input, model.get_layer(layer).output)
    return keras.ops.convert_to_numpy(part({"image": images}, training=False))


@pytest.fixture
def tiny() -> keras.Model:
    """With weights large enough that everything has an effect."""
    model = build_model("vit", ModelSettings(image_size=48, class_count=3), **TINY)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(scale=0.5, size=weight.shape) + (1.0 if weight.name == "gamma" else 0.0))
    return model


def test_vit_b16_has_the_published_number_of_parameters():
    model = build_model("vit", ModelSettings(image_size=224, class_count=1000))
    assert model.count_params() == 86_567_656
    # With three classes 997 units of the last layer are left out.
    assert model.get_layer("probabilities").count_params() == 769 * 1000
    assert 86_567_656 - 769 * 997 == 85_800_963
    assert model.get_layer("patch_tokens").output.shape == (None, 196, 768)
    assert model.get_layer("final_norm").output.shape == (None, 197, 768)


def test_a_smaller_image_has_fewer_positions_only():
    large, small = (build_model("vit", ModelSettings(size), **TINY) for size in (224, 64))
    assert small.get_layer("final_norm").output.shape == (None, 17, 12)
    assert large.count_params() - small.count_params() == (196 - 16) * 12


def swapped(images: np.ndarray) -> np.ndarray:
    """The patches of the first row in the place of those of the last, and the other way round."""
    images = images.copy()
    images[:, :PATCH], images[:, -PATCH:] = images[:, -PATCH:].copy(), images[:, :PATCH].copy()
    return images


def test_without_position_embeddings_the_order_of_the_patches_is_lost(tiny):
    images = pixels(2, 48)
    positions = tiny.get_layer("class_token").positions
    assert np.abs(output(tiny, swapped(images)) - output(tiny, images)).max() > 1e-3
    positions.assign(np.zeros(positions.shape))
    np.testing.assert_allclose(output(tiny, swapped(images)), output(tiny, images), atol=1e-5)
    # It is the patches' order that is lost, not the patches.
    assert np.abs(output(tiny, images)[0] - output(tiny, images)[1]).max() > 1e-3


def by_definition(model: keras.Model, images: np.ndarray, heads: int, depth: int) -> np.ndarray:
    """Equations 1 to 4 of Dosovitskiy et al. in float64: the tokens before the head."""

    def weights(name):
        return [weight.astype("float64") for weight in model.get_layer(name).get_weights()]

    def norm(x, name):
        gamma, beta = weights(name)
        centred = x - x.mean(-1, keepdims=True)
        return gamma * centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) + beta

    def attention(x, name):
        wq, bq, wk, bk, wv, bv, wo, bo = weights(name)
        total = bo
        for head in range(heads):
            query, key, value = (x @ w[:, head] + b[head] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
            scores = softmax(query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1]), axis=-1)
            total = total + scores @ value @ wo[head]
        return total

    def mlp(x, name):
        (w1, b1), (w2, b2) = weights(f"{name}_hidden"), weights(f"{name}_output")
        hidden = x @ w1 + b1
        return hidden * (1 + erf(hidden / np.sqrt(2))) / 2 @ w2 + b2

    side = images.shape[1] // PATCH
    patches = (images.astype("float64") / 127.5 - 1).reshape(-1, side, PATCH, side, PATCH, 3)
    kernel, bias = weights("patch_embedding")
    x = (np.einsum("naibjc,ijco->nabo", patches, kernel) + bias).reshape(len(images), side * side, -1)
    token, positions = weights("class_token")
    x = np.concatenate([np.repeat(token, len(images), axis=0), x], axis=1) + positions
    for number in range(1, depth + 1):
        x = x + attention(norm(x, f"block{number}_attention_norm"), f"block{number}_attention")
        x = x + mlp(norm(x, f"block{number}_mlp_norm"), f"block{number}_mlp")
    return norm(x, "final_norm")


def test_follows_the_definition(tiny):
    images = pixels(3, 48)
    expected = by_definition(tiny, images, TINY["heads"], TINY["depth"])
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(output(tiny, images, "final_norm"), expected, atol=1e-4)
    kernel, bias = tiny.get_layer("probabilities").get_weights()
    probabilities = softmax(expected[:, 0] @ kernel + bias, axis=-1)
    assert np.ptp(probabilities, axis=0).max() > 0.01
    np.testing.assert_allclose(output(tiny, images), probabilities, atol=1e-4)


def test_takes_a_step_and_survives_saving(tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model("vit", ModelSettings(image_size=64, class_count=3), **TINY)
    assert MODELS["vit"].inputs == ("image",)
    assert set(model.input) == {"image"}
    images = pixels(4, 64)
    before = [weight.numpy() for weight in model.get_layer("class_token").weights]
    model.compile("sgd", loss="categorical_crossentropy", jit_compile=False)
    model.train_on_batch({"image": images}, np.eye(3, dtype="float32")[[0, 1, 2, 0]])
    after = [weight.numpy() for weight in model.get_layer("class_token").weights]
    assert all(np.abs(one - other).max() > 0 for one, other in zip(before, after, strict=True))
    found = output(model, images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(output(again, images), found, atol=1e-6)


@pytest.mark.parametrize(("size", "near"), [(8, 16), (100, 96), (230, 224), (232, 224)])
def test_an_image_that_is_no_whole_number_of_patches_is_refused(size, near):
    with pytest.raises(ConfigurationError, match=rf"Received: image_size={size}, patch=16\. Take image_size={near}"):
        build_model("vit", ModelSettings(image_size=size), **TINY)


def test_a_width_that_does_not_divide_into_heads_is_refused():
    with pytest.raises(ConfigurationError, match=r"Received: width=13, heads=3\. Take width=12"):
        build_model("vit", ModelSettings(image_size=32), **{**TINY, "width": 13})


@pytest.mark.parametrize("argument", ["patch", "width", "depth", "heads", "mlp"])
def test_numbers_below_one_are_refused(argument):
    with pytest.raises(ConfigurationError, match=f"Expected {argument} to be a whole number of at least 1"):
        build_model("vit", ModelSettings(image_size=32), **{**TINY, argument: 0})
