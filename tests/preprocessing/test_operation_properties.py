"""What holds for every operation: purity, determinism, mirroring, degenerate and bad input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mmdc_tf.errors import InputError
from mmdc_tf.preprocessing.operations import (
    apply_mask,
    crop_to_mask,
    enhance_contrast,
    grey_to_rgb,
    largest_region_mask,
    otsu_mask,
    resize,
    to_grey,
)

GREYS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)))
MASKS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 16), st.integers(1, 16)), elements=st.sampled_from([0, 255]))
quick = settings(max_examples=60, deadline=None, derandomize=True)

ON_GREY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "to_grey": to_grey,
    "otsu_mask": otsu_mask,
    "largest_region_mask": largest_region_mask,
    "apply_mask": lambda grey: apply_mask(grey, otsu_mask(grey)),
    "crop_to_mask": lambda grey: crop_to_mask(grey, otsu_mask(grey)),
    "enhance_contrast": enhance_contrast,
    "resize": lambda grey: resize(grey, 7),
    "grey_to_rgb": grey_to_rgb,
}


@pytest.mark.parametrize("name", ON_GREY)
@quick
@given(image=GREYS)
def test_every_operation_is_pure_deterministic_and_gives_uint8(name: str, image: np.ndarray) -> None:
    before = image.copy()
    image.setflags(write=False)
    result = ON_GREY[name](image)
    assert result.dtype == np.uint8
    assert result.size
    assert np.array_equal(image, before)
    assert np.array_equal(ON_GREY[name](before), result)


@pytest.mark.parametrize("name", ["to_grey", "otsu_mask", "apply_mask", "crop_to_mask", "grey_to_rgb"])
@quick
@given(image=GREYS)
def test_pointwise_operations_of_a_mirrored_image_give_the_mirrored_result(name: str, image: np.ndarray) -> None:
    assert np.array_equal(ON_GREY[name](image[:, ::-1]), ON_GREY[name](image)[:, ::-1])


@quick
@given(image=hnp.arrays(np.uint8, (6, 10)))
def test_one_histogram_does_not_see_mirroring(image: np.ndarray) -> None:
    mirrored = enhance_contrast(image[:, ::-1], tiles=1)
    assert np.array_equal(mirrored[:, ::-1], enhance_contrast(image, tiles=1))


@quick
@given(MASKS)
def test_keeping_the_largest_region_twice_is_keeping_it_once(mask: np.ndarray) -> None:
    once = largest_region_mask(mask)
    assert np.array_equal(largest_region_mask(once), once)


@pytest.mark.parametrize("name", ON_GREY)
@pytest.mark.parametrize("value", [0, 90, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 6)])
def test_nothing_to_find_leaves_the_values_as_they_are(name: str, value: int, shape: tuple[int, int]) -> None:
    result = ON_GREY[name](np.full(shape, value, np.uint8))
    masks = {"otsu_mask": 255, "largest_region_mask": 255 if value else 0}
    assert (result == masks.get(name, value)).all()


@pytest.mark.parametrize("name", ON_GREY)
@pytest.mark.parametrize(
    ("bad", "received"),
    [
        (np.zeros((4, 4), np.float32), "dtype=float32, shape=(4, 4)"),
        (np.zeros((4, 4), np.uint16), "dtype=uint16, shape=(4, 4)"),
        (np.zeros((4, 4), bool), "dtype=bool, shape=(4, 4)"),
        (np.zeros((4, 4, 4), np.uint8), "dtype=uint8, shape=(4, 4, 4)"),
        (np.zeros(4, np.uint8), "dtype=uint8, shape=(4,)"),
        (np.zeros((0, 4), np.uint8), "dtype=uint8, shape=(0, 4)"),
        ([[1, 2]], "dtype=list, shape=()"),
    ],
)
def test_other_arrays_are_refused_with_what_was_received(name: str, bad: np.ndarray, received: str) -> None:
    with pytest.raises(InputError) as caught:
        ON_GREY[name](bad)
    assert "uint8 array of shape (H, W)" in str(caught.value)
    assert received in str(caught.value)


@pytest.mark.parametrize("operation", [otsu_mask, largest_region_mask, enhance_contrast, grey_to_rgb])
def test_operations_on_grey_refuse_colour(operation: Callable[[np.ndarray], np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"shape=\(4, 4, 3\)"):
        operation(np.zeros((4, 4, 3), np.uint8))
