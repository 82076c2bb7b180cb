"""The recipe "lesion-safe": its order and numbers, drawn scans, resolution, and the real scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.mini_ddsm import load_mini_ddsm
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.preprocessing import get_recipe
from mmdc_tf.preprocessing.lesions import crop_share, lesion_survival

LESION_SAFE = get_recipe("lesion-safe")
HEIGHT, WIDTH = 480, 320


@pytest.fixture
def scan() -> np.ndarray:
    """A smooth breast with a skin that fades at the left, a label at the right and a white strip below."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    inside = 1 - ((y - 220) / 150) ** 2 - (x / 190) ** 2
    field = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(HEIGHT, WIDTH)), 6) * 400
    tissue = np.where(inside > 0, 30 + 110 * np.sqrt(np.clip(inside, 0, 1)) + field * np.clip(inside, 0, 0.5), 0)
    image = np.clip(8 + tissue, 0, 255).astype(np.uint8)
    image[20:50, 250:300] = 255
    image[430:] = 250
    return image


def test_the_order_and_the_numbers_are_stored() -> None:
    config = LESION_SAFE.to_config()
    names = ["grey", "find-breast", "blank-outside", "crop", "resize", "clahe", "rgb"]
    assert [step["name"] for step in config["steps"]] == names
    numbers = {step["name"]: step["parameters"] for step in config["steps"]}
    assert set(numbers["find-breast"]) == {"working_side", "contrast", "opening", "margin"}
    assert numbers["clahe"] == {"clip_limit": 2.0, "tiles": 8}
    assert config["least_crop"] == 0.75


def test_label_and_strip_are_gone_and_the_breast_is_untouched(scan: np.ndarray) -> None:
    states = {step.name: state for step, state in LESION_SAFE.states(scan, 64)}
    blanked = states["blank-outside"].image
    assert not blanked[20:50, 250:300].any() and not blanked[430:].any()
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    breast = ((y - 220) / 150) ** 2 + (x / 190) ** 2 < 0.98
    assert np.array_equal(blanked[breast], scan[breast])
    assert states["crop"].image.size < 0.6 * scan.size


def test_a_label_does_not_change_the_result(scan: np.ndarray) -> None:
    without = scan.copy()
    without[20:50, 250:300] = 8
    assert np.array_equal(LESION_SAFE.apply(scan, 64), LESION_SAFE.apply(without, 64))


def test_a_mirrored_scan_keeps_the_mirrored_region(scan: np.ndarray) -> None:
    trace, mirrored = (dict(LESION_SAFE.trace(image, 64)) for image in (scan, scan[:, ::-1]))
    for step in ("find-breast", "blank-outside", "crop"):
        assert np.array_equal(mirrored[step][:, ::-1], trace[step]), step


@pytest.fixture
def large_scan(scan: np.ndarray) -> np.ndarray:
    return cv2.resize(scan, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    return structural_similarity(first[..., 0], second[..., 0], data_range=255)


def test_a_scan_decoded_at_half_its_size_gives_nearly_the_same_result(large_scan: np.ndarray) -> None:
    written, file = cv2.imencode(".jpg", large_scan)
    assert written
    whole, half = (cv2.imdecode(file, flag) for flag in (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_REDUCED_GRAYSCALE_2))
    assert half.shape[0] == whole.shape[0] // 2
    assert similarity(LESION_SAFE.apply(half, 128), LESION_SAFE.apply(whole, 128)) >= 0.98


def test_every_real_lesion_is_kept_and_the_crop_is_smaller_than_the_scan(real_data: Path) -> None:
    dataset = load_mini_ddsm(real_data / "mini-ddsm")
    survivals, shares = [], []
    for row in dataset.table.itertuples():
        image = read_image(dataset.root / row.image_path)
        shares.append(crop_share(LESION_SAFE, image))
        survivals += [lesion_survival(LESION_SAFE, image, read_image(dataset.root / mask)) for mask in row.lesion_masks]
    assert (len(shares), len(survivals)) == (72, 30)
    assert min(survivals) >= 0.99
    assert np.mean(shares) <= 0.70
