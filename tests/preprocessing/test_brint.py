"""BRINT: the published codes, a slow oracle from the definition, invariances and what it is not invariant to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from mmdc_tf.errors import ConfigurationError, InputError
from mmdc_tf.preprocessing.brint import CODES, ROTATION_MINIMUM, brint_histogram, brint_maps, brint_patterns

PUBLISHED_CODES = (
    *(0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 37, 39, 43, 45, 47, 51, 53, 55, 59, 61, 63),
    *(85, 87, 91, 95, 111, 119, 127, 255),
)


def float_image(side: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(side, side))


def image_with_ties(side: int = 40, seed: int = 0) -> np.ndarray:
    """uint8 of four levels in flat patches: exact ties nearly everywhere."""
    patches = np.random.default_rng(seed).integers(0, 4, (side // 4, side // 4))
    return np.kron(patches, np.ones((4, 4), int)).astype(np.uint8) * 23 + 7


IMAGES = pytest.mark.parametrize("draw", [float_image, image_with_ties], ids=["float", "uint8"])


def chi_square(one: np.ndarray, other: np.ndarray) -> float:
    total = one + other
    return float((((one - other) ** 2)[total > 0] / total[total > 0]).sum())


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
            samples = map_coordinates(image, ring, order=1, mode="nearest").reshape(8, q)
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
@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_maps_equal_the_definition_pixel_by_pixel(kind: str, radius: int, q: int) -> None:
    image = np.random.default_rng(3).integers(0, 256, (12, 12)).astype(np.uint8)
    if kind == "float":
        image = image * 0.01 - np.random.default_rng(4).random((12, 12))
    for ours, expected in zip(brint_maps(image, radius, q), slow_codes(image, radius, q), strict=True):
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, expected)


def test_patterns_by_hand() -> None:
    """Radius 1, one sample an arc: right, up, left and down are pixels; the corners lie between four."""
    image = np.array([[0, 9, 0], [0, 5, 6], [0, 0, 0]])
    patterns = brint_patterns(image, 1, 1)
    # Bits 0 (right: 6) and 2 (up: 9) reach 5; so does bit 1, at (1/√2, 1/√2) between 5, 6, 9 and 0.
    upper_right = 5 * 0.29289**2 + (6 + 9) * 0.29289 * 0.70711
    assert upper_right < 5  # 3.54: it does not
    assert patterns.s.tolist() == [[0b00000101]]
    # |x − 5| = 1, 1.46, 4, and upper left 9·0.207 + 5·0.0858 = 2.29 → 2.71, left 5, lower left 0.43 → 4.57, down 5,
    # lower right 6·0.207 + 0.43 = 1.67 → 3.33; their mean is 3.38.
    assert patterns.m.tolist() == [[0b01110100]]
    assert patterns.c.tolist() == [[1]]


def test_the_codes_are_the_36_published_ones() -> None:
    assert CODES == PUBLISHED_CODES
    assert set(ROTATION_MINIMUM.tolist()) == set(PUBLISHED_CODES)
    assert ROTATION_MINIMUM[[0b10000000, 0b11000001, 0b10100000]].tolist() == [1, 7, 5]


@IMAGES
def test_a_histogram_has_mass_two_a_scale(draw: Callable[..., np.ndarray]) -> None:
    histogram = brint_histogram(draw())
    assert (histogram.shape, histogram.dtype) == ((1296,), np.float64)
    np.testing.assert_allclose(histogram.reshape(18, 72).sum(axis=1), 1)


def test_a_histogram_counts_the_maps() -> None:
    image = float_image()
    s, m, c = brint_maps(image, 3, 3)
    histogram = brint_histogram(image, [3])
    for part, codes in enumerate((s, m)):
        for centre in (0, 1):
            share = [np.mean((codes == code) & (c == centre)) for code in PUBLISHED_CODES]
            start = 72 * part + 36 * centre
            np.testing.assert_allclose(histogram[start : start + 36], share)


def test_scales_follow_one_another_and_radius_one_takes_no_average() -> None:
    image = float_image()
    joined = np.concatenate([brint_histogram(image, [radius]) for radius in range(1, 10)])
    np.testing.assert_array_equal(brint_histogram(image), joined)
    np.testing.assert_array_equal(brint_histogram(image, [1], q=3), brint_histogram(image, [1], q=1))
    assert not np.array_equal(brint_histogram(image, [2], q=3), brint_histogram(image, [2], q=1))


@IMAGES
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_change_nothing(draw: Callable[..., np.ndarray], turns: int, seed: int) -> None:
    image = draw(seed=seed)
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


def test_brightness_and_contrast_of_8_bits_change_nothing() -> None:
    image = image_with_ties()
    brighter = 2 * image + 3
    assert brighter.dtype == np.uint8
    assert brighter.max() == 2 * int(image.max()) + 3
    np.testing.assert_array_equal(brint_histogram(brighter), brint_histogram(image))


@pytest.mark.parametrize(
    "change", [np.negative, np.fliplr, lambda image: (image - image.min()) ** 3], ids=["negation", "mirroring", "gamma"]
)
def test_other_changes_are_seen(change: Callable[[np.ndarray], np.ndarray]) -> None:
    image = float_image()
    assert chi_square(brint_histogram(change(image)), brint_histogram(image)) > 0.1


@pytest.mark.parametrize("value", [0, 0.1, 200])
def test_a_constant_image_puts_all_mass_into_the_last_bins(value: float) -> None:
    for scale in brint_histogram(np.full((24, 30), value)).reshape(9, 144):
        assert np.flatnonzero(scale).tolist() == [71, 143]
        assert scale[[71, 143]].tolist() == [1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_averaged_arcs_bear_more_noise(seed: int) -> None:
    """Noise of σ = 0.5 on a texture of standard deviation 1, at radius 2."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.normal(size=(128, 128)), 1.5)
    texture /= texture.std()
    noisy = texture + rng.normal(scale=0.5, size=texture.shape)
    without, averaged = (
        chi_square(brint_histogram(noisy, [2], q=q), brint_histogram(texture, [2], q=q)) for q in (1, 3)
    )
    assert averaged < without


def test_the_smallest_image_has_one_centre() -> None:
    assert [part.shape for part in brint_maps(float_image(19), 9, 3)] == [(1, 1)] * 3


@pytest.mark.parametrize(
    ("image", "received"),
    [
        (np.zeros((18, 40)), r"shape=\(18, 40\)"),
        (np.zeros((40, 40, 3)), r"shape=\(40, 40, 3\)"),
        (np.zeros((40, 40), bool), "dtype=bool"),
        ([[1, 2], [3, 4]], "dtype=list"),
    ],
)
def test_other_arrays_are_refused(image: np.ndarray, received: str) -> None:
    with pytest.raises(InputError, match=rf"Expected image .*Received: image of .*{received}"):
        brint_histogram(image)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    image = float_image()
    image[3, 4] = value
    with pytest.raises(InputError, match="finite"):
        brint_maps(image, 2, 3)


@pytest.mark.parametrize(("radius", "q", "name"), [(0, 1, "radius"), (1.5, 1, "radius"), (2, 0, "q"), (2, True, "q")])
def test_bad_radii_and_samples_are_named(radius: int, q: int, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Received: {name}="):
        brint_maps(float_image(), radius, q)


def test_the_image_is_not_changed() -> None:
    image = image_with_ties()
    before = image.copy()
    image.setflags(write=False)
    brint_histogram(image)
    np.testing.assert_array_equal(image, before)


def test_brint_needs_no_tensorflow() -> None:
    code = "import mmdc_tf.preprocessing.brint, sys; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
