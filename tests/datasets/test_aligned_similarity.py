"""The second measure of near-twins, against scikit-image's similarity and by what must not matter to it."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from mmdc_tf.datasets.aligned_similarity import MOST_SIDE, aligned_similarity
from mmdc_tf.datasets.opencv import cv2


def texture(seed, size=192):
    """Smooth random texture with blobs of several sizes."""
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), sigma) * sigma for sigma in (2, 6, 15)]
    return np.clip(128 + 45 * sum(layers) / np.std(sum(layers)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def image():
    return texture(1)


def test_equal_images_have_one(image):
    assert aligned_similarity(image, image.copy()) == pytest.approx(1.0)


def test_other_images_have_little(image):
    scores = [aligned_similarity(image, texture(seed)) for seed in range(2, 8)]
    assert max(scores) < 0.5


@pytest.mark.parametrize(
    ("scale", "shift"),
    [(1.0, (5, -7)), (1.04, (0, 0)), (0.95, (6, 3))],
    ids=["shifted", "larger", "smaller and shifted"],
)
def test_a_moved_copy_is_found_where_the_plain_similarity_fails(image, scale, shift):
    move = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
    moved = cv2.warpAffine(image, move, image.shape[::-1], borderMode=cv2.BORDER_REFLECT)
    assert structural_similarity(image, moved) < 0.6
    assert aligned_similarity(image, moved) > 0.9
    assert aligned_similarity(moved, image) > 0.9


def test_a_cropped_and_resized_copy_is_found(image):
    cropped = cv2.resize(image[6:-4, 8:-6], (300, 220))
    assert aligned_similarity(image, cropped) > 0.85


def test_a_shift_scores_as_the_overlap_itself(image):
    noise = np.random.default_rng(0).normal(0, 12, image.shape)
    noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
    expected = structural_similarity(image[8:, 6:], noisy[8:, 6:])  # the oracle: cut by hand, compared as it lies
    assert aligned_similarity(image[8:, 6:], noisy[8:, 6:]) == pytest.approx(expected, abs=0.02)
    assert aligned_similarity(image[8:, 6:], noisy[:-8, :-6]) == pytest.approx(expected, abs=0.08)


def test_where_aligning_cannot_help_the_images_are_compared_as_they_lie():
    flat = np.full((64, 64), 90, np.uint8)
    spot = flat.copy()
    spot[30:34, 30:34] = 200
    assert aligned_similarity(flat, flat) == pytest.approx(1.0)
    assert aligned_similarity(flat, spot) == pytest.approx(structural_similarity(flat, spot))


def test_large_images_are_compared_after_shrinking():
    large = cv2.resize(texture(3, 256), (1500, 2048), interpolation=cv2.INTER_CUBIC)
    moved = np.roll(large, (24, -32), axis=(0, 1))[40:-40, 40:-40]
    assert max(moved.shape) > MOST_SIDE
    assert aligned_similarity(large[40:-40, 40:-40], moved) > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (7, 7)])
def test_tiny_images_are_no_error(shape):
    tiny = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert aligned_similarity(tiny, tiny) == pytest.approx(1.0)
