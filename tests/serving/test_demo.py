"""The page of ``mmdc-tf demo`` without a browser: its answers by hand, words, figures, events and server."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from served_model import SIZE, by_hand, change_card, scan, write_dicom, write_image

pytest.importorskip("gradio")

from mmdc_tf.datasets.phantom import mammogram_patients
from mmdc_tf.datasets.phantom_images import draw_mammogram
from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError
from mmdc_tf.explain.drawing import pixels
from mmdc_tf.preprocessing import PreprocessedScan, get_recipe, preprocess_file
from mmdc_tf.serving import demo_views as views
from mmdc_tf.serving.card import MOST_MODELS, ModelCard, read_card, row_models
from mmdc_tf.serving.demo import Events
from mmdc_tf.serving.demo_answers import LONGEST, MOST_SCANS, Answer, Answers
from mmdc_tf.serving.demo_server import listen, private_folder
from mmdc_tf.serving.explanation import GRAD_CAM, Explanation, heat_panels
from mmdc_tf.serving.output import GIVEN, HEADER, UNKNOWN, MetadataValue, Prediction

NAN = float("nan")
SHARES = {"benign": 0.25, "cancer": 0.5, "normal": 0.25}
CARD = ModelCard("mmdcnet", tuple(SHARES), ("image", "metadata"), 32, get_recipe("plain"), temperature=1.5)
CARD = replace(CARD, positive_class="cancer", threshold=0.4, sensitivity=0.9, fitted_on="validation part")
PHANTOM = replace(CARD, phantom=NOTICE)
ONE = Prediction(
    path="a.png",
    probabilities=SHARES,
    raw_probabilities=SHARES,
    predicted_class="cancer",
    positive_class="cancer",
    threshold=0.4,
    decision=True,
    age=MetadataValue(70.0, "given", 58.0),
    density=MetadataValue(None, "unknown"),
    with_unknown={"age": {"benign": 0.5, "cancer": 0.3, "normal": 0.2}},
    laterality="L",
    view="CC",
    flags=(),
    notice=RESEARCH_USE,
)
CHANGES = {
    name: pd.DataFrame(np.random.default_rng(0).dirichlet(np.ones(3), len(values)), values, list(SHARES))
    for name, values in (("age", [NAN, 30.0, 70.0, 90.0]), ("density", [NAN, 1, 2, 3, 4]))
}


@pytest.fixture
def image(tmp_path) -> str:
    return str(write_image(tmp_path / "a.png", scan()))


def test_each_model_of_the_row_is_asked(saved, tmp_path, image):
    row = tmp_path / "run" / "row" / "leak-free"
    for fold in range(2):
        folder = shutil.copytree(saved(), row / f"fold{fold}-seed0")
        change_card(folder, temperature=1.5 + fold)  # each model is calibrated by itself
    answers = Answers(row / "fold0-seed0" / "model.keras")
    prediction = answers.predict([image], 61, None)[0].prediction
    spread = answers.spread(image, prediction)
    every = np.stack([by_hand(row / "fold0-seed0", image, [(61, NAN)], temperature)[0] for temperature in (1.5, 2.5)])
    assert spread.index.tolist() == ["fold0-seed0", "fold1-seed0"]
    np.testing.assert_allclose(spread, every, atol=1e-5)
    assert np.ptp(every, axis=0).min() > 1e-3
    np.testing.assert_allclose(list(prediction.probabilities.values()), every[0], atol=1e-5)
    alone = Answers(saved() / "model.keras")
    assert alone.spread(image, prediction) is None


def test_only_models_of_the_same_row_and_kind_are_asked(saved, tmp_path):
    source, row = saved(), tmp_path / "run" / "row" / "paper"
    for name in [*(f"fold{fold}-seed0" for fold in (0, 1, 2, 3, 10)), "fold0-seed1", "fold0-seed2", "other"]:
        shutil.copytree(source, row / name)
    change_card(row / "fold1-seed0", class_names=["a", "b", "c"])
    (row / "fold2-seed0" / "model.json").write_text("{")
    (row / "fold3-seed0" / "model.keras").unlink()
    file = row / "fold0-seed0" / "model.keras"
    found = [path.parent.name for path in row_models(file, read_card(file))]
    assert found == ["fold0-seed1", "fold0-seed2", "fold10-seed0"]
    for fold in range(4, 8):
        shutil.copytree(source, row / f"fold{fold}-seed0")
    assert len(row_models(file, read_card(file))) == MOST_MODELS - 1


def test_what_is_shown_of_a_scan_is_what_the_model_says(saved, image):
    """Other ages and densities, and the heatmap's class; the scan is read once, so its file may be gone."""
    folder = saved()
    answers = Answers(folder / "model.keras")
    prediction = answers.predict([image], 61.5, 2)[0].prediction
    copy, steps = shutil.copy(image, f"{image}.copy.png"), answers.steps(image)
    Path(image).unlink()
    changes, explanation = answers.changes(image, prediction), answers.explain(image, None, 61.5, 2)
    assert answers.steps(image) is steps
    ages = [NAN, *range(30, 61, 5), 61.5, *range(65, 91, 5)]
    np.testing.assert_array_equal(changes["age"].index, ages)
    np.testing.assert_allclose(changes["age"], by_hand(folder, copy, [(age, 2) for age in ages]), atol=1e-5)
    by_density = by_hand(folder, copy, [(61.5, density) for density in (NAN, 1, 2, 3, 4)])
    np.testing.assert_allclose(changes["density"], by_density, atol=1e-5)
    assert all(np.ptp(table[1:], axis=0).max() > 1e-3 for table in changes.values())
    np.testing.assert_allclose(explanation.probabilities, list(prediction.probabilities.values()), atol=1e-5)
    assert answers.card.class_names[explanation.class_index] == prediction.predicted_class
    unknown = answers.changes(image, answers.predict([image], None, NAN)[0].prediction)
    np.testing.assert_allclose(unknown["density"].loc[4], by_hand(folder, copy, [(NAN, 4)])[0], atol=1e-5)


