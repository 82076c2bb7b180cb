"""The breast on film: drawn scans whose truth is known, degenerate images, mirror images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmdc_tf.datasets import phantom_images
from mmdc_tf.datasets.phantom import mammogram_patients
from mmdc_tf.datasets.phantom_images import Mammogram, draw_mammogram
from mmdc_tf.errors import ConfigurationError, InputError
from mmdc_tf.preprocessing.breast import MARGIN, block_means, box_between_pixels, breast_mask, find_breast
from mmdc_tf.preprocessing.film import FilmLevel, film_level, strip_mask

HEIGHT, WIDTH = 300, 200


def breast(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A half ellipse at the left edge, bool."""
    y, x = np.mgrid[:height, :width]
    return ((y - height / 2) / (0.35 * height)) ** 2 + (x / (0.6 * width)) ** 2 <= 1


def film(level: int = 8) -> np.ndarray:
    """Film of nearly one level with a textured breast on it."""
    rng = np.random.default_rng(0)
    image = rng.integers(level - 1, level + 2, (HEIGHT, WIDTH)).astype(np.uint8)
    image[breast()] = rng.integers(60, 200, np.count_nonzero(breast()))
    return image


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    found, truth = found > 0, truth > 0
    return np.count_nonzero(found & truth) / np.count_nonzero(found | truth)


