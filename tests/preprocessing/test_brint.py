"""BRINT: the published codes, a slow oracle, invariances; and the recipe "brint" on drawn and real scans."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from mmdc_tf.errors import ConfigurationError, InputError
from mmdc_tf.preprocessing import State, brint, get_recipe
from mmdc_tf.preprocessing.brint import (
    CODES,
    ROTATION_MINIMUM,
    brint_histogram,
    brint_maps,
    brint_patterns,
    stack_brint,
)

BRINT = get_recipe("brint")
HEIGHT, WIDTH = 300, 200  # about an eighth of a real scan: the border is 5 pixels, the discs' radii are 1.8 and 9.2
LABEL = (slice(20, 35), slice(150, 180))

PUBLISHED_CODES = (
    *(0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 37, 39, 43, 45, 47, 51, 53, 55, 59, 61, 63),
    *(85, 87, 91, 95, 111, 119, 127, 255),
)


def float_image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(40, 40))


def image_with_ties() -> np.ndarray:
    """uint8 of four levels in flat patches: exact ties nearly everywhere."""
    patches = np.random.default_rng(0).integers(0, 4, (10, 10))
    return np.kron(patches, np.ones((4, 4), int)).astype(np.uint8) * 23 + 7


IMAGES = pytest.mark.parametrize("draw", [float_image, image_with_ties], ids=["float", "uint8"])


def slow_codes(image: np.ndarray, radius: int, q: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """S, M and C pixel by pixel from the definition; the minimum over rotations by turning strings of bits."""
    image = image.astype(float)
    inside = range(radius, len(image) - radius)
    angles = 2 * np.pi * np.arange(8 * q) / (8 * q)
    mean = image[radius:-radius, radius:-radius].mean()
    found = np.zeros((3, len(inside), len(inside)), int)
    for row in inside:
        for column in inside:
            ring = [row - radius * np.sin(angles), column + radius * np.cos(angles)]
            samples = ndimage.map_coordinates(image, ring, order=1, mode="nearest").reshape(8, q)
            sizes = np.abs(samples - image[row, column]).mean(axis=1)
            signs = samples.mean(axis=1) >= image[row, column] - 1e-9
            bits = (signs, sizes >= sizes.mean() - 1e-9)
            found[:2, row - radius, column - radius] = [least_rotation(one) for one in bits]
            found[2, row - radius, column - radius] = image[row, column] >= mean
    return tuple(found)


def least_rotation(bits: np.ndarray) -> int:
    text = "".join("1" if bit else "0" for bit in bits[::-1])
    return min(int(text[turn:] + text[:turn], 2) for turn in range(8))


@pytest.mark.parametrize(("radius", "q"), [(1, 1), (2, 1), (2, 2), (2, 3), (4, 3), (5, 3)])
@IMAGES
def test_maps_equal_the_definition_pixel_by_pixel(draw: Callable[..., np.ndarray], radius: int, q: int) -> None:
    image = draw()[:12, :12]
    for ours, expected in zip(brint_maps(image, radius, q), slow_codes(image, radius, q), strict=True):
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, expected)


def test_the_codes_are_the_36_published_ones() -> None:
    assert CODES == PUBLISHED_CODES
    assert set(ROTATION_MINIMUM.tolist()) == set(PUBLISHED_CODES)
    assert ROTATION_MINIMUM[[0b10000000, 0b11000001, 0b10100000]].tolist() == [1, 7, 5]


def test_a_histogram_counts_the_maps() -> None:
    image = float_image()
    s, m, c = brint_maps(image, 3, 3)
    histogram = brint_histogram(image)[2 * 144 : 3 * 144]  # the third of nine scales
    for part, codes in enumerate((s, m)):
        for centre in (0, 1):
            share = [np.mean((codes == code) & (c == centre)) for code in PUBLISHED_CODES]
            start = 72 * part + 36 * centre
            np.testing.assert_allclose(histogram[start : start + 36], share)


@IMAGES
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_change_nothing(draw: Callable[..., np.ndarray], turns: int) -> None:
    image = draw()
    turned = np.rot90(image, turns)
    np.testing.assert_array_equal(brint_histogram(turned), brint_histogram(image))
    for radius, q in ((1, 1), (2, 2), (7, 3)):
        for ours, original in zip(brint_maps(turned, radius, q), brint_maps(image, radius, q), strict=True):
            np.testing.assert_array_equal(ours, np.rot90(original, turns))


@pytest.mark.parametrize(("gain", "offset"), [(2, 5), (0.1, 0), (1 / 3, -1000), (1e-6, 0), (1e6, 1e6)])
@IMAGES
def test_brightness_and_contrast_change_nothing(draw: Callable[..., np.ndarray], gain: float, offset: float) -> None:
    image = draw()
    np.testing.assert_array_equal(brint_histogram(gain * image + offset), brint_histogram(image))


@pytest.mark.parametrize("value", [0, 0.1, 200])
def test_a_constant_image_puts_all_mass_into_the_last_bins(value: float) -> None:
    for scale in brint_histogram(np.full((24, 30), value)).reshape(9, 144):
        assert np.flatnonzero(scale).tolist() == [71, 143]
        assert scale[[71, 143]].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("image", "received"),
    [
        (np.zeros((18, 40)), r"shape=\(18, 40\)"),
        (np.zeros((40, 40, 3)), r"shape=\(40, 40, 3\)"),
        (np.zeros((40, 40), bool), "dtype=bool"),
        ([[1, 2], [3, 4]], "dtype=list"),
        (np.diag([np.inf, *np.ones(39)]), "greatest=inf"),
    ],
)
def test_other_arrays_and_rings_are_refused(image: np.ndarray, received: str) -> None:
    with pytest.raises(InputError, match=rf"Expected .*image .*Received: image .*{received}"):
        brint_histogram(image)
    for radius, q, name in ((0, 1, "radius"), (1.5, 1, "radius"), (2, True, "q")):
        with pytest.raises(ConfigurationError, match=f"Received: {name}="):
            brint_maps(float_image(), radius, q)


def breast_mask() -> np.ndarray:
    """A half ellipse at the left edge."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return ((y - HEIGHT / 2) / (0.35 * HEIGHT)) ** 2 + (x / (0.6 * WIDTH)) ** 2 <= 1