def test_a_model_without_metadata_has_nothing_to_change(saved, image):
    answers = Answers(saved("backbone_classifier") / "model.keras")
    assert answers.changes(image, answers.predict([image], 50, 2)[0].prediction) == {}


def test_bad_files_and_values_are_sentences_and_the_others_are_answered(saved, tmp_path, image):
    (tmp_path / "text.png").write_text("no picture")
    names, answers = ["text.png", "absent.png"], Answers(saved() / "model.keras")
    *broken, good = answers.predict([*(str(tmp_path / name) for name in names), image], None, None)
    for one, name, reason in zip(broken, names, ("not a decodable image", "No such file"), strict=True):
        assert one.prediction is None and one.problem.startswith("Expected a")
        assert f"Received: {name} ({reason}" in one.problem and str(tmp_path) not in one.problem
    assert good.prediction is not None and good.problem == ""
    assert "Expected age between 0 and 120" in answers.predict([image], 130, None)[0].problem
    many = answers.predict([image] * (MOST_SCANS + 1), None, None)
    assert all(one.prediction for one in many[:MOST_SCANS])
    assert many[MOST_SCANS].problem == "Expected at most 20 files at once. Received: 21. Remove some."


@pytest.mark.parametrize("recipe", ["plain", "lesion-safe", "paper", "brint"])
def test_the_steps_end_with_the_pixels_of_the_model(saved, recipe, tmp_path):
    drawn = draw_mammogram(mammogram_patients(3)[0], "CC", "LEFT", height=600).image
    path = str(write_image(tmp_path / "scan.jpg", drawn))
    config = get_recipe(recipe).to_config()
    steps = Answers(change_card(saved(), preprocessing=config) / "model.keras").steps(path)
    names = ["scan", *(step.name.replace("-", " ") for step in get_recipe(recipe).steps)]
    assert list(steps) == [f"{place}. {name}" for place, name in enumerate(names, start=1)]
    np.testing.assert_array_equal(list(steps.values())[-1], preprocess_file(path, get_recipe(recipe), SIZE))
    assert max(max(picture.shape[:2]) for picture in steps.values()) <= LONGEST


