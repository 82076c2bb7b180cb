"""The page's words: nothing from a file or card is markup, every flag is a sentence, and phantoms are called so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from served_model import write_card

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.errors import RESEARCH_USE
from mmdc_tf.preprocessing import get_recipe
from mmdc_tf.serving import demo_words
from mmdc_tf.serving.card import ModelCard, read_card
from mmdc_tf.serving.demo_answers import Answer, Spread
from mmdc_tf.serving.demo_example import draw_example
from mmdc_tf.serving.metadata import MetadataValue
from mmdc_tf.serving.prediction import Prediction

SHARES = {"benign": 0.25, "cancer": 0.5, "normal": 0.25}
ALL_FLAGS = (
    "blank",
    "no_region",
    "no_breast_found",
    "unusual_intensity",
    "wrong_modality",
    "transparent",
    "window_skipped",
    "lut_bits_corrected",
    "presentation_shape_differs",
    "age_not_read",
    "age_differs_from_header",
    "other_view_missing",
    "not_calibrated",
)


@pytest.fixture
def card(tmp_path) -> ModelCard:
    return made_card(tmp_path)


def made_card(folder: Path, recipe: str = "plain", **changes) -> ModelCard:
    content = {
        "model": "mmdcnet",
        "class_names": list(SHARES),
        "inputs": ["image", "metadata"],
        "image_size": 32,
        "preprocessing": get_recipe(recipe).to_config(),
        "temperature": 1.5,
        "positive_class": "cancer",
        "threshold": 0.4,
        "sensitivity_asked": 0.9,
        "fitted_on": "validation part",
    }
    write_card(folder, {**content, **changes})
    return read_card(folder / "model.keras")


def prediction(**changes) -> Prediction:
    one = Prediction(
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
    return replace(one, **changes)


def test_an_answer_says_what_is_to_be_known(card):
    text = demo_words.verdict(Answer("a.png", prediction(), ""), card)
    for words in (
        "Decision: cancer yes. Its probability 0.500 reaches the stored threshold 0.400",
        "chosen for a sensitivity of 0.9 on the validation part",
        "Age: 70 years (given; the DICOM header says 58). Density: unknown. View in the DICOM header: L CC.",
        "One model: no interval",
        "Nothing unusual was noticed",
        "calibrated probability",
        RESEARCH_USE,
    ):
        assert words in text
    assert "(phantom)" not in text
    unread = prediction(age=MetadataValue(None, "unknown", "<b>"))
    assert "Age: unknown; the DICOM header says &lt;b&gt;." in demo_words.verdict(Answer("a.png", unread, ""), card)
    below = demo_words.verdict(Answer("a.png", prediction(decision=False, threshold=0.6), ""), card)
    assert "Decision: cancer no. Its probability 0.500 is below the stored threshold 0.600" in below


def test_the_interval_is_told_with_the_trainings_it_comes_from(card):
    spread = Spread(("fold0-seed0", "fold1-seed0"), {**SHARES, "cancer": 0.125}, {**SHARES, "cancer": 0.875})
    text = demo_words.verdict(Answer("a.png", prediction(), ""), card, spread)
    assert "0.125–0.875" in text
    assert "left:12.5%;right:12.5%" in text
    assert "over 2 trained models of this row (fold0-seed0, fold1-seed0)" in text
    assert (
        "waiting for 3 more trained models of" in demo_words.waiting(3)
        and demo_words.waiting(0) == demo_words.ONE_MODEL
    )
    assert "No interval: why" in demo_words.verdict(Answer("a.png", prediction(), ""), card, note="No interval: why")


def test_every_flag_is_a_sentence(card):
    text = demo_words.verdict(Answer("a.png", prediction(flags=ALL_FLAGS), ""), card)
    assert text.count("<li>") == len(ALL_FLAGS)
    assert "_" not in text.split("Mind:")[1]


def test_names_are_never_markup(tmp_path):
    bad = "<img src=x onerror=alert(1)>${1+1}{{value}}.png"
    card = made_card(tmp_path, model=bad, class_names=[bad, "cancer", "normal"])
    shares = {bad: 0.25, "cancer": 0.5, "normal": 0.25}
    answers = [Answer(bad, prediction(probabilities=shares), ""), Answer(bad, None, bad)]
    for text in (
        demo_words.head(card, Path(bad)),
        demo_words.overview(answers, card),
        *(demo_words.verdict(one, card) for one in answers),
        demo_words.changes(
            prediction(positive_class=None, predicted_class=bad, probabilities=shares, with_unknown={"age": shares})
        ),
    ):
        assert "<img" not in text
        assert "${" not in text and "{{" not in text  # Gradio's own templates


def test_a_phantom_model_is_called_so_in_every_answer(tmp_path):
    card = made_card(tmp_path, notice=NOTICE)
    answers = [Answer("a.png", prediction(), ""), Answer("b.png", None, "Expected a PNG.")]
    for text in (
        demo_words.head(card, Path("model.keras")),
        demo_words.overview(answers, card),
        demo_words.verdict(answers[0], card),
    ):
        assert f"{NOTICE}. {RESEARCH_USE}" in text
    assert "cancer yes (phantom)" in demo_words.verdict(answers[0], card)


def test_what_an_unknown_value_changes_is_told():
    assert "cancer: 0.500 as given; 0.300 with age unknown (-0.200)." in demo_words.changes(prediction())
    assert "both unknown" in demo_words.changes(prediction(with_unknown={}))


def test_a_row_a_file_and_the_sentence_where_there_is_no_answer(card):
    text = demo_words.overview([Answer("a.png", prediction(), ""), Answer("b.png", None, "Expected a PNG.")], card)
    assert text.count("<tr>") == 3
    assert '<td colspan="5"><span class="problem">Expected a PNG.</span></td>' in text
    assert "<td>yes</td>" in text


def test_the_examples_are_phantoms_of_the_models_kind_and_each_is_another(tmp_path):
    mammography = made_card(tmp_path, recipe="lesion-safe")
    classes = ["benign", "malignant", "normal"]
    ultrasound = made_card(tmp_path, recipe="ultrasound", inputs=["image"], class_names=classes)
    by_classes = made_card(tmp_path, recipe="plain", inputs=["image"], class_names=classes)
    drawn = [draw_example(mammography, turn) for turn in range(4)]
    assert [one.name for one in drawn] == [
        "phantom-cancer-1",
        "phantom-benign-2",
        "phantom-normal-3",
        "phantom-cancer-4",
    ]
    assert all(25 <= one.age <= 92 and one.density in (1, 2, 3, 4) for one in drawn)
    assert len({one.image.tobytes() for one in drawn}) == 4
    for card in (ultrasound, by_classes):
        one = draw_example(card, 0)
        assert one.name == "phantom-malignant-1" and one.age is None and one.image.ndim == 3
        assert one.words.startswith(NOTICE)
    assert drawn[0].words.startswith(NOTICE) and "Drawn as cancer" in drawn[0].words
