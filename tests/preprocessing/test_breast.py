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
from mmdc_tf.preprocessing.breast import MARGIN, find_breast

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


def breast_mask(image: np.ndarray, margin: float = 0.0) -> np.ndarray:
    return find_breast(image, margin=margin).mask


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


@pytest.mark.parametrize("seed", range(0, 200, 5))
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


SPECKS = np.full((HEIGHT, WIDTH), 8, np.uint8)
SPECKS[::40, ::40] = 255
NO_BREAST = [np.full(shape, 128, np.uint8) for shape in ((1, 1), (1, 50), (300, 200), (1, 3000))]
NO_BREAST += [np.zeros((50, 1), np.uint8), np.random.default_rng(0).integers(110, 190, (200, 150)).astype(np.uint8)]


@pytest.mark.parametrize("image", [*NO_BREAST, SPECKS])
def test_one_value_a_cut_out_without_film_and_specks_are_kept_whole(image: np.ndarray) -> None:
    result = find_breast(image)
    assert not result.found
    assert result.mask.shape == image.shape and (result.mask == 255).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(grey=hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), fill=st.integers(0, 255)))
def test_a_mirrored_image_has_the_mirrored_mask(grey: np.ndarray) -> None:
    given, mirrored = find_breast(grey, 16), find_breast(np.ascontiguousarray(grey[:, ::-1]), 16)
    assert given.found == mirrored.found
    assert given.mask.any() and set(np.unique(given.mask)) <= {0, 255}
    assert np.array_equal(mirrored.mask[:, ::-1], given.mask)


def test_bad_arguments_say_what_was_expected() -> None:
    with pytest.raises(InputError, match=r"Expected grey .*dtype=float32"):
        find_breast(np.zeros((4, 4), np.float32))
    with pytest.raises(ConfigurationError, match="Expected working_side"):
        find_breast(film(), working_side=0)