def test_the_examples_are_phantoms_of_the_models_kind_and_each_is_another(saved):
    answers = Answers(saved() / "model.keras")
    drawn = [answers.example(turn) for turn in range(4)]
    assert [one.name.split("-")[1] for one in drawn] == ["cancer", "benign", "normal", "cancer"]
    assert all(25 <= one.age <= 92 and one.density in (1, 2, 3, 4) for one in drawn)
    assert len({one.image.tobytes() for one in drawn}) == 4
    assert drawn[0].words.startswith(NOTICE) and "Drawn as cancer" in drawn[0].words
    answers.card = replace(CARD, modality="ultrasound")
    one = answers.example(0)
    assert one.name == "phantom-malignant-1.png" and one.age is None and one.image.ndim == 3


def test_an_answer_says_what_is_to_be_known():
    text = views.verdict(Answer("a.png", ONE), CARD)
    assert "Decision: cancer yes. Its probability 0.500 reaches the stored threshold 0.400" in text
    assert "chosen for a sensitivity of 0.9 on the validation part" in text
    assert "Age: 70 years (given; the DICOM header says 58). Density: unknown. View in the DICOM header: L CC." in text
    assert "One model: no interval" in text and "Nothing unusual was noticed" in text
    assert "calibrated probability" in text and RESEARCH_USE in text and "(phantom)" not in text
    unread = replace(ONE, age=MetadataValue(None, "unknown", "<b>"), decision=False, threshold=0.6)
    text = views.verdict(Answer("a.png", unread), CARD)
    assert "Age: unknown; the DICOM header says &lt;b&gt;." in text
    assert "Decision: cancer no. Its probability 0.500 is below the stored threshold 0.600" in text
    flags = "blank,no_region,no_breast_found,unusual_intensity,wrong_modality,transparent,window_skipped,age_not_read,"
    flags += "lut_bits_corrected,presentation_shape_differs,age_differs_from_header,other_view_missing,not_calibrated"
    text = views.verdict(Answer("a.png", replace(ONE, flags=tuple(flags.split(",")))), CARD)
    assert text.count("<li>") == 13 and "_" not in text.split("Mind:")[1]  # each is a sentence
    spread = pd.DataFrame([{**SHARES, "cancer": 0.125}, {**SHARES, "cancer": 0.875}], ["fold0-seed0", "fold1-seed0"])
    text = views.verdict(Answer("a.png", ONE), CARD, spread)
    assert "0.125–0.875" in text and "left:12.5%;right:12.5%" in text
    assert "over 2 trained models of this row (fold0-seed0, fold1-seed0)" in text


def test_names_are_never_markup_and_phantoms_are_called_so():
    bad = "<img src=x onerror=alert(1)>${1+1}{{value}}.png"
    card = replace(PHANTOM, name=bad, class_names=(bad, "cancer", "normal"))
    shares = {bad: 0.25, "cancer": 0.5, "normal": 0.25}
    one = replace(ONE, probabilities=shares)
    answers = [Answer(bad, one), Answer(bad, None, bad)]
    pages = [views.head(card, Path(bad)), views.overview(answers, card), views.verdict(answers[0], card)]
    unnamed = replace(one, positive_class=None, predicted_class=bad, with_unknown={"age": shares})
    for text in (*pages, views.verdict(answers[1], card), views.changes(CHANGES, unnamed, card)):
        assert "<img src=x" not in text
        assert "${" not in text and "{{" not in text  # Gradio's own templates
    assert all(f"{NOTICE}. {RESEARCH_USE}" in text for text in pages)
    assert "cancer yes (phantom)" in pages[2]
    assert pages[1].count("<tr>") == 3 and "<td>yes</td>" in pages[1]
    assert '<td colspan="5"><span class="problem">' in pages[1]


def test_what_an_unknown_value_changes_is_told():
    assert "cancer: 0.500 as given; 0.300 with age unknown (-0.200)." in views.changes(CHANGES, ONE, CARD)
    assert "both unknown" in views.changes(CHANGES, replace(ONE, with_unknown={}), CARD)


