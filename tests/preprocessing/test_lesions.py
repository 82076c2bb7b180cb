"""Lesion survival and what a recipe keeps: by hand on drawn scans (test_lesion_survey.py has the real ones)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmdc_tf.errors import InputError
from mmdc_tf.preprocessing import Recipe, State, Step, get_recipe, steps
from mmdc_tf.preprocessing.kept import up_to_crop
from mmdc_tf.preprocessing.lesions import crop_share, kept_region, lesion_survival

PAPER = get_recipe("paper")


@pytest.fixture
def scan() -> np.ndarray:
    """(100, 80): a breast of (60, 40) at the left; Otsu keeps exactly that."""
    image = np.full((100, 80), 5, np.uint8)
    image[20:80, :40] = 150
    return image


def lesion(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((100, 80), np.uint8)
    mask[rows, columns] = 255
    return mask


@pytest.mark.parametrize(
    ("rows", "columns", "share"),
    [
        (slice(30, 40), slice(10, 20), 1.0),
        (slice(30, 40), slice(30, 50), 0.5),
        (slice(10, 50), slice(0, 10), 0.75),
        (slice(0, 10), slice(60, 70), 0.0),
    ],
)
def test_survival_is_the_share_inside_the_kept_region(
    scan: np.ndarray, rows: slice, columns: slice, share: float
) -> None:
    assert lesion_survival(PAPER, scan, lesion(rows, columns)) == share


def test_the_kept_region_and_the_crop_are_those_of_the_recipe(scan: np.ndarray) -> None:
    assert np.array_equal(kept_region(PAPER, scan), np.where(scan > 100, 255, 0))
    assert crop_share(PAPER, scan) == 60 * 40 / (100 * 80)


def test_a_recipe_that_only_cuts_keeps_the_box(scan: np.ndarray) -> None:
    scan[40:50, 40:50] = 150  # a bump: the box is 50 wide
    cut = Recipe("cut", "", "", (Step("otsu", steps.otsu), Step("crop", steps.crop)))
    assert lesion_survival(cut, scan, lesion(slice(20, 40), slice(40, 60))) == 0.5
    assert lesion_survival(PAPER, scan, lesion(slice(20, 40), slice(40, 60))) == 0.0
    assert crop_share(cut, scan) == 60 * 50 / (100 * 80)


@pytest.mark.parametrize("name", ["plain", "ultrasound"])
def test_recipes_that_neither_blank_nor_cut_keep_everything(name: str, scan: np.ndarray) -> None:
    assert lesion_survival(get_recipe(name), scan, lesion(slice(0, 10), slice(60, 70))) == 1.0
    assert crop_share(get_recipe(name), scan) == 1.0


def test_a_recipe_that_blanks_and_does_not_cut_has_the_whole_scan(scan: np.ndarray) -> None:
    brint = get_recipe("brint")
    assert crop_share(brint, scan) == 1.0
    assert 0 < np.count_nonzero(kept_region(brint, scan)) < scan.size


def test_one_value_is_kept_whole() -> None:
    image = np.full((100, 80), 9, np.uint8)
    for name in ("paper", "lesion-safe"):
        assert (kept_region(get_recipe(name), image) == 255).all()
        assert crop_share(get_recipe(name), image) == 1.0


def test_the_dirt_of_a_jpeg_is_no_lesion_and_colour_is_accepted(scan: np.ndarray) -> None:
    mask = lesion(slice(30, 40), slice(10, 20))
    mask[0, 60:] = 12
    colour = np.stack([scan] * 3, axis=-1)
    assert lesion_survival(PAPER, colour, np.stack([mask] * 3, axis=-1)) == 1.0


def test_empty_and_other_masks_are_refused(scan: np.ndarray) -> None:
    with pytest.raises(InputError, match="Expected a lesion mask with a pixel above 127"):
        lesion_survival(PAPER, scan, np.zeros_like(scan))
    with pytest.raises(InputError, match=r"Expected a mask of the image's size .*shape=\(10, 10\)"):
        lesion_survival(PAPER, scan, np.full((10, 10), 255, np.uint8))
    with pytest.raises(InputError, match="Expected lesion to be a uint8 array"):
        lesion_survival(PAPER, scan, np.zeros((100, 80), bool))


def test_a_recipe_that_resizes_before_it_blanks_is_refused(scan: np.ndarray) -> None:
    order = (Step("resize", steps.resize), Step("otsu", steps.otsu), Step("blank-outside", steps.blank_outside))
    with pytest.raises(InputError, match="coordinates of the scan"):
        lesion_survival(Recipe("late", "", "", order), scan, lesion(slice(30, 40), slice(10, 20)))


def test_the_crop_leaves_the_rest_of_the_steps_to_the_caller(scan: np.ndarray) -> None:
    states = PAPER.states(scan, 16)
    kept = up_to_crop(states, scan)
    assert [step.name for step, _ in states] == ["clahe", "resize", "rgb"]
    assert (kept.box, kept.found, kept.image.shape) == ((0, 20, 40, 60), True, (60, 40))


def test_without_a_region_all_is_kept(scan: np.ndarray) -> None:
    def nothing(state: State) -> State:
        return replace(state, mask=np.zeros(state.image.shape[:2], np.uint8))

    order = (Step("nothing", nothing), Step("blank-outside", steps.blank_outside), Step("crop", steps.crop))
    kept = up_to_crop(Recipe("none", "", "", order).states(scan, 16), scan)
    assert (kept.box, kept.found, kept.share) == ((0, 0, 80, 100), False, 1.0)
    assert (kept.region == 255).all()
