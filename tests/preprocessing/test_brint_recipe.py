"""The recipes "brint" and "plain": drawn scans with labels and strips, degenerate ones, and two real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import InputError
from mmdc_tf.preprocessing import State, brint_steps, get_recipe
from mmdc_tf.preprocessing.brint import CODES, brint_maps, brint_patterns
from mmdc_tf.preprocessing.brint_operations import blank_border, stack_brint
from mmdc_tf.preprocessing.morphology import close_mask, dilate_mask, open_mask

BRINT = get_recipe("brint")
HEIGHT, WIDTH = 300, 200  # about an eighth of a real scan: the border is 5 pixels, the discs' radii are 1.8 and 9.2
LABEL = (slice(20, 35), slice(150, 180))


def breast_mask(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A half ellipse at the left edge."""
    y, x = np.mgrid[:height, :width]
    return ((y - height / 2) / (0.35 * height)) ** 2 + (x / (0.6 * width)) ** 2 <= 1


@pytest.fixture
def scan() -> np.ndarray:
    """A textured breast at the left, a grey label at the top right, a white strip below, a lighter film."""
    image = np.full((HEIGHT, WIDTH), 5, np.uint8)
    breast = breast_mask()
    image[breast] = np.random.default_rng(0).integers(120, 200, np.count_nonzero(breast), dtype=np.uint8)
    image[LABEL] = 250
    image[280:292, 20:180] = 255
    return image


@pytest.mark.parametrize("size", [32, 64])
def test_the_result_has_three_channels(scan: np.ndarray, size: int) -> None:
    result = BRINT.apply(scan, size)
    assert (result.shape, result.dtype) == ((size, size, 3), np.uint8)
    states = {step.name: state for step, state in BRINT.states(scan, size)}
    enhanced = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(states["flip-left"].image)
    np.testing.assert_array_equal(result[..., 0], cv2.resize(enhanced, (size, size), interpolation=cv2.INTER_AREA))


def test_the_order_and_numbers_are_the_published_ones() -> None:
    config = BRINT.to_config()
    assert json.loads(json.dumps(config)) == config
    names = ["grey", "drop-white", "blank-border", "otsu", "close", "open", "largest-contour", "dilate"]
    names += ["blank-outside", "flip-left", "clahe", "resize", "brint-channels"]
    assert [step["name"] for step in config["steps"]] == names
    numbers = {step["name"]: step["parameters"] for step in config["steps"]}
    assert numbers["blank-border"]["pixels"] == 40
    assert [numbers[name]["diameter"] for name in ("close", "open", "dilate")] == [31, 31, 157]
    assert numbers["clahe"] == {"clip_limit": 2.0, "tiles": 8}
    assert numbers["brint-channels"] == {"radius": 2, "q": 2, "background": 10}


def test_the_breast_comes_to_the_left_from_both_sides(scan: np.ndarray) -> None:
    for given in (scan, scan[:, ::-1]):
        grey = BRINT.apply(given, 64)[..., 0]
        assert grey[:, :20].mean() > 10 * grey[:, -20:].mean()


def test_mirrored_scans_give_the_same_result(scan: np.ndarray) -> None:
    """To the bit: the flip comes before CLAHE, whose tiles are not symmetric."""
    np.testing.assert_array_equal(BRINT.apply(scan[:, ::-1], 64), BRINT.apply(scan, 64))


def test_label_strip_and_film_are_gone_and_the_breast_is_whole(scan: np.ndarray) -> None:
    blanked = dict(BRINT.trace(scan, 64))["blank-outside"]
    assert not blanked[LABEL].any()
    assert not blanked[280:292].any()
    kept = breast_mask()
    kept[:, :5] = False
    np.testing.assert_array_equal(blanked[kept], scan[kept])
    # The film is left in a margin of 9.2 pixels around what the opening kept of the breast.
    far = ndimage.distance_transform_edt(~breast_mask()) > 9.3
    assert not blanked[far].any()
    assert np.count_nonzero(blanked == 5) > 1000


def test_white_labels_do_not_change_the_result(scan: np.ndarray) -> None:
    scan[LABEL] = 255
    without = np.where(scan == 255, 0, scan).astype(np.uint8)
    np.testing.assert_array_equal(BRINT.apply(scan, 64), BRINT.apply(without, 64))


def test_s_and_m_are_those_of_the_grey_channel(scan: np.ndarray) -> None:
    grey, s, m = np.moveaxis(BRINT.apply(scan, 64), -1, 0)
    bright = grey[2:-2, 2:-2] > 10
    assert bright.any() and not bright.all()
    for found, expected in ((s, brint_maps(grey, 2, 2).s), (m, brint_patterns(grey, 2, 2).m)):
        np.testing.assert_array_equal(found[2:-2, 2:-2], np.where(bright, expected, 0))
        edge = found.copy()
        edge[2:-2, 2:-2] = 0
        assert not edge.any()
    assert set(np.unique(s)) <= set(CODES)
    assert not set(np.unique(m)) <= set(CODES)


def test_the_darkest_grey_levels_get_no_codes() -> None:
    grey = np.full((9, 9), 10, np.uint8)
    assert not stack_brint(grey)[..., 1:].any()
    grey[4, 4] = 11
    # A single bright pixel: its ring is darker (S = 0), all arcs are as far from it (M = 255).
    assert stack_brint(grey)[4, 4].tolist() == [11, 0, 255]
    assert stack_brint(grey).sum() == 9 * 9 * 10 + 1 + 255


