"""A saved model on new images: the run's own numbers again, metadata, thresholds, and what is refused."""

from __future__ import annotations

import json

import keras
import numpy as np
import pandas as pd
import pytest
from saved_training import write_saved_training
from served_model import CLASSES, SIZE, by_hand, change_card, powers, scan, write_dicom, write_image

import mmdc_tf
from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.datasets.splits import Split, select
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, InputError, UnreadableImageError
from mmdc_tf.preprocessing import RECIPES, get_recipe, preprocess_file
from mmdc_tf.serving.card import read_card
from mmdc_tf.serving.output import MetadataValue

NAN = float("nan")


def matrix(predictions, which="probabilities") -> np.ndarray:
    return np.array([list(getattr(one, which).values()) for one in predictions])


def known(values: pd.Series) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values]


def test_it_gives_the_predictions_of_the_run_again_and_calibrates_them(tiny_backbone, tmp_path):
    dataset = phantom_mammograms(tmp_path / "data", patients=12, height=64, seed=1)
    arguments = {"backbone": tiny_backbone, "conv_filters": 8, "grid": 2}
    folder = write_saved_training(tmp_path / "run" / "table2", dataset, "fused", "mmdcnet", "leak-free", **arguments)
    change_card(folder, temperature=2.5, notice="phantom: not a reproduction")
    test = select(dataset.table, Split.from_json((folder / "split.json").read_text()).test)
    stored = pd.read_csv(folder / "predictions.csv")
    found = mmdc_tf.load_predictor(folder).predict(test["image_path"], known(test["age"]), known(test["density"]))
    raw = stored[[f"p_{name}" for name in CLASSES]].to_numpy()
    assert [one.path for one in found] == test["image_path"].tolist()
    np.testing.assert_allclose(matrix(found, "raw_probabilities"), raw, atol=1e-5)
    np.testing.assert_allclose(matrix(found), powers(raw, 2.5), atol=1e-5)
    assert [one.predicted_class for one in found] == stored["y_pred"].tolist()
    assert {one.notice for one in found} == {f"phantom: not a reproduction. {RESEARCH_USE}"}
    assert len(found) > 8 and np.ptp(raw, axis=0).max() > 1e-4


def test_an_age_that_is_not_known_is_nan_to_the_model_and_its_effect_is_shown(saved, tmp_path):
    folder, image = saved(), write_image(tmp_path / "a.png", scan())
    full, without_age = mmdc_tf.load_predictor(folder).predict([image, image], age=[61, None], density=3)
    found = [full.probabilities, without_age.probabilities, full.with_unknown["age"], full.with_unknown["density"]]
    expected = by_hand(folder, image, [(61, 3), (NAN, 3), (NAN, 3), (61, NAN)])
    np.testing.assert_allclose([list(one.values()) for one in found], expected, atol=1e-5)
    assert set(full.with_unknown) == {"age", "density"} and set(without_age.with_unknown) == {"density"}
    assert np.abs(matrix([full]) - matrix([without_age])).max() > 1e-3
    assert (full.age, without_age.age) == (MetadataValue(61.0, "given"), MetadataValue(None, "unknown"))


def test_a_probability_at_the_threshold_is_positive(saved, tmp_path):
    folder, image = saved(), write_image(tmp_path / "a.png", scan())
    edge = mmdc_tf.load_predictor(folder).predict(image, age=50)[0].probabilities["cancer"]
    for threshold, decision in ((edge, True), (np.nextafter(edge, 1), False), (0.0, True)):
        one = mmdc_tf.load_predictor(change_card(folder, threshold=float(threshold))).predict(image, age=50)[0]
        assert (one.decision, one.positive_class) == (decision, "cancer")


def test_a_model_without_calibration_has_raw_probabilities_and_no_decision(saved, tmp_path):
    folder = change_card(saved(), temperature=None, threshold=None, positive_class=None)
    one = mmdc_tf.load_predictor(folder).predict(write_image(tmp_path / "a.png", scan()))[0]
    assert one.probabilities == one.raw_probabilities
    assert one.decision is None and "not_calibrated" in one.flags


