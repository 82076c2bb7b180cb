"""What the page shows, without the page: ranges over a row's models, what age and density change, steps, sentences."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from served_model import SIZE, change_card, scan, write_dicom, write_image

from mmdc_tf.datasets.images import read_image
from mmdc_tf.preprocessing import get_recipe, preprocess_file
from mmdc_tf.serving.card import read_card
from mmdc_tf.serving.demo_answers import MOST_SCANS, Answers
from mmdc_tf.serving.scan_steps import LONGEST, ScanReader
from mmdc_tf.serving.siblings import MOST, siblings

NAN = float("nan")


@pytest.fixture
def image(tmp_path) -> str:
    return str(write_image(tmp_path / "a.png", scan()))


def by_hand(file: Path, image: str, metadata: list[tuple[float, float]], temperature: float = 1.5) -> np.ndarray:
    """The model's own probabilities under the definition of temperature scaling, float64 (values, classes)."""
    pixels = preprocess_file(image, get_recipe("plain"), SIZE)[np.newaxis].astype("float32")
    inputs = {"image": pixels.repeat(len(metadata), axis=0), "metadata": np.array(metadata, "float32")}
    raised = np.asarray(keras.models.load_model(file)(inputs, training=False), float) ** (1 / temperature)
    return raised / raised.sum(axis=1, keepdims=True)


def write_giant_png(path: Path) -> None:
    """A PNG whose header claims 900 million pixels, and no more."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT")


def write_row(source: Path, row: Path, names: list[str]) -> list[Path]:
    """Copies of a model as a row's trainings, each with another last layer; returns the files."""
    files = []
    for seed, name in enumerate(names):
        folder = shutil.copytree(source, row / name)
        model = keras.models.load_model(folder / "model.keras")
        kernel = model.layers[-1].kernel
        kernel.assign(np.random.default_rng(seed).normal(0, 0.2, kernel.shape))
        model.save(folder / "model.keras")
        files.append(folder / "model.keras")
    return files


def test_the_interval_is_the_range_over_the_row(saved, tmp_path, image):
    files = write_row(saved(), tmp_path / "run" / "row" / "leak-free", ["fold0-seed0", "fold1-seed0", "fold2-seed0"])
    change_card(files[1].parent, temperature=3.0)  # each model is calibrated by itself
    answers = Answers(files[0])
    prediction = answers.predict([image], 61, None)[0].prediction
    spread = answers.spread(image, prediction)
    every = np.stack([by_hand(file, image, [(61, NAN)], t)[0] for file, t in zip(files, (1.5, 3.0, 1.5), strict=True)])
    assert spread.trainings == ("fold0-seed0", "fold1-seed0", "fold2-seed0")
    np.testing.assert_allclose(list(spread.lowest.values()), every.min(axis=0), atol=1e-5)
    np.testing.assert_allclose(list(spread.highest.values()), every.max(axis=0), atol=1e-5)
    assert np.ptp(every, axis=0).min() > 1e-3
    np.testing.assert_allclose(list(prediction.probabilities.values()), every[0], atol=1e-5)


def test_one_model_alone_has_no_interval(saved, image):
    answers = Answers(saved() / "model.keras")
    assert answers.siblings == []
    assert answers.spread(image, answers.predict([image], None, None)[0].prediction) is None


def test_only_models_of_the_same_row_and_kind_are_asked(saved, tmp_path):
    source, row = saved(), tmp_path / "run" / "row" / "paper"
    names = [f"fold{fold}-seed0" for fold in range(4)] + ["fold10-seed0", "fold0-seed1", "fold0-seed2", "other"]
    for name in names:
        shutil.copytree(source, row / name)
    change_card(row / "fold1-seed0", class_names=["a", "b", "c"])
    (row / "fold2-seed0" / "model.json").write_text("{")
    (row / "fold3-seed0" / "model.keras").unlink()
    file = row / "fold0-seed0" / "model.keras"
    found = [path.parent.name for path in siblings(file, read_card(file))]
    assert found == ["fold0-seed1", "fold0-seed2", "fold10-seed0"]
    for fold in range(4, 8):
        shutil.copytree(source, row / f"fold{fold}-seed0")
    assert len(siblings(file, read_card(file))) == MOST - 1