@pytest.mark.parametrize("side", [1, 4])
def test_images_too_small_for_the_ring_have_no_codes(side: int) -> None:
    grey = np.full((side, 8), 77, np.uint8)
    np.testing.assert_array_equal(stack_brint(grey), np.stack([grey, 0 * grey, 0 * grey], axis=-1))


@pytest.mark.parametrize("value", [0, 9, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (300, 200), (30, 20, 3)])
def test_an_image_of_one_value_is_never_blanked_altogether(value: int, shape: tuple[int, ...]) -> None:
    result = BRINT.apply(np.full(shape, value, np.uint8), 8)
    grey = result[..., 0]
    if value == 0:
        assert not result.any()
    elif shape != (300, 200):  # no border at these heights
        assert (grey == value).all()
    assert grey.any() == (value > 0)


def test_where_only_the_border_is_bright_the_image_is_kept() -> None:
    image = np.zeros((300, 200), np.uint8)
    image[:3] = 200
    np.testing.assert_array_equal(blank_border(image, 5), image)
    np.testing.assert_array_equal(blank_border(image, 150), image)
    assert BRINT.apply(image, 32)[..., 0].any()


def test_where_the_opening_leaves_nothing_the_image_is_kept() -> None:
    image = np.zeros((300, 200), np.uint8)
    image[50:250:40, 40:160:40] = 180  # single pixels, far apart
    trace = dict(BRINT.trace(image, 32))
    assert trace["otsu"].any() and not trace["open"].any()
    np.testing.assert_array_equal(trace["blank-outside"], trace["blank-border"])


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
    assert not dilate_mask(0 * given, radius).any()


@pytest.mark.parametrize("diameter", [31, 157])
def test_opencvs_ellipse_is_the_disc_with_at_most_a_pixel_more(diameter: int) -> None:
    point = np.zeros((diameter + 4, diameter + 4), np.uint8)
    point[diameter // 2 + 2, diameter // 2 + 2] = 255
    ours = dilate_mask(point, diameter // 2)
    ellipse = cv2.dilate(point, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter)))
    assert not (ours & ~ellipse).any()
    assert not (ellipse & ~cv2.dilate(ours, np.ones((3, 3), np.uint8))).any()


@pytest.mark.parametrize(("height", "border", "radius"), [(2546, 40, 78), (1273, 20, 39)])
def test_lengths_follow_the_height(height: int, border: int, radius: int) -> None:
    image, point = np.full((height, 400), 9, np.uint8), np.zeros((height, 400), np.uint8)
    point[height // 2, 200] = 255
    blanked = brint_steps.blank_border(State(image, 8), 40, 2546).image
    assert np.argwhere(blanked).min(axis=0).tolist() == [border, border]
    assert np.argwhere(blanked).max(axis=0).tolist() == [height - border - 1, 400 - border - 1]
    grown = brint_steps.dilate_mask(State(image, 8, point), 157, 2546).mask
    assert np.count_nonzero(grown) == np.count_nonzero(disc(radius))


def test_a_smaller_scan_keeps_its_proportions(scan: np.ndarray) -> None:
    large = cv2.resize(scan, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    kept = dict(BRINT.trace(scan, 32))["dilate"] > 0
    shrunk = dict(BRINT.trace(large, 32))["dilate"][2::4, 2::4] > 0
    assert np.count_nonzero(kept & shrunk) > 0.97 * np.count_nonzero(kept | shrunk)


def test_other_arrays_are_input_errors() -> None:
    for operation in (stack_brint, lambda grey: blank_border(grey, 1), lambda grey: dilate_mask(grey, 1)):
        with pytest.raises(InputError, match="dtype=float32"):
            operation(np.zeros((8, 8), np.float32))


@pytest.mark.parametrize("name", ["Cancer/0001/C_0001_1.RIGHT_MLO.jpg", "Benign/0029/C_0029_1.LEFT_CC.jpg"])
def test_real_scans_lose_their_labels_and_lie_to_the_left(real_data: Path, name: str) -> None:
    image = read_image(real_data / "mini-ddsm" / "MINI-DDSM-Complete-JPEG-8" / name)
    states = {step.name: state for step, state in BRINT.states(image, 224)}
    regions = label(image > threshold_otsu(image), connectivity=2)
    breast = regions == np.bincount(regions[regions > 0]).argmax()
    elsewhere = (regions > 0) & (ndimage.distance_transform_edt(~breast) > 160)
    assert np.count_nonzero(elsewhere) > 2000  # label and strips
    assert not states["blank-outside"].image[elsewhere].any()
    result = states["brint-channels"].image
    assert (result.shape, result.dtype) == ((224, 224, 3), np.uint8)
    assert set(np.unique(result[..., 1])) <= set(CODES)
    light = result[..., 0].sum(axis=0, dtype=float)
    assert (light @ np.arange(224)) / light.sum() < 112 / 1.5
    assert np.count_nonzero(result[..., 0]) > 0.5 * breast.mean() * 224**2


def test_plain_is_grey_and_resized_and_nothing_else() -> None:
    image = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    result = get_recipe("plain").apply(image, 16)
    grey = np.rint(image @ [0.299, 0.587, 0.114])
    expected = grey.reshape(16, 3, 16, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(result[..., 0], expected, atol=1)
    assert np.ptp(result, axis=-1).max() == 0
    assert [step.name for step in get_recipe("plain").steps] == ["grey", "resize", "rgb"]
