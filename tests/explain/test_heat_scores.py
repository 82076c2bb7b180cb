"""Heatmaps against lesions: scores by hand, and masks brought through crop and resize."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import InputError, UnreadableImageError
from mmdc_tf.explain.drawing import is_uniform
from mmdc_tf.explain.heat_scores import HeatScore, heat_score, read_lesion
from mmdc_tf.preprocessing import PreprocessedScan, get_recipe, preprocess_scan

PLAIN = get_recipe("plain")
SCAN = PreprocessedScan(np.zeros((4, 4, 3), np.uint8), 16, 16, (4, 4, 8, 8), "", ())


def lesion(*pixels: tuple[int, int]) -> np.ndarray:
    marked = np.zeros((2, 4), bool)
    for pixel in pixels:
        marked[pixel] = True
    return marked


HEAT = np.array([[0.0, 0.25, 0.5, 1.0], [0.0, 0.0, 0.25, 0.0]])  # 2 in all


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        (lesion((0, 3)), HeatScore(True, 0.5, 1 / 8)),
        (lesion((0, 2), (1, 2)), HeatScore(False, 0.375, 2 / 8)),
        (lesion((1, 0)), HeatScore(False, 0.0, 1 / 8)),
        (np.ones((2, 4), bool), HeatScore(True, 1.0, 1.0)),
    ],
)
def test_scores_by_hand(marked, expected):
    assert heat_score(HEAT, marked) == expected


def test_a_uniform_map_has_no_score_and_an_empty_one_hits_nothing():
    marked = lesion((0, 0), (0, 1))
    for share, expected in ((0.0, True), (0.049, True), (0.051, False)):  # the stated limit is 5 % of the maximum
        heat = np.full((2, 4), 0.3)
        heat[1] -= share * 0.3
        assert is_uniform(heat) is expected
        assert (heat_score(heat, marked) is None) is expected
    assert heat_score(np.zeros((2, 4)), marked) == HeatScore(False, 0.0, 0.25)


@pytest.mark.parametrize("marked", [np.zeros((2, 4), bool), np.ones((4, 2), bool)])
def test_no_lesion_and_another_shape_are_refused(marked):
    with pytest.raises(InputError, match=r"heatmap's shape \(2, 4\)"):
        heat_score(HEAT, marked)


def write(path, mask) -> None:
    assert cv2.imwrite(str(path), mask)


def mask_of(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((16, 16), np.uint8)
    mask[rows, columns] = 255
    return mask


def test_masks_are_cut_and_resized_as_the_scan(tmp_path):
    # The box is rows and columns 4 to 11, a pixel of the model's image is 2 × 2 of them.
    write(tmp_path / "a.png", mask_of(slice(0, 8), slice(4, 8)))
    write(tmp_path / "b.png", mask_of(slice(10, 12), slice(10, 12)))
    expected = np.zeros((4, 4), bool)
    expected[:2, :2] = True
    np.testing.assert_array_equal(read_lesion([tmp_path / "a.png"], SCAN, PLAIN), expected)
    expected[3, 3] = True
    np.testing.assert_array_equal(read_lesion([tmp_path / "a.png", tmp_path / "b.png"], SCAN, PLAIN), expected)


def test_an_outline_stands_for_what_it_encloses(tmp_path):
    outline = mask_of(slice(4, 12), slice(4, 12))
    outline[5:11, 5:11] = 0
    write(tmp_path / "outline.png", outline)
    assert read_lesion([tmp_path / "outline.png"], SCAN, PLAIN).all()


def test_a_lesion_of_one_pixel_is_kept(tmp_path):
    write(tmp_path / "dot.png", mask_of(slice(7, 8), slice(5, 6)))
    expected = np.zeros((4, 4), bool)
    expected[1, 0] = True
    np.testing.assert_array_equal(read_lesion([tmp_path / "dot.png"], SCAN, PLAIN), expected)


def test_an_empty_mask_is_no_lesion(tmp_path):
    write(tmp_path / "empty.png", mask_of(slice(0, 0), slice(0, 0)))
    assert read_lesion([tmp_path / "empty.png"], SCAN, PLAIN) is None


def test_what_cannot_be_placed_is_refused(tmp_path):
    write(tmp_path / "outside.png", mask_of(slice(0, 3), slice(0, 3)))
    with pytest.raises(InputError, match="none of it after the crop"):
        read_lesion([tmp_path / "outside.png"], SCAN, PLAIN)
    with pytest.raises(InputError, match=r"of shape=\(16, 16\)"):
        read_lesion([tmp_path / "outside.png"], replace(SCAN, width=17), PLAIN)
    with pytest.raises(InputError, match="recipe='brint'"):
        read_lesion([tmp_path / "outside.png"], SCAN, get_recipe("brint"))
    with pytest.raises(UnreadableImageError, match=r"nowhere\.png"):
        read_lesion([tmp_path / "nowhere.png"], SCAN, PLAIN)


@pytest.mark.parametrize("recipe", ["paper", "lesion-safe", "ultrasound"])
def test_a_bright_lesion_lies_under_its_mask_after_the_recipe(tmp_path, recipe):
    scan = np.zeros((300, 260), np.uint8)
    cv2.ellipse(scan, (0, 150), (170, 130), 0, -90, 90, 90, -1)
    mask = np.zeros_like(scan)
    cv2.circle(mask, (70, 180), 25, 255, -1)
    scan[mask > 0] = 250
    write(tmp_path / "scan.png", scan)
    write(tmp_path / "scan_Mask.png", mask)
    made = preprocess_scan(tmp_path / "scan.png", get_recipe(recipe), 64)
    marked = read_lesion([tmp_path / "scan_Mask.png"], made, get_recipe(recipe))
    bright = made.image[..., 0] > 200
    assert (bright & marked).sum() / (bright | marked).sum() > 0.85