def test_many_images_are_predicted_in_batches(saved, tmp_path, monkeypatch):
    predictor = mmdc_tf.load_predictor(saved("backbone_classifier"))
    paths = [write_image(tmp_path / f"{seed}.png", scan(seed)) for seed in range(40)]
    singly = [predictor.predict(path)[0] for path in paths[30:35]]
    calls, predict = [], predictor.model.predict
    monkeypatch.setattr(predictor.model, "predict", lambda *given, **how: (calls.append(1), predict(*given, **how))[1])
    found = predictor.predict(paths)
    assert len(calls) == 2
    np.testing.assert_allclose(matrix(found[30:35]), matrix(singly), atol=1e-5)
    assert found[0].age == MetadataValue(None, "not used") and found[0].with_unknown == {}


def test_a_view_that_is_missing_is_said_and_one_that_is_given_is_used(saved, tmp_path):
    folder = saved("two_view_classifier")
    predictor, model = mmdc_tf.load_predictor(folder), keras.models.load_model(folder / "model.keras")
    first, second = (write_image(tmp_path / f"{seed}.png", scan(seed) // (1 + seed)) for seed in (0, 1))
    plain = get_recipe("plain")
    pixels = {path: preprocess_file(path, plain, SIZE)[None].astype("float32") for path in (first, second)}
    alone, both = predictor.predict(first)[0], predictor.predict(first, other_view=second)[0]
    for one, other in ((alone, np.full_like(pixels[first], np.nan)), (both, pixels[second])):
        expected = model.predict({"image": pixels[first], "other_view": other}, verbose=0)
        np.testing.assert_allclose(matrix([one], "raw_probabilities"), expected, atol=1e-5)
    assert alone.flags == ("other_view_missing",) and both.flags == ()
    assert np.abs(matrix([alone]) - matrix([both])).max() > 1e-4


def test_the_age_of_a_dicom_header_is_used_unless_one_is_given(saved, tmp_path):
    predictor = mmdc_tf.load_predictor(saved())
    path = write_dicom(tmp_path / "a.dcm", scan(), PatientAge="061Y", ImageLaterality="L", ViewPosition="MLO")
    png = write_image(tmp_path / "a.png", scan())
    by_png = matrix(predictor.predict([png] * 3, [61, 40, None]))
    header, given, same, unknown = predictor.predict([path] * 4, age=[None, 40, 61.5, NAN])
    assert header.age == MetadataValue(61.0, "header", 61.0)
    assert given.age == MetadataValue(40.0, "given", 61.0)
    assert unknown.age == MetadataValue(None, "unknown", 61.0)
    assert [one.flags for one in (header, given, same, unknown)] == [(), ("age_differs_from_header",), (), ()]
    np.testing.assert_allclose(matrix([header, given, unknown]), by_png, atol=1e-6)
    assert (header.laterality, header.view) == ("L", "MLO")


@pytest.mark.parametrize("written", ["000Y", "999Y", "45X"])
def test_an_age_that_cannot_be_read_is_unknown_with_a_flag_and_said(saved, tmp_path, written):
    path = write_dicom(tmp_path / "a.dcm", scan(), PatientAge=written)
    found, given = mmdc_tf.load_predictor(saved()).predict([path] * 2, age=[None, 40])
    assert found.age == MetadataValue(None, "unknown", written)
    assert found.flags == given.flags == ("age_not_read",)
    assert given.age == MetadataValue(40.0, "given", written)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"density": 5}, "Expected density between 1 and 4"),
        ({"age": 121}, "Expected age between 0 and 120"),
        ({"age": "old"}, "age='old'"),
        ({"age": [50, 60]}, "2 for 1 images"),
    ],
)
def test_values_out_of_range_are_refused(saved, tmp_path, values, message):
    image = write_image(tmp_path / "a.png", scan())
    with pytest.raises(InputError, match=message):
        mmdc_tf.load_predictor(saved()).predict(image, **values)