def test_what_changes_is_what_the_model_says_with_other_values(saved, image):
    file = saved() / "model.keras"
    answers = Answers(file)
    prediction = answers.predict([image], 61.5, 2)[0].prediction
    changes = answers.changes(image, prediction)
    assert changes.ages == (*range(30, 61, 5), 61.5, *range(65, 91, 5))
    np.testing.assert_allclose(changes.by_age, by_hand(file, image, [(age, 2) for age in changes.ages]), atol=1e-5)
    by_density = by_hand(file, image, [(61.5, density) for density in (1, 2, 3, 4)])
    np.testing.assert_allclose(changes.by_density, by_density, atol=1e-5)
    assert np.ptp(changes.by_age, axis=0).max() > 1e-3 and np.ptp(changes.by_density, axis=0).max() > 1e-3
    unknown = answers.changes(image, answers.predict([image], None, NAN)[0].prediction)
    assert unknown.ages == tuple(range(30, 91, 5))
    np.testing.assert_allclose(unknown.by_density[3], by_hand(file, image, [(NAN, 4)])[0], atol=1e-5)


def test_a_model_without_metadata_has_nothing_to_change(saved, image):
    answers = Answers(saved("backbone_classifier") / "model.keras")
    assert answers.changes(image, answers.predict([image], 50, 2)[0].prediction) is None


def test_the_heatmap_is_of_the_answer_that_is_shown(saved, image):
    answers = Answers(saved() / "model.keras")
    prediction = answers.predict([image], 61, 3)[0].prediction
    explanation = answers.explain(image, 61, 3)
    np.testing.assert_allclose(explanation.probabilities, list(prediction.probabilities.values()), atol=1e-5)
    assert answers.card.class_names[explanation.class_index] == prediction.predicted_class


def test_a_file_that_cannot_be_read_is_a_sentence_and_the_others_are_answered(saved, tmp_path, image):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    write_giant_png(tmp_path / "giant.png")
    names = ["text.png", "empty.png", "absent.png", "giant.png"]
    *broken, good = Answers(saved() / "model.keras").predict([*(str(tmp_path / n) for n in names), image], None, None)
    assert [one.name for one in broken] == names
    reasons = ("not a decodable image", "empty file", "No such file", "its header claims 30,000 × 30,000 pixels")
    for one, reason in zip(broken, reasons, strict=True):
        assert one.prediction is None and one.problem.startswith("Expected a")
        assert f"Received: {one.name} ({reason}" in one.problem and str(tmp_path) not in one.problem
    assert good.prediction is not None and good.problem == ""


def test_a_value_out_of_range_and_too_many_files_are_sentences(saved, image):
    answers = Answers(saved() / "model.keras")
    assert "Expected age between 0 and 120" in answers.predict([image], 130, None)[0].problem
    many = answers.predict([image] * (MOST_SCANS + 1), None, None)
    assert all(one.prediction for one in many[:MOST_SCANS])
    assert many[MOST_SCANS].problem == "Expected at most 20 files at once. Received: 21. Remove some."


def test_the_age_of_a_header_is_used_and_a_disagreement_is_flagged(saved, tmp_path):
    path = str(write_dicom(tmp_path / "a.dcm", scan(), PatientAge="058Y", Modality="MG"))
    answers = Answers(saved() / "model.keras")
    used, given, withheld = (answers.predict([path], age, None)[0].prediction for age in (None, 70, NAN))
    assert (used.age.value, used.age.source) == (58, "header")
    assert given.age.value == 70 and "age_differs_from_header" in given.flags
    assert withheld.age.value is None and withheld.age.in_header == 58


@pytest.mark.parametrize("recipe", ["plain", "lesion-safe", "paper", "brint"])
def test_the_steps_end_with_the_pixels_of_the_model(recipe, tmp_path):
    from mmdc_tf.datasets.phantom import mammogram_patients
    from mmdc_tf.datasets.phantom_images import draw_mammogram

    drawn = draw_mammogram(mammogram_patients(3)[0], "CC", "LEFT", height=600).image
    path = write_image(tmp_path / "scan.jpg", drawn)
    reader, wanted = ScanReader(get_recipe(recipe), 64), preprocess_file(path, get_recipe(recipe), 64)
    names, pictures = zip(*reader.watched(path).steps, strict=True)
    np.testing.assert_array_equal(reader(path).image, wanted)
    np.testing.assert_array_equal(pictures[-1], wanted)
    assert list(names) == ["scan", *(step.name.replace("-", " ") for step in get_recipe(recipe).steps)]
    assert max(max(picture.shape[:2]) for picture in pictures) <= LONGEST
    if recipe == "paper":
        assert set(np.unique(pictures[names.index("largest contour")])) > {0, 255}  # shrunk, so with greys between
        assert pictures[0].shape == (480, round(read_image(path).shape[1] * 480 / 600))


def test_a_scan_is_read_once(saved, image):
    """Another age is answered after the page's temporary file has been deleted."""
    answers = Answers(saved() / "model.keras")
    before = answers.predict([image], 40, None)[0].prediction
    Path(image).unlink()
    assert answers.predict([image], 40, None)[0].prediction == before
    assert answers.explain(image, 70, None).heats and answers.changes(image, before).ages
