"""From a file to the pixels of a model: reduced decoding, what is said of the scan, and one result on every way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from mmdc_tf.datasets.images import read_image, read_scan
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import UnreadableImageError
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.preprocessing import get_recipe, preprocess_file, preprocess_scan, scan_file, stored_recipe
from mmdc_tf.preprocessing.batch import preprocess_folder

LESION_SAFE, PAPER = get_recipe("lesion-safe"), get_recipe("paper")
HEIGHT, WIDTH = 2000, 1200


def drawn_scan(breast_width: int = 760, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Film with a breast whose skin fades at the left edge, and a label."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    inside = np.clip(1 - ((y - 0.45 * height) / (0.35 * height)) ** 2 - (x / breast_width) ** 2, 0, 1)
    noise = np.random.default_rng(0).normal(size=(height // 8, width // 8)).astype(np.float32)
    texture = cv2.resize(ndimage.gaussian_filter(noise, 2), (width, height)) * 400
    image = np.clip(8 + 130 * np.sqrt(inside) + texture * np.minimum(inside, 0.5), 0, 255).astype(np.uint8)
    image[60:150, width - 200 : width - 60] = 255
    return image


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scans") / "scan.jpg"
    assert cv2.imwrite(str(path), drawn_scan())
    return path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The reductions at which files were decoded."""
    factors: list[int] = []

    def noting(path: str | Path, reduction: int = 1) -> tuple[np.ndarray, tuple[str, ...]]:
        factors.append(reduction)
        return read_scan(path, reduction)

    monkeypatch.setattr(scan_file, "read_scan", noting)
    return factors


def test_lesion_safe_decodes_no_more_than_it_needs(jpeg: Path, decoded: list[int]) -> None:
    fast = preprocess_file(jpeg, LESION_SAFE, 144)
    # An eighth of the scan is narrower than 1.5 · 0.75 · 144; the breast's 760 pixels leave 0.75 · 144 at a quarter.
    assert decoded == [4]
    whole = LESION_SAFE.apply(read_image(jpeg), 144)
    assert structural_similarity(fast[..., 0], whole[..., 0], data_range=255) >= 0.98


def test_a_small_breast_is_decoded_again_at_a_finer_scale(tmp_path: Path, decoded: list[int]) -> None:
    path = tmp_path / "small.jpg"
    cv2.imwrite(str(path), drawn_scan(breast_width=320))
    preprocess_file(path, LESION_SAFE, 128)  # 0.75 · 128 = 96 pixels are 768 at an eighth, 384 at a quarter
    assert decoded == [8, 4, 2]
    decoded.clear()
    preprocess_file(path, LESION_SAFE, 1024)
    assert decoded == [1]


def test_the_paper_recipe_and_other_files_are_decoded_whole(jpeg: Path, tmp_path: Path, decoded: list[int]) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), drawn_scan())
    preprocess_file(jpeg, PAPER, 64)
    preprocess_file(tmp_path / "a.png", LESION_SAFE, 64)
    assert decoded == [1, 1]


def test_size_and_box_are_those_of_the_whole_scan(jpeg: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), read_image(jpeg))
    fast, whole = preprocess_scan(jpeg, LESION_SAFE, 128), preprocess_scan(tmp_path / "a.png", LESION_SAFE, 128)
    assert (fast.width, fast.height) == (whole.width, whole.height) == (WIDTH, HEIGHT)
    np.testing.assert_allclose(fast.box, whole.box, atol=16)  # two pixels of the copy that is searched
    left, top, width, height = fast.box
    assert left == 0 and 700 <= width <= 860 and 0.6 * HEIGHT <= height <= 0.8 * HEIGHT
    assert top >= 0 and top + height <= HEIGHT
    assert (fast.side, fast.flags) == ("L", ())
    odd = tmp_path / "odd.jpg"
    cv2.imwrite(str(odd), np.ascontiguousarray(drawn_scan(height=2001, width=1203)[:, ::-1]))
    scan = preprocess_scan(odd, LESION_SAFE, 64)
    assert (scan.width, scan.height, scan.side) == (1203, 2001, "R")
    assert scan.box[0] + scan.box[2] == 1203  # the breast reaches the right edge


def test_training_folders_and_prediction_get_the_same_pixels(jpeg: Path, tmp_path: Path) -> None:
    """To the bit, for a scan that is decoded at a reduced size."""
    size = 96
    table = pd.DataFrame({"image_path": [str(jpeg)], "label": ["benign"]})
    settings = InputSettings("lesion-safe", size, 1, ("benign", "cancer"), ("image",))
    trained = next(iter(evaluation_dataset(table, settings).as_numpy_iterator()))[0]["image"][0]
    preprocess_folder(jpeg.parent, tmp_path / "out", "lesion-safe", size, workers=1)
    written = read_image(tmp_path / "out" / "scan.png")
    stored = json.loads(json.dumps(LESION_SAFE.to_config()))  # as in a model's model.json
    predicted = preprocess_file(str(jpeg), stored_recipe(stored), size)
    assert trained.dtype == np.float32 and np.array_equal(trained, predicted)
    assert written.dtype == np.uint8 and np.array_equal(written, predicted[..., 0] if written.ndim == 2 else predicted)


def test_a_reduced_jpeg_is_refused_for_its_size_as_well(jpeg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmdc_tf.datasets.opencv.MAX_PIXELS", HEIGHT * WIDTH - 1)
    for recipe in (LESION_SAFE, PAPER):
        with pytest.raises(UnreadableImageError, match="million pixels"):
            preprocess_file(jpeg, recipe, 64)