def phantom_scan(seed: int, patch: pytest.MonkeyPatch) -> tuple[Mammogram, np.ndarray]:
    """A scan of one of the seed's patients, a striped one where there is one, and where its label was burnt in."""
    label = np.zeros(0)
    burn = phantom_images.burn_label

    def burn_and_note(image: np.ndarray, *rest: object) -> None:
        nonlocal label
        before = image.copy()
        burn(image, *rest)
        label = image != before

    patch.setattr(phantom_images, "burn_label", burn_and_note)
    patient = mammogram_patients(3, seed)[seed % 3]
    view, side = sorted(patient.white_strips or {(("CC", "MLO")[seed // 3 % 2], ("LEFT", "RIGHT")[seed // 6 % 2])})[0]
    return draw_mammogram(patient, view, side), label


@pytest.mark.parametrize("seed", range(200))
def test_the_phantoms_breast_is_found_and_label_and_strip_are_not(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, label = phantom_scan(seed, monkeypatch)
    assert label.any()
    tight, kept = find_breast(scan.image), find_breast(scan.image, margin=MARGIN)
    assert tight.found and kept.found
    assert overlap(tight.mask, scan.breast_mask) >= 0.97
    assert not kept.mask[label].any()
    assert not kept.mask[scan.strip_mask > 0].any()
    assert kept.mask[scan.lesion_mask > 0].all()


@pytest.mark.parametrize("level", [1, 8, 40, 70])
def test_the_film_may_have_any_dark_level(level: int) -> None:
    assert overlap(breast_mask(film(level)), breast()) >= 0.97


def test_dim_tissue_near_the_film_stays() -> None:
    """Where Otsu's threshold lies halfway to the tissue, fat at a tenth of the way is lost."""
    image = film()
    image[breast()] = np.where(np.arange(np.count_nonzero(breast())) % 2, 24, 26)
    image[120:180, :60] = 220
    assert overlap(breast_mask(image), breast()) >= 0.97


@pytest.mark.parametrize("edge", [np.s_[:, 150:], np.s_[260:], np.s_[:40]])
def test_a_white_strip_brighter_than_the_breast_is_left_out(edge: tuple[slice, ...]) -> None:
    image = film()
    image[edge] = 250
    result = find_breast(image, margin=MARGIN)
    assert result.found
    assert not result.mask[edge].any()
    truth = breast()
    truth[edge] = False
    assert overlap(breast_mask(image), truth) >= 0.97


def test_a_thin_grey_frame_is_left_out_and_the_breast_is_whole() -> None:
    image = film()
    image[:5] = image[-5:] = image[:, -5:] = 120
    result = breast_mask(image)
    assert overlap(result, breast()) >= 0.97
    assert not result[:5, 50:].any() and not result[-5:, 50:].any() and not result[:, -5:].any()


def test_a_label_within_the_margin_is_kept_out() -> None:
    image = film()
    label = np.s_[140:170, 128:160]  # the breast ends at x = 120
    image[label] = 255
    tight, kept = breast_mask(image), breast_mask(image, margin=0.1)
    assert not kept[label].any()
    assert np.count_nonzero(kept) > 1.2 * np.count_nonzero(tight)


def test_the_largest_region_at_a_side_is_preferred_to_a_larger_one_elsewhere() -> None:
    image = np.full((HEIGHT, WIDTH), 8, np.uint8)
    image[100:160, :50] = 90
    image[190:280, 80:180] = 200
    result = breast_mask(image) > 0
    assert result[100:160, :50].mean() > 0.95
    assert not result[190:280, 80:180].any()


def test_a_margin_grows_by_its_share_of_the_longest_side() -> None:
    row = HEIGHT // 2
    tight, kept = (np.flatnonzero(breast_mask(film(), margin=margin)[row]).max() for margin in (0.0, 0.04))
    assert kept - tight == pytest.approx(12, abs=2)


@pytest.mark.parametrize("value", [0, 1, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (300, 200), (1, 3000)])
def test_an_image_of_one_value_is_kept_whole_and_said_to_be(value: int, shape: tuple[int, int]) -> None:
    result = find_breast(np.full(shape, value, np.uint8))
    assert not result.found
    assert result.mask.shape == shape
    assert (result.mask == 255).all()


def test_a_cut_out_of_tissue_without_film_is_kept_whole() -> None:
    result = find_breast(np.random.default_rng(0).integers(110, 190, (200, 150)).astype(np.uint8))
    assert not result.found and (result.mask == 255).all()


def test_specks_on_film_are_no_breast() -> None:
    image = np.full((HEIGHT, WIDTH), 8, np.uint8)
    image[::40, ::40] = 255
    result = find_breast(image)
    assert not result.found and (result.mask == 255).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(grey=hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_image_has_a_mask_of_its_size_that_keeps_something(grey: np.ndarray) -> None:
    before = grey.copy()
    result = find_breast(grey, margin=0.05)
    assert (result.mask.shape, result.mask.dtype) == (grey.shape, np.uint8)
    assert set(np.unique(result.mask)) <= {0, 255}
    assert result.mask.any()
    assert result.found or (result.mask == 255).all()
    assert np.array_equal(grey, before)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(grey=hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), fill=st.integers(0, 255)))
def test_a_mirrored_image_has_the_mirrored_mask(grey: np.ndarray) -> None:
    given, mirrored = find_breast(grey, 16), find_breast(np.ascontiguousarray(grey[:, ::-1]), 16)
    assert given.found == mirrored.found
    assert np.array_equal(mirrored.mask[:, ::-1], given.mask)


@pytest.mark.parametrize("scale", [1.0, 1.7, 3.0, 4.37])
def test_a_mirrored_scan_has_the_mirrored_mask_at_every_resolution(scale: float) -> None:
    rows, columns = ((np.arange(int(side * scale)) / scale).astype(int) for side in (HEIGHT, WIDTH))
    image = film()[np.ix_(rows, columns)]
    mask = breast_mask(image, margin=MARGIN)
    assert np.array_equal(breast_mask(image[:, ::-1], margin=MARGIN)[:, ::-1], mask)
    assert overlap(breast_mask(image), breast()[np.ix_(rows, columns)]) >= 0.97


def levels(grey: np.ndarray, ignored: np.ndarray | None = None, contrast: float = 0.1) -> FilmLevel | None:
    return film_level(grey.astype(np.float32), np.zeros(grey.shape, bool) if ignored is None else ignored, contrast)


def test_the_films_threshold_lies_just_above_the_film() -> None:
    grey = np.repeat(np.array([[10, 110]]), [700, 300], axis=1)
    # The film is at 10, the median of what Otsu calls bright at 110: a tenth of the way is 20.
    assert levels(grey) == FilmLevel(10, 20)
    assert levels(grey, contrast=0.01) == FilmLevel(10, 16)  # the least rise, 6
    assert levels(grey, grey == 110) is None


def test_what_is_painted_black_is_not_the_film() -> None:
    assert levels(np.repeat(np.array([[0, 12, 112]]), [450, 250, 300], axis=1)) == FilmLevel(12, 22)


def test_the_films_level_is_a_mean_so_that_rounding_hardly_moves_it() -> None:
    grey = np.repeat(np.array([[10, 11, 110]]), [360, 340, 300], axis=1)
    rounded_otherwise = np.repeat(np.array([[10, 11, 110]]), [340, 360, 300], axis=1)  # the commonest level is another
    first, second = levels(grey), levels(rounded_otherwise)
    assert first is not None and second is not None
    assert first.film == pytest.approx(10 + 340 / 700, abs=0.01)
    assert second.film - first.film == pytest.approx(20 / 700, abs=0.01)


@pytest.mark.parametrize("place", [9.6, 10.0, 10.25, 10.49])
def test_the_box_lies_between_pixels(place: float) -> None:
    """A ramp of which the threshold is passed at a known place."""
    rise = np.tile(np.clip(1 + (np.arange(40, dtype=np.float32) + 0.5 - place) / 5, 0, 3), (30, 1))
    breast = np.where(rise > 1, np.uint8(255), np.uint8(0))
    left, top, right, bottom = box_between_pixels(rise, breast, margin=0)
    assert left == pytest.approx(place, abs=1e-4)
    assert (top, right, bottom) == (0, 40, 30)
    assert box_between_pixels(rise, breast, margin=2)[0] == pytest.approx(place - 2, abs=1e-4)


def test_block_means_are_means_and_the_border_is_repeated() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (5, 6), dtype=np.uint8)
    padded = np.pad(grey, ((0, 3), (0, 2)), mode="edge").astype(float)
    np.testing.assert_allclose(block_means(grey, 4), padded.reshape(2, 4, 2, 4).mean(axis=(1, 3)), atol=1e-4)


def test_strips_have_no_texture_and_touch_an_edge() -> None:
    grey = np.full((100, 80), 20, np.uint8)
    grey[:, 70:] = 240
    expected = np.zeros(grey.shape, bool)
    expected[:, 69:] = True  # with the line of blur
    assert np.array_equal(strip_mask(grey), expected)
    grey[:50, 70:] = 200  # two levels, 40 apart: tissue
    assert not strip_mask(grey).any()
    assert not strip_mask(np.full((100, 80), 240, np.uint8)).any()
    inside = np.full((100, 80), 20, np.uint8)
    inside[:, 30:40] = 240
    assert not strip_mask(inside).any()


def test_bad_arguments_say_what_was_expected() -> None:
    with pytest.raises(InputError, match=r"Expected grey .*dtype=float32"):
        find_breast(np.zeros((4, 4), np.float32))
    for wrong in ({"working_side": 0}, {"contrast": 0.0}, {"opening": -1.0}, {"margin": -0.1}):
        with pytest.raises(ConfigurationError, match=f"Expected {next(iter(wrong))}"):
            find_breast(film(), **wrong)
