"""Token fusion against Vaswani et al.'s formulas, and the class token by hand."""

import keras
import numpy as np
import pytest

from mmdc_tf.layers import ClassToken, TokenFusion


def random_layer(shape, seed=0, **options):
    rng = np.random.default_rng(seed)
    layer = TokenFusion(width=shape[-1], **options)
    layer.build(shape)
    layer.set_weights([rng.normal(scale=0.3, size=w.shape) for w in layer.weights])
    return layer, rng.normal(size=shape).astype("float32")


def numpy_fusion(layer, tokens):
    """Vaswani et al.'s formulas, head by head, in float64."""
    weights = [np.asarray(w, dtype="float64") for w in layer.weights]
    wq, bq, wk, bk, wv, bv, wo, bo, gamma, beta = weights
    tokens = tokens.astype("float64")
    total, all_scores = np.zeros_like(tokens), []
    for head in range(wq.shape[1]):
        query, key, value = (tokens @ w[:, head] + b[head] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
        scores = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(wq.shape[2]))
        scores /= scores.sum(axis=-1, keepdims=True)
        all_scores.append(scores)
        total += scores @ value @ wo[head]
    summed = tokens + total + bo
    centred = summed - summed.mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    return np.stack(all_scores, axis=1), normed * gamma + beta


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_equals_numpy_with_the_same_weights(dropout):
    layer, tokens = random_layer((2, 5, 16), heads=4, dropout=dropout)
    scores, output = numpy_fusion(layer, tokens)
    np.testing.assert_allclose(np.asarray(layer(tokens)), output, atol=1e-5)
    np.testing.assert_allclose(np.asarray(layer.attention_scores(tokens)), scores, atol=1e-5)


def test_eight_heads_of_the_papers_width():
    layer = TokenFusion()
    tokens = np.random.default_rng(7).normal(size=(3, 17, 128)).astype("float32")
    scores = np.asarray(layer.attention_scores(tokens))
    assert scores.shape == (3, 8, 17, 17)
    np.testing.assert_allclose(scores.sum(axis=-1), 1.0, atol=1e-5)
    assert np.asarray(layer(tokens)).shape == (3, 17, 128)
    # Q, K, V and output each 128·128 + 128, LayerNorm 2·128.
    assert layer.count_params() == 4 * 16_512 + 256


def test_dropout_acts_in_training_only():
    layer, tokens = random_layer((2, 5, 8), heads=2, dropout=0.5)
    rest = np.asarray(layer(tokens, training=False))
    np.testing.assert_array_equal(rest, np.asarray(layer(tokens)))
    assert np.abs(np.asarray(layer(tokens, training=True)) - rest).max() > 1e-3


def test_scores_of_a_symbolic_input_are_float32_under_mixed_precision():
    layer, tokens = random_layer((2, 5, 8), heads=2, dtype="mixed_float16")
    given = keras.Input((5, 8))
    scores = keras.Model(given, layer.attention_scores(given)).predict(tokens, verbose=0)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, numpy_fusion(layer, tokens)[0], atol=0.01)


def test_token_first_and_positions_by_hand():
    layer = ClassToken()
    layer.build((None, 2, 2))
    layer.token.assign([[[7.0, -7.0]]])
    layer.positions.assign([[[0.5, 0.25], [10.0, 20.0], [30.0, 40.0]]])
    found = np.asarray(layer(np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [0.0, 0.0]]], "float32")))
    np.testing.assert_allclose(found[0], [[7.5, -6.75], [11.0, 22.0], [33.0, 44.0]])
    np.testing.assert_allclose(found[1], [[7.5, -6.75], [15.0, 26.0], [30.0, 40.0]])


def test_how_a_new_layer_starts():
    layer = ClassToken()
    layer.build((None, 49, 64))
    assert np.abs(layer.token.numpy()).max() == 0
    assert layer.positions.shape == (1, 50, 64)
    # 3,200 draws: the standard deviation of their standard deviation is 0.02 / √6400 = 0.00025.
    assert abs(layer.positions.numpy().std() - 0.02) < 0.001
