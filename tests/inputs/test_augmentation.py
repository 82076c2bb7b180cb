"""Augmentation: how far images are moved, measured on pictures whose movement can be read off."""

from __future__ import annotations

import numpy as np
import pytest

from mmdc_tf.inputs.augmentation import Augmentation, augmentation_layers

SIZE = 64
NOTHING = Augmentation(mirror=False, shift=0.0, zoom=0.0, rotation=0.0, brightness=0.0)


def augmented(image: np.ndarray, copies: int = 64, seed: int = 0, **settings: object) -> np.ndarray:
    """``copies`` of a (64, 64) picture, each moved on its own, as (copies, 64, 64)."""
    pixels = np.repeat(np.repeat(image[None, :, :, None], copies, axis=0), 3, axis=3).astype("float32")
    for layer in augmentation_layers(Augmentation(**{**NOTHING.__dict__, **settings}), seed):
        pixels = layer(pixels, training=True)
    pixels = np.asarray(pixels)
    assert pixels.shape == (copies, SIZE, SIZE, 3)
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 255.001
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
    return pixels[..., 0]


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre of mass (rows, columns) and direction of the long axis in degrees from the horizontal."""
    mass = images / images.sum(axis=(1, 2), keepdims=True)
    at = np.arange(SIZE)
    row, column = mass.sum(2) @ at, mass.sum(1) @ at
    rows, columns = at[None, :, None] - row[:, None, None], at[None, None, :] - column[:, None, None]
    cross = (mass * rows * columns).sum((1, 2))
    spread = (mass * (columns**2 - rows**2)).sum((1, 2))
    return row, column, np.degrees(0.5 * np.arctan2(2 * cross, spread))


def square(side: int) -> np.ndarray:
    image = np.zeros((SIZE, SIZE), "float32")
    edge = (SIZE - side) // 2
    image[edge : edge + side, edge : edge + side] = 200.0
    return image


def test_nothing_asked_for_is_no_layer():
    assert augmentation_layers(NOTHING, seed=0) == []


def test_each_setting_adds_one_layer():
    assert len(augmentation_layers(Augmentation(rotation=10.0, brightness=10.0), seed=0)) == 5
    assert len(augmentation_layers(Augmentation(), seed=0)) == 3


def test_mirroring_is_left_right_only_and_for_about_half_of_the_images():
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype("float32")
    found = augmented(image, copies=200, mirror=True)
    same = (found == image).all((1, 2))
    mirrored = (found == image[:, ::-1]).all((1, 2))
    assert (same ^ mirrored).all()
    assert 60 <= mirrored.sum() <= 140  # 200 coins: 100 ± 40 is more than five standard deviations


def test_shift_stays_within_its_share_and_goes_all_four_ways():
    row, column, _ = moments(augmented(square(4), shift=0.1))
    for place in (row, column):
        moved = place - (SIZE - 1) / 2
        assert np.abs(moved).max() <= 6.4 + 0.1  # a tenth of 64 pixels
        assert moved.max() > 3
        assert moved.min() < -3


def test_zoom_stays_within_its_share_and_keeps_the_shape():
    areas = augmented(square(32), zoom=0.1).sum((1, 2)) / square(32).sum()
    assert areas.min() >= (1 / 1.1) ** 2 - 0.02
    assert areas.max() <= (1 / 0.9) ** 2 + 0.02
    assert areas.min() < 0.95
    assert areas.max() > 1.05


def test_rotation_is_in_degrees():
    image = np.zeros((SIZE, SIZE), "float32")
    image[30:34, 12:52] = 200.0
    _, _, angles = moments(augmented(image, rotation=20.0, fill="constant"))
    assert np.abs(angles).max() <= 20.5
    assert angles.max() > 10
    assert angles.min() < -10


def test_brightness_is_in_grey_levels_and_clipped():
    change = augmented(np.full((SIZE, SIZE), 100.0, "float32"), brightness=25.0) - 100.0
    assert np.ptp(change, axis=(1, 2)).max() < 1e-3
    assert np.abs(change).max() <= 25.001
    assert change.max() > 10
    assert change.min() < -10
    assert augmented(np.full((SIZE, SIZE), 250.0, "float32"), brightness=25.0).max() == 255.0


def test_fill_decides_what_is_seen_beyond_the_border():
    white = np.full((SIZE, SIZE), 255.0, "float32")
    assert augmented(white, shift=0.1, fill="reflect").min() > 254.9
    assert augmented(white, shift=0.1, fill="constant").min() == 0.0


@pytest.mark.parametrize("setting", [{"mirror": True}, {"shift": 0.1}, {"zoom": 0.1}, {"rotation": 9.0}])
def test_the_seed_decides_the_movements(setting):
    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE)).astype("float32")
    first, again, other = (augmented(image, copies=16, seed=seed, **setting) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
