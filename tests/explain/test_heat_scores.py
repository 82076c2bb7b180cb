"""Heatmaps against lesions: scores by hand, masks brought through crop and resize, a trained model, and figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.stats import binomtest

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.errors import InputError, UnreadableImageError
from mmdc_tf.explain.drawing import heat_rows, is_uniform, pixels
from mmdc_tf.explain.gradcam import grad_cam
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


OUTLINE = mask_of(slice(4, 12), slice(4, 12)) - mask_of(slice(5, 11), slice(5, 11))


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ([mask_of(slice(0, 8), slice(4, 8))], [(0, 0), (0, 1), (1, 0), (1, 1)]),
        ([mask_of(slice(4, 6), slice(4, 6)), mask_of(slice(10, 12), slice(10, 12))], [(0, 0), (3, 3)]),
        ([mask_of(slice(7, 8), slice(5, 6))], [(1, 0)]),  # of one pixel
        ([OUTLINE], list(np.ndindex(4, 4))),  # stands for what it encloses
    ],
)
def test_masks_are_put_together_filled_and_cut_and_resized_as_the_scan(tmp_path, masks, expected):
    """The box is rows and columns 4 to 11, a pixel of the model's image is 2 × 2 of them."""
    paths = [tmp_path / f"{number}.png" for number in range(len(masks))]
    for path, mask in zip(paths, masks, strict=True):
        write(path, mask)
    assert list(map(tuple, np.argwhere(read_lesion(paths, SCAN, PLAIN)))) == expected


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


@pytest.mark.parametrize("recipe", ["paper", "lesion-safe", "ultrasound", "lesion-safe-pad"])
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


def small_network() -> keras.Model:
    """Three convolutions; a position of its last map, 16 × 16, sees 18 pixels of 64: about a lesion."""
    x = image = keras.Input((64, 64, 3), name="image")
    x = keras.layers.Rescaling(1 / 128, offset=-0.5)(x)
    for number, filters in enumerate((16, 32, 32), start=1):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x) if number < 3 else x
    return keras.Model({"image": image}, keras.layers.Dense(3, "softmax")(keras.layers.GlobalAveragePooling2D()(x)))


def test_the_pointing_game_of_a_trained_model_is_above_chance(tmp_path):
    """Chance is what the same maps hit of other images' lesions: most phantoms have them in about the same place."""
    table = phantom_mammograms(tmp_path / "data", patients=48, height=96, seed=3).table
    recipe = get_recipe("lesion-safe")
    scans = [preprocess_scan(path, recipe, 64) for path in table["image_path"]]
    images = np.stack([scan.image for scan in scans]).astype("float32")
    classes = table["label"].map(["benign", "cancer", "normal"].index).to_numpy()
    keras.utils.set_random_seed(0)
    model, test = small_network(), table["patient_id"].rank(method="dense").to_numpy() % 3 == 0
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit({"image": images[~test]}, classes[~test], batch_size=8, epochs=12, verbose=0)
    chosen = np.flatnonzero(test & (table["label"] != "normal").to_numpy())
    heats = grad_cam(model, {"image": images[chosen]}, classes[chosen])
    lesions = [read_lesion(map(Path, table["lesion_masks"].iloc[place]), scans[place], recipe) for place in chosen]
    scores = [[heat_score(heat, lesion) for lesion in lesions] for heat in heats]
    hits = np.array([[score.hit for score in line] for line in scores])
    inside = np.array([[score.heat_inside for score in line] for line in scores])
    own = np.eye(len(heats), dtype=bool)
    assert len(heats) >= 30
    area, chance = np.mean([lesion.mean() for lesion in lesions]), hits[~own].mean()
    assert area < chance < 0.6, "lesions of a ninth of the image, mostly in one place"
    assert binomtest(int(hits[own].sum()), len(heats), chance, alternative="greater").pvalue < 1e-6
    assert inside[own].mean() > 1.5 * inside[~own].mean()


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    images, heats = rng.integers(0, 256, (3, 20, 20)).astype("float32"), rng.uniform(0, 1, (3, 20, 20))
    above, below = ["truth: a", "truth: b", "truth: $c_1"], ["p = 0.10", "p = 0.20", "p = 0.30"]
    return images, heats, heat_rows("After epoch 4", images, above, heats, below, "caption " * 40)


def test_each_panel_shows_its_own_image_heat_and_words(drawn):
    images, heats, figure = drawn
    panels = figure.axes[:6]
    titles = ["truth: a", "truth: b", "truth: $c_1", "p = 0.10", "p = 0.20", "p = 0.30"]
    assert [axes.get_title() for axes in panels] == titles
    for column in range(3):
        upper, lower = panels[column].get_images(), panels[3 + column].get_images()
        np.testing.assert_array_equal(upper[0].get_array(), images[column])
        np.testing.assert_array_equal(lower[0].get_array(), images[column])
        np.testing.assert_array_equal(lower[1].get_array(), heats[column])
        assert len(upper) == 1


def test_nothing_overlaps_and_nothing_is_cut(drawn):
    *_, figure = drawn
    picture = pixels(figure, dpi=80)
    width, height = figure.get_size_inches()
    assert picture.shape == (round(height * 80), round(width * 80), 3)
    renderer = figure.canvas.get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in figure.axes]
    words = [text.get_window_extent(renderer) for part in figure.subfigs for text in part.texts]
    for place, box in enumerate([*boxes, *words]):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width * 80 and box.y1 <= height * 80
        assert not any(box.overlaps(other) for other in [*boxes, *words][:place])
