"""Flags of an image that a model should not be asked about."""

from __future__ import annotations

import numpy as np
import pytest
from served_model import change_card, scan, write_dicom, write_image

import mmdc_tf
from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.preprocessing import get_recipe, preprocess_scan
from mmdc_tf.serving.quality import has_unusual_intensity

LESION_SAFE = get_recipe("lesion-safe")


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("low", "high", "unusual"),
    [
        (20, 120, False),
        (0, 18, True),  # mean 9
        (0, 30, False),  # mean 15, standard deviation 15
        (170, 240, True),  # mean 205
        (90, 112, True),  # standard deviation 11
        (90, 116, False),  # 13
    ],
)
def test_unusual_intensity_is_a_matter_of_mean_and_contrast(low, high, unusual):
    halves = np.full((8, 8), low)
    halves[:, 4:] = high  # mean (low + high) / 2, standard deviation (high - low) / 2
    assert has_unusual_intensity(grey(halves)) is unusual


def test_a_scan_without_film_has_no_breast_that_was_found(tmp_path):
    noise = np.random.default_rng(0).integers(110, 190, (200, 150)).astype(np.uint8)
    assert preprocess_scan(write_image(tmp_path / "a.png", noise), LESION_SAFE, 32).flags == ("no_breast_found",)
    assert preprocess_scan(tmp_path / "a.png", get_recipe("plain"), 32).flags == ()


def test_phantom_mammograms_have_no_flag(tmp_path):
    table = phantom_mammograms(tmp_path / "data", patients=4, height=128, seed=1).table
    for path in table["image_path"]:
        result = preprocess_scan(path, LESION_SAFE, 64)
        assert result.flags == () and not has_unusual_intensity(result.image), path


def test_flags_come_with_the_prediction(saved, tmp_path):
    folder = change_card(saved("backbone_classifier"), preprocessing=LESION_SAFE.to_config())
    blank = write_image(tmp_path / "blank.png", np.full((60, 40), 7, np.uint8))
    noise = write_image(tmp_path / "a.png", np.random.default_rng(0).integers(110, 190, (200, 150)).astype(np.uint8))
    first, second = mmdc_tf.load_predictor(folder).predict([blank, noise])
    assert first.flags == ("blank", "unusual_intensity")
    assert second.flags == ("no_breast_found",)


@pytest.mark.parametrize(
    ("recipe", "modality", "wrong"),
    [
        ("paper", "US", True),
        ("brint", "US", True),
        ("ultrasound", "MG", True),
        ("ultrasound", "US", False),
        ("paper", "MG", False),
        ("paper", "CR", False),  # a film scanner may say so
        ("plain", "US", False),  # the recipe is for both
    ],
)
def test_the_other_modality_is_flagged_where_dicom_says_so(saved, tmp_path, recipe, modality, wrong):
    folder = change_card(saved("backbone_classifier"), preprocessing=get_recipe(recipe).to_config(), modality=None)
    path = write_dicom(tmp_path / "a.dcm", scan(), Modality=modality)
    assert ("wrong_modality" in mmdc_tf.load_predictor(folder).predict(path)[0].flags) is wrong


@pytest.mark.parametrize(("modality", "wrong"), [("MG", True), ("US", False)])
def test_a_card_that_names_its_modality_needs_no_recipe_for_it(saved, tmp_path, modality, wrong):
    plain = get_recipe("plain").to_config()
    folder = change_card(saved("backbone_classifier"), preprocessing=plain, modality="ultrasound")
    path = write_dicom(tmp_path / "a.dcm", scan(), Modality=modality)
    assert ("wrong_modality" in mmdc_tf.load_predictor(folder).predict(path)[0].flags) is wrong
