"""The layers of a Swin Transformer against their definition in numpy, pair of tokens by pair of tokens."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import swin_by_definition as definition

from mmdc_tf.layers import PatchEmbedding, PatchMerging, SwinBlock, WindowAttention
from mmdc_tf.layers.window_attention import fitting_window


def random_layer(layer, shape, seed=0):
    layer.build(shape)
    definition.randomise(layer)
    return layer, np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    ("sides", "window", "shift"),
    [
        ((8, 8), 4, 0),
        ((8, 8), 4, 2),
        ((9, 6), 3, 1),  # sides that differ, and an odd window
        ((7, 7), 4, 2),  # padded to 8 × 8, as in SW-ForkNet
        ((7, 5), 4, 0),
        ((14, 14), 7, 3),
        ((5, 5), 5, 2),  # one window: no shift
        ((3, 3), 7, 3),  # a window larger than the map
        ((4, 10), 4, 2),  # one window along one side only
        ((6, 6), 1, 0),
        ((8, 8), 4, 3),
    ],
)
def test_attention_is_that_of_the_definition(sides, window, shift):
    layer, features = random_layer(WindowAttention(2, window, shift), (2, *sides, 8))
    expected = definition.attention(features, layer)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(np.asarray(layer(features)), expected, atol=1e-4)


@pytest.mark.parametrize(("sides", "window", "shift"), [((8, 8), 4, 2), ((7, 7), 4, 2), ((6, 6), 3, 0)])
def test_a_block_is_that_of_the_definition(sides, window, shift):
    layer, features = random_layer(SwinBlock(2, window, shift), (2, *sides, 8))
    expected = definition.block(features, layer)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(np.asarray(layer(features)), expected, atol=1e-4)


@pytest.mark.parametrize("sides", [(6, 8), (5, 3), (1, 1)])
def test_patch_merging_is_that_of_the_definition(sides):
    layer, features = random_layer(PatchMerging(), (2, *sides, 4))
    expected = definition.patch_merging(features, layer)
    assert expected.shape == (2, -(-sides[0] // 2), -(-sides[1] // 2), 8)
    np.testing.assert_allclose(np.asarray(layer(features)), expected, atol=1e-4)


@pytest.mark.parametrize("sides", [(8, 12), (9, 11)])
def test_patch_embedding_is_that_of_the_definition(sides):
    layer, features = random_layer(PatchEmbedding(6), (2, *sides, 3))
    expected = definition.patch_embedding(features, layer)
    assert expected.shape == (2, 2, sides[1] // 4, 6)
    np.testing.assert_allclose(np.asarray(layer(features)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("side", "window"), [(56, 7), (7, 7), (16, 4), (4, 4), (1, 1), (26, 2), (13, 1), (12, 6), (15, 5)]
)
def test_the_largest_divisor_that_is_at_most_7(side, window):
    assert fitting_window(side, 7) == window


def test_a_block_under_mixed_precision():
    layer, features = random_layer(SwinBlock(2, 4, 2, dtype="mixed_float16"), (2, 8, 8, 8))
    found = keras.ops.convert_to_numpy(layer(features))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, definition.block(features, layer), atol=0.05)