@pytest.mark.parametrize(
    ("name", "given", "left", "title"),
    [("age", 70, 20, "By age; density unknown (phantom)"), ("density", 0, 0, "By density; age 70 (phantom)")],
)
def test_the_curves_show_the_numbers_and_the_given_value(name, given, left, title):
    figure, shares = views.curves(name, CHANGES[name], ONE, PHANTOM), CHANGES[name]
    lines = [(str(line.get_label()), np.column_stack(line.get_data())) for line in figure.axes[0].lines]
    for label in SHARES:
        np.testing.assert_array_equal(dict(lines)[label], np.column_stack([shares.index, shares[label]])[1:])
    assert set(dict(lines)["as given"][:, 0]) == {given}
    assert set(dict(lines)["threshold of cancer"][:, 1]) == {0.4}
    assert [tuple(line[0]) for _, line in lines if len(line) == 1] == [(left, share) for share in shares.iloc[0]]
    assert figure.get_suptitle() == title
    require_whole(figure)


def require_whole(figure) -> None:
    """All that is drawn lies inside the figure."""
    pixels(figure, 100)
    box, (width, height) = figure.get_tightbbox(figure.canvas.get_renderer()), figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def test_a_uniform_map_is_said_and_not_drawn():
    drawn = PreprocessedScan(np.full((64, 64, 3), 90, np.uint8), 64, 64, (0, 0, 64, 64), "L", ())
    heats = {GRAD_CAM: np.zeros((64, 64)), "spread": np.random.default_rng(1).random((64, 64))}
    heats["flat"] = np.full((64, 64), 0.97) + np.eye(64) * 0.03
    empty, full, flat = heat_panels(Explanation(drawn, np.array([0.5, 0.3, 0.2]), 1, heats), CARD).values()
    assert flat.axes[0].get_title() == "flat\nuniform: no heat drawn"
    assert np.isnan(flat.axes[0].images[1].get_array().filled(np.nan)).all()
    assert empty.axes[0].get_title() == "Grad-CAM for cancer\nno heat: nothing speaks for this class"
    np.testing.assert_array_equal(full.axes[0].images[1].get_array(), heats["spread"])
    require_whole(empty)
    require_whole(full)


@pytest.fixture
def events(saved, tmp_path) -> Events:
    return Events(Answers(saved() / "model.keras"), tmp_path / "kept")


def test_an_age_can_be_withheld(events, tmp_path):
    path = str(write_dicom(tmp_path / "next.dcm", scan(), PatientAge="058Y", Modality="MG"))
    for source, words in ((HEADER, "Age: 58 years (from"), (UNKNOWN, "Age: unknown; the DICOM header says 58.")):
        assert words in str(list(events.answer([path], [path], 0, source, 70, UNKNOWN)))


def test_the_answer_that_is_shown_belongs_to_the_last_scan(events, tmp_path):
    """The first scan is still being computed when the second comes, and is not looked at again."""
    first, second = ([str(write_image(tmp_path / f"{name}.png", scan()))] for name in ("first", "second"))
    scans: list[str] = []
    events.on_uploads(scans, first)
    running = events.answer(scans, first, 0, HEADER, None, UNKNOWN)
    assert "first.png" in str(next(running))
    events.on_uploads(scans, second)
    events.on_uploads([], first)  # of another visitor
    assert list(running) == [] == list(events.answer(scans, first, 0, GIVEN, 40, "2"))
    assert "second.png" in str(list(events.answer(scans, second, 0, HEADER, None, UNKNOWN)))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_nothing_is_left_behind_whatever_ends_it(name, monkeypatch):
    monkeypatch.setattr(os, "environ", os.environ.copy())
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with pytest.raises(KeyboardInterrupt), private_folder() as folder:
            (folder / "scan.png").write_text("of a patient")
            assert os.environ["GRADIO_TEMP_DIR"] == str(folder) == tempfile.gettempdir()
            assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False" and folder.stat().st_mode & 0o077 == 0
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(5)  # interrupted at once
        assert not folder.exists() and tempfile.gettempdir() != str(folder)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_it_listens_on_this_machine_alone_and_a_taken_port_is_refused():
    with listen(0) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(ConfigurationError, match=f"Received: port={port} "):
            listen(port)
