"""The survey of lesions: shares by hand on drawn scans, what cannot be measured, and the real scans."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mmdc_tf.datasets.folder import load_folder
from mmdc_tf.datasets.mini_ddsm import load_mini_ddsm
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, DatasetError
from mmdc_tf.preprocessing import get_recipe
from mmdc_tf.preprocessing.lesion_survey import LesionSurvey, survey_lesions
from mmdc_tf.preprocessing.recipes import Recipe

HEIGHT, WIDTH = 100, 80
# the breast of ``scan``, exactly what Otsu keeps, is 60 by 40 of 100 by 80 pixels
CROP = 60 * 40 / (HEIGHT * WIDTH)


def scan() -> np.ndarray:
    image = np.full((HEIGHT, WIDTH), 5, np.uint8)
    image[20:80, :40] = 150
    return image


def lesion(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[rows, columns] = 255
    return mask


MASKS = {
    "inside.png": lesion(slice(30, 40), slice(10, 20)),
    "half.png": lesion(slice(30, 40), slice(30, 50)),
    "empty.png": np.full((HEIGHT, WIDTH), 127, np.uint8),
    "small.png": np.full((10, 10), 255, np.uint8),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three scans: one with two masks, one with three that cannot be used, one without."""
    for name, image in {**dict.fromkeys(("a.png", "b.png", "c.png"), scan()), **MASKS}.items():
        assert cv2.imwrite(str(tmp_path / name), image)
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "samples.csv").write_text(
        "sample_id,image_path,label,patient_id,lesion_masks\n"
        "a,a.png,benign,1,inside.png;half.png\n"
        "b,b.png,cancer,2,empty.png;small.png;broken.png\n"
        "c,c.png,normal,3,\n"
    )
    return tmp_path


def survey(root: Path, *recipes: str, **more) -> LesionSurvey:
    return survey_lesions(load_folder(root), recipes or ("paper", "plain"), **more)


def test_a_share_a_mask_and_a_recipe(folder: Path) -> None:
    result = survey(folder)
    table = result.measured.set_index("mask")
    assert table["paper"].to_dict() == {"inside.png": 1.0, "half.png": 0.5}
    assert table["plain"].to_dict() == {"inside.png": 1.0, "half.png": 1.0}
    assert list(table["sample_id"]) == ["a", "a"]
    assert {recipe: result.kept(recipe) for recipe in result.recipes} == {"paper": 1, "plain": 2}


def test_a_share_a_scan_with_and_without_masks(folder: Path) -> None:
    whole = np.full((HEIGHT, WIDTH), 9, np.uint8)  # one value: no region, all is kept
    assert cv2.imwrite(str(folder / "c.png"), whole)
    result = survey(folder)
    assert dict(zip(result.scans["sample_id"], result.scans["paper"], strict=True)) == {"a": CROP, "b": CROP, "c": 1.0}
    assert (result.scans_read(), result.scans_read(with_masks=True)) == (3, 2)
    assert result.mean_crop("paper") == pytest.approx((2 * CROP + 1) / 3)
    assert result.mean_crop("paper", with_masks=True) == pytest.approx(CROP)
    assert result.mean_crop("plain") == 1.0


def test_masks_that_cannot_be_used_are_named_and_not_counted(folder: Path) -> None:
    problems = survey(folder).problems.set_index("path")["problem"]
    assert list(problems.index) == ["empty.png", "small.png", "broken.png"]
    assert "a pixel above 127" in problems["empty.png"]
    assert "of the image's size (100, 80)" in problems["small.png"]
    assert "not a decodable image" in problems["broken.png"]


def test_scans_that_cannot_be_read_are_named_with_or_without_masks(folder: Path) -> None:
    for name in ("a.png", "c.png"):
        (folder / name).write_bytes(b"no image")
    result = survey(folder)
    problems = result.problems.set_index("path")["problem"]
    assert set(problems.index) >= {"inside.png", "half.png", "c"}
    assert problems["inside.png"].startswith("the scan: ") and "a.png (not a decodable image)" in problems["inside.png"]
    assert len(result.measured) == 0
    assert (result.kept("paper"), result.scans_read()) == (0, 1)
    assert result.mean_crop("paper") == pytest.approx(CROP)


def test_each_recipe_runs_once_a_scan_and_no_further_than_its_crop(folder: Path, monkeypatch) -> None:
    taken = []
    original = Recipe._run

    def count(self, step, state):
        taken.append((self.name, step.name))
        return original(self, step, state)

    monkeypatch.setattr(Recipe, "_run", count)
    survey(folder, "paper", "lesion-safe")
    for recipe in ("paper", "lesion-safe"):
        assert taken.count((recipe, "crop")) == 3
        assert (recipe, "clahe") not in taken
        assert taken.count((recipe, get_recipe(recipe).steps[0].name)) == 3


def test_progress_counts_the_scans(folder: Path) -> None:
    calls = []
    survey(folder, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_dataset_without_masks_and_an_unknown_recipe_are_refused(folder: Path) -> None:
    dataset = load_folder(folder)
    without = dataset.table.assign(lesion_masks=[()] * 3)
    with pytest.raises(DatasetError, match=r"Expected lesion masks\. Received: root='.*' with none on disk for 3 "):
        survey_lesions(dataclasses.replace(dataset, table=without))
    with pytest.raises(ConfigurationError, match="Did you mean 'paper'"):
        survey_lesions(dataset, ["papper"])


def test_of_the_30_real_lesions_paper_keeps_19_and_lesion_safe_all(real_data: Path) -> None:
    """19 was measured for the paper's recipe by other code; 30 and 70 % are what lesion-safe must hold."""
    result = survey_lesions(load_mini_ddsm(real_data / "mini-ddsm"))
    assert (result.scans_read(), result.scans_read(with_masks=True)) == (72, 28)
    assert (len(result.measured), len(result.problems)) == (30, 0)
    assert {recipe: result.kept(recipe) for recipe in result.recipes} == {"paper": 19, "lesion-safe": 30}
    assert result.mean_crop("lesion-safe") <= 0.70
