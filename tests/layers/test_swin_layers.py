"""The layers of a Swin Transformer against their definition in numpy, pair of tokens by pair of tokens."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import swin_by_definition as definition
from keras.src.testing import TestCase

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import PatchEmbedding, PatchMerging, SwinBlock, WindowAttention
from mmdc_tf.layers.window_attention import fitting_window


class SwinLayersTest(TestCase):
    def keras_test(self, layer, arguments, shapes, weights):
        self.run_layer_test(
            layer,
            init_kwargs=arguments,
            input_shape=shapes[0],
            expected_output_shape=shapes[1],
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=0,
            expected_num_seed_generators=0,
            expected_num_losses=0,
        )

    def test_window_attention(self):
        # Kernel and bias of Q, K and V together and of the projection, and the table of position biases.
        shapes = ((2, 7, 7, 4), (2, 7, 7, 4))
        self.keras_test(WindowAttention, {"heads": 2, "window": 4, "shift": 2}, shapes, 5)

    def test_swin_block(self):
        shapes = ((2, 8, 8, 4), (2, 8, 8, 4))
        self.keras_test(SwinBlock, {"heads": 2, "window": 4, "shift": 2, "mlp_ratio": 2}, shapes, 5 + 2 * 2 + 2 * 2)

    def test_patch_merging(self):
        self.keras_test(PatchMerging, {}, ((2, 5, 4, 3), (2, 3, 2, 6)), 3)

    def test_patch_embedding(self):
        self.keras_test(PatchEmbedding, {"width": 6, "patch": 2}, ((2, 7, 4, 3), (2, 3, 2, 6)), 4)


def random_layer(layer, shape, seed=0):
    layer.build(shape)
    definition.randomise(layer)
    return layer, np.random.default_rng(seed).normal(size=shape).astype("float32")


WINDOWS = pytest.mark.parametrize(
    ("sides", "window", "shift"),
    [
        ((8, 8), 4, 0),
        ((8, 8), 4, 2),
        ((9, 6), 3, 1),  # sides that differ, and an odd window
        ((7, 7), 4, 2),  # padded to 8 × 8, as in SW-ForkNet
        ((7, 5), 4, 0),
        ((5, 5), 5, 2),  # one window: no shift
        ((3, 3), 7, 3),  # a window larger than the map
        ((4, 10), 4, 2),  # one window along one side only
        ((6, 6), 1, 0),
        ((8, 8), 4, 3),
    ],
)


@WINDOWS
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


def changed_by_the_first_token(layers, features):
    """Which tokens another value of token (0, 0) changes, (h, w) bool."""
    other = features.copy()
    other[:, 0, 0] += np.linspace(1, -1, features.shape[-1])
    one, two = (keras.Sequential(layers)(x) for x in (features, other))
    return np.abs(np.asarray(one) - np.asarray(two)).max(axis=(0, 3)) > 1e-6


def rectangle(sides, rows, columns):
    expected = np.zeros(sides, bool)
    expected[rows, columns] = True
    return expected


def test_the_mask_of_shifted_windows():
    # Stage 0 at 224 pixels. The first block spreads token (0, 0) over rows and columns 0–6; the second, whose windows
    # begin at 3, 10, …, over those up to 9. Rows 10–13 are another window, and rows 53–55, which the cyclic shift
    # puts beside rows 0–2, are behind the mask.
    shape = (1, 56, 56, 8)
    first, features = random_layer(SwinBlock(2, 7), shape)
    shifted, _ = random_layer(SwinBlock(2, 7, shift=3), shape)
    once = changed_by_the_first_token([first], features)
    np.testing.assert_array_equal(once, rectangle((56, 56), slice(7), slice(7)))
    twice = changed_by_the_first_token([first, shifted], features)
    assert not twice[10:14].any()
    assert not twice[:, 10:14].any()
    assert twice[9, 9]
    np.testing.assert_array_equal(twice, rectangle((56, 56), slice(10), slice(10)))


def test_shifted_windows_keep_the_corner_to_itself():
    layer, features = random_layer(WindowAttention(2, 7, shift=3), (1, 56, 56, 8))
    np.testing.assert_array_equal(
        changed_by_the_first_token([layer], features), rectangle((56, 56), slice(3), slice(3))
    )


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


def test_counts_by_hand():
    block = SwinBlock(8, 4, 2)
    block.build((None, 7, 7, 256))
    # Q, K, V; projection; (2 · 4 − 1)² offsets for 8 heads; two LayerNorms; the MLP of 1,024.
    assert block.count_params() == 197_376 + 65_792 + 49 * 8 + 2 * 512 + 263_168 + 262_400
    merging = PatchMerging()
    merging.build((None, 56, 56, 96))
    assert merging.count_params() == 2 * 384 + 384 * 192


@pytest.mark.parametrize(
    ("side", "window"),
    [(56, 7), (28, 7), (14, 7), (7, 7), (16, 4), (8, 4), (4, 4), (2, 2), (1, 1), (26, 2), (13, 1), (12, 6), (15, 5)],
)
def test_the_largest_divisor_that_is_at_most_7(side, window):
    assert fitting_window(side, 7) == window


def test_a_block_under_mixed_precision():
    layer, features = random_layer(SwinBlock(2, 4, 2, dtype="mixed_float16"), (2, 8, 8, 8))
    found = keras.ops.convert_to_numpy(layer(features))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, definition.block(features, layer), atol=0.05)


def test_a_batch_of_any_size_in_a_model():
    given = keras.Input((7, 7, 4))
    model = keras.Model(given, PatchMerging()(SwinBlock(2, 4, 2)(given)))
    assert model.output.shape == (None, 4, 4, 8)
    for batch in (1, 5):
        assert model.predict(np.ones((batch, 7, 7, 4)), verbose=0).shape == (batch, 4, 4, 8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WindowAttention(0), r"Received: heads=0"),
        (lambda: WindowAttention(2, 0), r"Received: window=0"),
        (lambda: WindowAttention(2, 7, -1), r"Received: shift=-1"),
        (lambda: SwinBlock(2, 4, 4), r"Received: shift=4, window=4\. Take shift=2"),
        (lambda: SwinBlock(2, mlp_ratio=0), r"Received: mlp_ratio=0"),
        (lambda: PatchEmbedding(0), r"Received: width=0"),
        (lambda: PatchEmbedding(4, 0), r"Received: patch=0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (WindowAttention(3), (None, 8, 8, 8), r"channels=8, heads=3"),
        (WindowAttention(2), (None, None, 8, 8), r"fixed height and width.*Received: shape=\(None, None, 8, 8\)"),
        (PatchMerging(), (None, 8, None, 8), r"fixed height and width.*Received: shape=\(None, 8, None, 8\)"),
        (PatchMerging(), (None, 8, 8, None), r"last axis.*Received: shape=\(None, 8, 8, None\)"),
        (PatchEmbedding(4), (None, 8, 3, 3), r"one patch of 4\. Received: shape=\(None, 8, 3, 3\)"),
    ],
)
def test_maps_that_do_not_fit_are_refused(layer, shape, message):
    with pytest.raises(ConfigurationError, match=message):
        layer.build(shape)