@pytest.fixture
def scan() -> np.ndarray:
    """A textured breast at the left, a grey label at the top right, a white strip below, a lighter film."""
    image = np.full((HEIGHT, WIDTH), 5, np.uint8)
    breast = breast_mask()
    image[breast] = np.random.default_rng(0).integers(120, 200, np.count_nonzero(breast), dtype=np.uint8)
    image[LABEL] = 250
    image[280:292, 20:180] = 255
    return image


def test_mirrored_scans_give_the_same_result_with_the_breast_at_the_left(scan: np.ndarray) -> None:
    """To the bit: the flip comes before CLAHE, whose tiles are not symmetric."""
    result = BRINT.apply(scan, 64)
    np.testing.assert_array_equal(BRINT.apply(scan[:, ::-1], 64), result)
    assert result[:, :20, 0].mean() > 10 * result[:, -20:, 0].mean()


def test_label_strip_and_film_are_gone_and_the_breast_is_whole(scan: np.ndarray) -> None:
    blanked = next(state.image for step, state in BRINT.states(scan, 64) if step.name == "blank-outside")
    assert not blanked[LABEL].any()
    assert not blanked[280:292].any()
    whole = breast_mask()
    whole[:, :5] = False
    np.testing.assert_array_equal(blanked[whole], scan[whole])
    # The film is left in a margin of 9.2 pixels around what the opening kept of the breast.
    far = ndimage.distance_transform_edt(~breast_mask()) > 9.3
    assert not blanked[far].any()
    assert np.count_nonzero(blanked == 5) > 1000


def test_s_and_m_are_those_of_the_grey_channel(scan: np.ndarray) -> None:
    grey, s, m = np.moveaxis(BRINT.apply(scan, 64), -1, 0)
    bright = grey[2:-2, 2:-2] > 10
    assert bright.any() and not bright.all()
    for found, expected in ((s, brint_maps(grey, 2, 2).s), (m, brint_patterns(grey, 2, 2).m)):
        np.testing.assert_array_equal(found[2:-2, 2:-2], np.where(bright, expected, 0))
        edge = found.copy()
        edge[2:-2, 2:-2] = 0
        assert not edge.any()
    assert not set(np.unique(m)) <= set(CODES)


def test_the_darkest_grey_levels_and_images_too_small_for_the_ring_get_no_codes() -> None:
    grey = np.full((9, 9), 10, np.uint8)
    grey[4, 4] = 11
    # A single bright pixel: its ring is darker (S = 0), all arcs are as far from it (M = 255).
    assert stack_brint(grey)[4, 4].tolist() == [11, 0, 255]
    assert stack_brint(grey).sum() == 9 * 9 * 10 + 1 + 255
    small = np.full((4, 8), 77, np.uint8)
    np.testing.assert_array_equal(stack_brint(small), np.stack([small, 0 * small, 0 * small], axis=-1))


@pytest.mark.parametrize("value", [0, 9, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (300, 200), (30, 20, 3)])
def test_an_image_of_one_value_is_never_blanked_altogether(value: int, shape: tuple[int, ...]) -> None:
    grey = BRINT.apply(np.full(shape, value, np.uint8), 8)[..., 0]
    if shape != (300, 200):  # no border at the other heights
        assert (grey == value).all()
    assert grey.any() == (value > 0)


@pytest.mark.parametrize(("height", "border", "radius"), [(2546, 40, 78), (1273, 20, 39)])
def test_lengths_follow_the_height(height: int, border: int, radius: int) -> None:
    image, point = np.full((height, 400), 9, np.uint8), np.zeros((height, 400), np.uint8)
    point[height // 2, 200] = 255
    blanked = brint.blank_border(State(image, 8), 40, 2546).image
    assert np.argwhere(blanked).min(axis=0).tolist() == [border, border]
    assert np.argwhere(blanked).max(axis=0).tolist() == [height - border - 1, 400 - border - 1]
    rows = np.flatnonzero(brint.dilate_mask(State(image, 8, point), 157, 2546).mask.any(axis=1))
    assert (rows.min(), rows.max()) == (height // 2 - radius, height // 2 + radius)