def test_an_unreadable_image_is_named_or_handed_on(saved, tmp_path):
    predictor, good, broken = mmdc_tf.load_predictor(saved()), tmp_path / "a.png", tmp_path / "b.png"
    write_image(good, scan())
    broken.write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match=r"b\.png"):
        predictor.predict([good, broken])
    failed = []
    found = predictor.predict([broken, good], age=[40, 50], on_error=lambda path, error: failed.append((path, error)))
    assert [one.path for one in found] == [str(good)] and found[0].age.value == 50
    assert [path for path, _ in failed] == [broken] and isinstance(failed[0][1], UnreadableImageError)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 64}, "card of this model"),
        ({"preprocessing": {"name": "plain", "steps": []}}, "other"),
        ({"inputs": ["metadata"]}, "takes images"),
        ({"preprocessing": None}, r"model\.json \("),
    ],
)
def test_a_model_with_the_card_of_another_is_refused(saved, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        mmdc_tf.load_predictor(change_card(saved(), **changes))


def test_a_model_that_is_absent_or_without_a_whole_card_is_refused(saved, tmp_path):
    with pytest.raises(ConfigurationError, match="no such file"):
        mmdc_tf.load_predictor(tmp_path / "nowhere")
    folder = saved()
    (folder / "model.json").write_text('{"inputs": ["image"]}')
    with pytest.raises(ConfigurationError, match="without class_names, image_size, preprocessing"):
        mmdc_tf.load_predictor(folder)
    (folder / "model.json").unlink()
    with pytest.raises(ConfigurationError, match=r"Expected model\.json beside the model"):
        mmdc_tf.load_predictor(folder / "model.keras")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_card_writes_what_it_reads(saved, recipe):
    folder = change_card(saved(), preprocessing=get_recipe(recipe).to_config(), modality="mammography")
    written = json.loads((folder / "model.json").read_text())
    assert read_card(folder / "model.keras").to_json() == {"research_use_only": True, **written}


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
def test_unusual_intensity_is_a_matter_of_mean_and_contrast(saved, tmp_path, low, high, unusual):
    halves = np.full((SIZE, SIZE), low, np.uint8)
    halves[:, SIZE // 2 :] = high  # mean (low + high) / 2, standard deviation (high - low) / 2
    one = mmdc_tf.load_predictor(saved()).predict(write_image(tmp_path / "a.png", halves))[0]
    assert ("unusual_intensity" in one.flags) is unusual


def test_flags_come_with_the_prediction(saved, tmp_path):
    folder = change_card(saved("backbone_classifier"), preprocessing=get_recipe("lesion-safe").to_config())
    blank = write_image(tmp_path / "blank.png", np.full((60, 40), 7, np.uint8))
    noise = write_image(tmp_path / "a.png", np.random.default_rng(0).integers(110, 190, (200, 150)).astype(np.uint8))
    first, second = mmdc_tf.load_predictor(folder).predict([blank, noise])
    assert first.flags == ("blank", "unusual_intensity")
    assert second.flags == ("no_breast_found",)


@pytest.mark.parametrize(
    ("recipe", "of_card", "modality", "wrong"),
    [
        ("paper", None, "US", True),
        ("paper", None, "CR", False),  # a film scanner may say so
        ("brint", None, "US", True),
        ("ultrasound", None, "MG", True),
        ("ultrasound", None, "US", False),
        ("plain", None, "US", False),  # the recipe is for both
        ("plain", "ultrasound", "MG", True),
    ],
)
def test_the_other_modality_is_flagged_where_dicom_says_so(saved, tmp_path, recipe, of_card, modality, wrong):
    folder = change_card(saved("backbone_classifier"), preprocessing=get_recipe(recipe).to_config(), modality=of_card)
    path = write_dicom(tmp_path / "a.dcm", scan(), Modality=modality)
    assert ("wrong_modality" in mmdc_tf.load_predictor(folder).predict(path)[0].flags) is wrong


def test_a_predictor_says_what_it_is_and_its_answers_become_a_table(phantom_model, tmp_path):
    predictor = mmdc_tf.load_predictor(phantom_model)
    assert "image, metadata (32 pixels) → benign, cancer, normal" in repr(predictor)
    answers = predictor.predict(
        [write_image(tmp_path / f"{n}.png", scan(n)) for n in (1, 2)], age=[61, None], density=3
    )
    table = answers.to_table()
    assert list(table["path"]) == [one.path for one in answers]
    assert table.loc[0, "age"] == 61 and np.isnan(table.loc[1, "age"])
    np.testing.assert_allclose(table[["p_benign", "p_cancer", "p_normal"]].sum(axis=1), 1)
