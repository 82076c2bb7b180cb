"""Fixed views: where pixels go, by hand, by NumPy and by Keras' layers; and how the views are spread."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.inputs.augmentation import Augmentation
from mmdc_tf.inputs.fixed_views import FixedView, fixed_views

SIZE = 16
EVERYTHING = Augmentation(mirror=True, shift=0.1, zoom=0.2, rotation=15.0, brightness=30.0)
FILLS = ("reflect", "constant", "nearest", "wrap")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)


@pytest.fixture
def smooth() -> np.ndarray:
    """A picture without symmetry, on which two ways of interpolating hardly differ."""
    rows, columns = np.mgrid[0:64, 0:64] / 64
    grey = 120 + 60 * np.sin(5 * rows + 1) * np.cos(3 * columns) + 50 * columns
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def test_no_change_gives_the_pixels_back_untouched(pixels):
    before = pixels.copy()
    assert FixedView()(pixels) is pixels
    FixedView(mirror=True, shift_y=0.1, rotation=5.0, brightness=9.0)(pixels)
    np.testing.assert_array_equal(pixels, before)


def test_the_mirror_is_exact(pixels):
    np.testing.assert_array_equal(FixedView(mirror=True)(pixels), pixels[:, ::-1])


def test_a_shift_by_whole_pixels_moves_a_dot_down_and_right():
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels[4, 9] = (10, 200, 90)
    moved = FixedView(shift_y=3 / SIZE, shift_x=-2 / SIZE, fill="constant")(pixels)
    expected = np.zeros_like(pixels)
    expected[7, 7] = (10, 200, 90)
    np.testing.assert_array_equal(moved, expected)
    mirrored = FixedView(mirror=True, shift_y=3 / SIZE, shift_x=-2 / SIZE, fill="constant")(pixels)
    assert mirrored[7, SIZE - 1 - 9 - 2].tolist() == [10, 200, 90]  # mirrored first, then shifted


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_is_counter_clockwise(pixels, turns):
    np.testing.assert_array_equal(FixedView(rotation=90.0 * turns)(pixels), np.rot90(pixels, turns))


@pytest.mark.parametrize(
    ("fill", "left"), [("reflect", [1, 0, 0]), ("constant", [-1, -1, 0]), ("nearest", [0, 0, 0]), ("wrap", [14, 15, 0])]
)
def test_what_is_seen_beyond_the_border(pixels, fill, left):
    moved = FixedView(shift_x=2 / SIZE, fill=fill)(pixels)
    expected = [np.zeros_like(pixels[:, 0]) if column < 0 else pixels[:, column] for column in left]
    np.testing.assert_array_equal(moved[:, :3], np.stack(expected, axis=1))


def test_a_positive_zoom_is_farther_away():
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels[4:12, 4:12] = 255  # 8 of 16 pixels wide
    far, near = (FixedView(zoom=zoom, fill="constant")(pixels).sum() / (3 * 255) for zoom in (1.0, -0.5))
    assert far == pytest.approx(4 * 4)
    # 16 pixels wide; the outermost lie a quarter of an interpolation's way from black, on either side
    assert near == pytest.approx(15.5**2, abs=0.5)


@pytest.mark.parametrize("brightness", [-100.0, -0.4, 0.6, 100.0])
def test_brightness_is_added_rounded_and_clipped(pixels, brightness):
    changed = FixedView(brightness=brightness)(pixels)
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, np.clip(np.round(pixels.astype(float) + brightness), 0, 255))


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize(
    ("view", "layer"),
    [
        ({"rotation": 20.0}, lambda fill: keras.layers.RandomRotation((20 / 360, 20 / 360), fill)),
        ({"zoom": 0.25}, lambda fill: keras.layers.RandomZoom((0.25, 0.25), None, fill)),
        ({"zoom": -0.25}, lambda fill: keras.layers.RandomZoom((-0.25, -0.25), None, fill)),
        (
            {"shift_y": 0.11, "shift_x": -0.07},
            lambda fill: keras.layers.RandomTranslation((0.11, 0.11), (-0.07, -0.07), fill),
        ),
    ],
)
def test_movements_and_fills_are_those_of_keras_layers(smooth, view, layer, fill):
    found = FixedView(**view, fill=fill)(smooth).astype(float)
    expected = np.asarray(layer(fill)(smooth[None].astype("float32"), training=True))[0]
    assert np.abs(smooth - expected).mean() > 2.5  # the layer did move something
    # Where the border runs through a pixel, the two fill it differently.
    assert np.quantile(np.abs(found - expected), 0.9) < 2.5


def test_an_unknown_fill_mode_is_refused():
    with pytest.raises(ConfigurationError, match="fill='mirror'"):
        FixedView(fill="mirror")


def test_the_first_views_are_the_image_and_its_mirror():
    first, second, *others = fixed_views(8, EVERYTHING)
    assert first == FixedView()
    assert second == FixedView(mirror=True)
    assert len(set(others)) == 6
    assert sum(view.mirror for view in others) == 3
    assert not any(view.mirror for view in fixed_views(8, dataclasses.replace(EVERYTHING, mirror=False)))


@pytest.mark.parametrize("limits", [EVERYTHING, Augmentation(), Augmentation(mirror=False)])
def test_a_larger_count_begins_with_the_views_of_a_smaller_one(limits):
    largest = fixed_views(33, limits)
    for count in range(1, 33):
        assert fixed_views(count, limits) == largest[:count]
    assert len(set(largest)) == 33


def test_views_fill_the_limits_and_stay_within_them():
    views = fixed_views(32, EVERYTHING)[2:]
    for name, limit in {"shift_y": 0.1, "shift_x": 0.1, "zoom": 0.2, "rotation": 15.0, "brightness": 30.0}.items():
        shares = np.array([getattr(view, name) for view in views]) / limit
        assert np.abs(shares).max() <= 1
        assert (np.histogram(shares, bins=5, range=(-1, 1))[0] >= 4).all()  # 30 views in 5 bins: 6 each if even
        mirrored = np.array([view.mirror for view in views])
        assert abs(shares[mirrored].mean()) < 0.15  # a movement is not tied to the mirror
        assert abs(shares[~mirrored].mean()) < 0.15


def test_what_is_not_allowed_is_in_no_view():
    for view in fixed_views(16, Augmentation(mirror=False, shift=0.2, zoom=0.0, fill="nearest"))[1:]:
        assert (view.mirror, view.zoom, view.rotation, view.brightness) == (False, 0, 0, 0)
        assert view.shift_y != 0
        assert view.fill == "nearest"


def test_no_view_is_there_twice_where_the_limits_allow_no_more():
    nothing = Augmentation(mirror=False, shift=0.0, zoom=0.0)
    assert fixed_views(8, nothing) == (FixedView(),)
    assert fixed_views(8, dataclasses.replace(nothing, mirror=True)) == (FixedView(), FixedView(mirror=True))


@pytest.mark.parametrize("limits", [EVERYTHING, Augmentation()])
def test_a_view_is_named_by_short_plain_values(limits):
    for view in fixed_views(16, limits):
        facts = dataclasses.asdict(view)
        text = json.dumps(facts)
        assert FixedView(**json.loads(text)) == view
        assert "-0.0," not in text
        assert all(round(value, 4) == value for value in facts.values() if isinstance(value, float))


@pytest.mark.parametrize("count", [0, -1])
def test_at_least_one_view_is_needed(count):
    with pytest.raises(ConfigurationError, match=f"Received: views={count}"):
        fixed_views(count, Augmentation())
