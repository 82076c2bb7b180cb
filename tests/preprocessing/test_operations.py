"""Operations against hand calculations, scikit-image, scipy and properties."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.transform import downscale_local_mean

from mmdc_tf.errors import ConfigurationError, InputError
from mmdc_tf.preprocessing.operations import (
    apply_mask,
    close_mask,
    crop_to_mask,
    dilate_mask,
    enhance_contrast,
    grey_to_rgb,
    largest_region_mask,
    open_mask,
    otsu_mask,
    resize,
    to_grey,
)

GREYS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)))
quick = settings(max_examples=60, deadline=None, derandomize=True)


def grey(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)


def test_grey_weighs_red_green_and_blue_as_bt601() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [100, 50, 200]]], np.uint8)
    # 0.299·255 = 76.2; 0.587·255 = 149.7; 0.114·255 = 29.1; 29.9 + 29.35 + 22.8 = 82.05
    assert to_grey(pixels).tolist() == [[76, 150, 29, 82]]


def test_grey_then_rgb_then_grey_changes_none_of_the_256_levels() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colour = grey_to_rgb(levels)
    assert colour.shape == (16, 16, 3)
    assert all(np.array_equal(colour[..., channel], levels) for channel in range(3))
    assert np.array_equal(to_grey(colour), levels)


@quick
@given(GREYS.filter(lambda image: image.min() < image.max()))
def test_otsu_is_a_maximum_of_the_between_class_variance(image: np.ndarray) -> None:
    def between(chosen: np.ndarray) -> float:
        share = chosen.mean()
        return share * (1 - share) * (image[chosen].mean() - image[~chosen].mean()) ** 2

    mask = otsu_mask(image) == 255
    assert image[~mask].max() < image[mask].min()
    assert between(mask) >= between(image > threshold_otsu(image)) * (1 - 1e-9)


def test_the_largest_region_is_kept_filled_and_the_others_go() -> None:
    ring = grey([[1, 1, 1, 1, 0, 0, 9], [1, 0, 0, 1, 0, 0, 0], [1, 1, 1, 1, 0, 9, 9]])
    expected = grey([[255] * 4 + [0] * 3] * 3)
    assert np.array_equal(largest_region_mask(ring), expected)


def test_largest_means_area_not_outline() -> None:
    mask = np.zeros((12, 20), np.uint8)
    mask[0:2, 0:20] = 255  # 2 × 20: 40 contour pixels, 1 × 19 between pixel centres
    mask[4:10, 3:9] = 255  # 6 × 6: 20 contour pixels, 5 × 5 between pixel centres
    kept = largest_region_mask(mask)
    assert kept[4:10, 3:9].all()
    assert np.count_nonzero(kept) == 36


def test_masking_blanks_outside_and_cropping_cuts_to_the_box() -> None:
    image = grey([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    mask = grey([[0, 0, 0, 0], [0, 255, 0, 0], [0, 0, 1, 0]])
    assert apply_mask(image, mask).tolist() == [[0, 0, 0, 0], [0, 6, 0, 0], [0, 0, 11, 0]]
    assert crop_to_mask(image, mask).tolist() == [[6, 7], [10, 11]]
    for operation in (apply_mask, crop_to_mask):
        with pytest.raises(InputError, match=r"size \(3, 4\).*Received: mask of shape=\(4, 3\)"):
            operation(image, mask.T)


def test_without_clipping_one_tile_is_histogram_equalisation() -> None:
    # Cumulated shares 2/4, 3/4, 4/4 of 255: 127.5, 191.25, 255.
    assert enhance_contrast(grey([[0, 0], [50, 200]]), clip_limit=256, tiles=1).tolist() == [[128, 128], [191, 255]]


def test_the_clip_limit_bounds_the_gain_in_contrast() -> None:
    halves = np.repeat(grey([[100], [101]]), 32, axis=0).repeat(64, axis=1)
    free = enhance_contrast(halves, clip_limit=256, tiles=1)
    clipped = enhance_contrast(halves, clip_limit=2, tiles=1)
    assert np.ptp(free) == 127  # half of the pixels lie on each level
    assert np.ptp(clipped) in (2, 3)  # at most the limit and the redistributed 1: 3 levels of 255


def test_tiles_make_the_enhancement_local() -> None:
    image = np.zeros((64, 64), np.uint8)
    image[::2, :32] = 8  # on the left 8 is the brightest level
    image[:, 32:] = np.arange(32, dtype=np.uint8) * 8  # on the right it is the second of 32
    one, four = enhance_contrast(image, 256, tiles=1), enhance_contrast(image, 256, tiles=2)
    assert one[0, 0] == one[0, 33]  # one histogram: equal levels stay equal
    assert four[0, 0] == 255
    assert enhance_contrast(image[:, 32:], 256, tiles=1)[0, 1] == 16  # 2/32 of 255
    assert four[0, 33] < 255


def test_shrinking_averages_areas() -> None:
    image = grey([[0, 4, 100, 100], [8, 8, 100, 104], [0, 0, 255, 255], [0, 0, 255, 255]])
    assert resize(image, 2).tolist() == [[5, 101], [0, 255]]
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (60, 80), dtype=np.uint8)
    assert np.abs(resize(noise, 20) - downscale_local_mean(noise.astype(float), (3, 4))).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("operation", "name", "value"),
    [
        *((enhance_contrast, name, value) for name, value in (("clip_limit", 0), ("tiles", 0), ("tiles", 2.5))),
        *((resize, "size", value) for value in (0, -1, 2.0, True, "224", None)),
    ],
)
def test_parameters_out_of_range_are_refused(operation: Callable, name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"Expected {name} .*Received: {name}="):
        operation(np.zeros((4, 4), np.uint8), **{name: value})


def test_growing_interpolates_linearly_between_pixel_centres() -> None:
    # New centres lie at −0.25, 0.25, 0.75, 1.25 of the old ones; outside the first and last the value stays.
    assert resize(grey([[0, 100]]), 4).tolist() == [[0, 25, 75, 100]] * 4
    stripes = np.tile(grey([[0, 0, 0, 200]]), (1, 8))  # (1, 32): one side shrinks, and is averaged, the other grows
    assert (resize(stripes, 8) == 50).all()


def test_resizing_to_the_same_size_changes_nothing_and_colours_keep_their_place() -> None:
    image = np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(resize(image, 8), image)
    per_channel = [resize(image[..., channel], 3) for channel in range(3)]
    assert np.array_equal(resize(image, 3), np.stack(per_channel, axis=-1))


ON_GREY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "to_grey": to_grey,
    "otsu_mask": otsu_mask,
    "largest_region_mask": largest_region_mask,
    "apply_mask": lambda image: apply_mask(image, otsu_mask(image)),
    "crop_to_mask": lambda image: crop_to_mask(image, otsu_mask(image)),
    "enhance_contrast": enhance_contrast,
    "resize": lambda image: resize(image, 7),
    "grey_to_rgb": grey_to_rgb,
    "dilate_mask": lambda image: dilate_mask(image, 1.5),
}
POINTWISE = ("to_grey", "otsu_mask", "apply_mask", "crop_to_mask", "grey_to_rgb")


@pytest.mark.parametrize("name", ON_GREY)
@quick
@given(image=GREYS)
def test_every_operation_is_pure_and_pointwise_ones_mirror(name: str, image: np.ndarray) -> None:
    before = image.copy()
    image.setflags(write=False)
    result = ON_GREY[name](image)
    assert result.dtype == np.uint8 and result.size
    assert np.array_equal(image, before)
    assert np.array_equal(ON_GREY[name](before), result)
    if name in POINTWISE:
        assert np.array_equal(ON_GREY[name](image[:, ::-1]), result[:, ::-1])


@pytest.mark.parametrize("name", ON_GREY)
@pytest.mark.parametrize(
    ("bad", "received"),
    [
        (np.zeros((4, 4), np.float32), "dtype=float32, shape=(4, 4)"),
        (np.zeros((4, 4), bool), "dtype=bool, shape=(4, 4)"),
        (np.zeros((4, 4, 4), np.uint8), "dtype=uint8, shape=(4, 4, 4)"),
        (np.zeros((0, 4), np.uint8), "dtype=uint8, shape=(0, 4)"),
        ([[1, 2]], "dtype=list, shape=()"),
    ],
)
def test_other_arrays_are_refused_with_what_was_received(name: str, bad: np.ndarray, received: str) -> None:
    with pytest.raises(InputError) as caught:
        ON_GREY[name](bad)
    assert "uint8 array of shape (H, W)" in str(caught.value)
    assert received in str(caught.value)


def disc(radius: float) -> np.ndarray:
    reach = np.arange(-int(radius), int(radius) + 1)
    return np.add.outer(reach**2, reach**2) <= radius**2


@pytest.mark.parametrize("radius", [0, 1, 1.5, 4, 7.3])
def test_growing_closing_and_opening_equal_scipys_with_a_disc(radius: float) -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(60, 50)), 2) > 0.03

    def grown(part: np.ndarray) -> np.ndarray:
        return ndimage.binary_dilation(part, disc(radius))

    def shrunk(part: np.ndarray) -> np.ndarray:
        return ndimage.binary_erosion(part, disc(radius), border_value=1)

    given = np.where(mask, 1, 0).astype(np.uint8)
    for ours, expected in (
        (dilate_mask(given, radius), grown(mask)),
        (close_mask(given, radius), shrunk(grown(mask))),
        (open_mask(given, radius), grown(shrunk(mask))),
    ):
        np.testing.assert_array_equal(ours, np.where(expected, 255, 0))
