"""Augmentation: how far images are moved by the layers, and where pixels go in fixed views and how these are spread."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.inputs.augmentation import Augmentation, FixedView, augmentation_layers, fixed_views

SIZE = 64
NOTHING = Augmentation(mirror=False, shift=0.0, zoom=0.0)
EVERYTHING = Augmentation(mirror=True, shift=0.1, zoom=0.2, rotation=15.0, brightness=30.0)


def augmented(image: np.ndarray, copies: int = 64, seed: int = 0, **settings: object) -> np.ndarray:
    """``copies`` of a (64, 64) picture, each moved on its own, as (copies, 64, 64)."""
    pixels = np.repeat(np.repeat(image[None, :, :, None], copies, axis=0), 3, axis=3).astype("float32")
    for layer in augmentation_layers(dataclasses.replace(NOTHING, **settings), seed):
        pixels = layer(pixels, training=True)
    pixels = np.asarray(pixels)
    assert pixels.shape == (copies, SIZE, SIZE, 3)
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 255.001
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])
    return pixels[..., 0]


# --- layers ---


def test_rotation_is_in_degrees():
    image = np.zeros((SIZE, SIZE), "float32")
    image[30:34, 12:52] = 200.0
    at = np.arange(SIZE) - (SIZE - 1) / 2
    found = augmented(image, rotation=20.0, fill="constant")
    cross, spread = (found * np.outer(at, at)).sum((1, 2)), (found * (at[None, :] ** 2 - at[:, None] ** 2)).sum((1, 2))
    angles = np.degrees(0.5 * np.arctan2(2 * cross, spread))  # of the long axis, from the horizontal
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


# --- one view ---


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def test_no_change_gives_the_pixels_back_untouched(pixels):
    before = pixels.copy()
    assert FixedView()(pixels) is pixels
    FixedView(mirror=True, shift_y=0.1, rotation=5.0, brightness=9.0)(pixels)
    np.testing.assert_array_equal(pixels, before)


def test_mirror_and_quarter_turns_are_exact(pixels):
    np.testing.assert_array_equal(FixedView(mirror=True)(pixels), pixels[:, ::-1])
    for turns in (1, 2, 3):  # counter-clockwise
        np.testing.assert_array_equal(FixedView(rotation=90.0 * turns)(pixels), np.rot90(pixels, turns))


def test_a_shift_by_whole_pixels_moves_a_dot_down_and_right():
    pixels, expected = np.zeros((2, 16, 16, 3), np.uint8)
    pixels[4, 9] = expected[7, 7] = (10, 200, 90)
    moved = FixedView(shift_y=3 / 16, shift_x=-2 / 16, fill="constant")(pixels)
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize(
    ("fill", "left"), [("reflect", [1, 0, 0]), ("constant", [-1, -1, 0]), ("nearest", [0, 0, 0]), ("wrap", [14, 15, 0])]
)
def test_what_is_seen_beyond_the_border(pixels, fill, left):
    moved = FixedView(shift_x=2 / 16, fill=fill)(pixels)
    expected = [np.zeros_like(pixels[:, 0]) if column < 0 else pixels[:, column] for column in left]
    np.testing.assert_array_equal(moved[:, :3], np.stack(expected, axis=1))


@pytest.mark.parametrize("brightness", [-100.0, -0.4, 0.6, 100.0])
def test_brightness_is_added_rounded_and_clipped(pixels, brightness):
    changed = FixedView(brightness=brightness)(pixels)
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, np.clip(np.round(pixels.astype(float) + brightness), 0, 255))


@pytest.mark.parametrize(
    ("view", "layer"),
    [
        ({"rotation": 20.0}, keras.layers.RandomRotation((20 / 360, 20 / 360), "reflect")),
        ({"zoom": 0.25}, keras.layers.RandomZoom((0.25, 0.25), None, "reflect")),
        ({"zoom": -0.25}, keras.layers.RandomZoom((-0.25, -0.25), None, "reflect")),
        (
            {"shift_y": 0.11, "shift_x": -0.07},
            keras.layers.RandomTranslation((0.11, 0.11), (-0.07, -0.07), "reflect"),
        ),
    ],
)
def test_movements_are_those_of_keras_layers(view, layer):
    rows, columns = np.mgrid[0:64, 0:64] / 64
    grey = 120 + 60 * np.sin(5 * rows + 1) * np.cos(3 * columns) + 50 * columns  # smooth and without symmetry
    smooth = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    found = FixedView(**view)(smooth).astype(float)
    expected = np.asarray(layer(smooth[None].astype("float32"), training=True))[0]
    assert np.abs(smooth - expected).mean() > 2.5  # the layer did move something
    # Where the border runs through a pixel, the two fill it differently.
    assert np.quantile(np.abs(found - expected), 0.9) < 2.5


# --- all views ---


def test_the_first_views_are_the_image_and_its_mirror():
    first, second, *others = fixed_views(8, EVERYTHING)
    assert (first, second) == (FixedView(), FixedView(mirror=True))
    assert len(set(others)) == 6
    assert sum(view.mirror for view in others) == 3
    assert not any(view.mirror for view in fixed_views(8, dataclasses.replace(EVERYTHING, mirror=False)))


@pytest.mark.parametrize("limits", [EVERYTHING, Augmentation(), Augmentation(mirror=False)])
def test_a_larger_count_begins_with_the_views_of_a_smaller_one(limits):
    largest = fixed_views(33, limits)
    assert all(fixed_views(count, limits) == largest[:count] for count in range(1, 33))
    assert len(set(largest)) == 33


def test_views_fill_the_limits_and_stay_within_them():
    views = fixed_views(32, EVERYTHING)[2:]
    mirrored = np.array([view.mirror for view in views])
    for name, limit in {"shift_y": 0.1, "shift_x": 0.1, "zoom": 0.2, "rotation": 15.0, "brightness": 30.0}.items():
        shares = np.array([getattr(view, name) for view in views]) / limit
        assert np.abs(shares).max() <= 1
        assert (np.histogram(shares, bins=5, range=(-1, 1))[0] >= 4).all()  # 30 views in 5 bins: 6 each if even
        assert abs(shares[mirrored].mean()) < 0.15  # a movement is not tied to the mirror
        assert abs(shares[~mirrored].mean()) < 0.15


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="fill='mirror'"):
        FixedView(fill="mirror")
    with pytest.raises(ConfigurationError, match="Received: views=0"):
        fixed_views(0, Augmentation())
