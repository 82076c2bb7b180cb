"""What a training is worth: temperature and threshold of the validation part alone, and other age and density."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, log_loss, recall_score, roc_curve
from small_run import FUSED, TRAININGS, execute, folder_of, make_plan, read, snapshot

from mmdc_tf.datasets.splits import select
from mmdc_tf.datasets.values import with_positive_class
from mmdc_tf.evaluation.calibration import TEMPERATURES
from mmdc_tf.evaluation.metadata_variants import VARIANTS, metadata_variants
from mmdc_tf.experiments import learners
from mmdc_tf.experiments.learners import NetworkLearner
from mmdc_tf.experiments.plan import make_trainings
from mmdc_tf.experiments.progress import Lines
from mmdc_tf.experiments.rows import Row
from mmdc_tf.experiments.scoring import calibrate, calibrated_row, metadata_predictions
from mmdc_tf.training.recipe import load_profile

CLASSES = ["benign", "cancer", "normal"]
COLUMNS = [f"p_{name}" for name in CLASSES]
PROFILE = load_profile("quick", image_size=32, epochs=1, folds=2)
HOG = Row("hog", "HOG", "probe", classifier="hog_svm", preprocessing="plain")
PARTS = {"validation": "validation_predictions.csv", "test": "predictions.csv"}


def powers(predictions: pd.DataFrame, temperature: float) -> np.ndarray:
    """The definition of temperature scaling on probabilities: p to the power 1/T, divided by the sum."""
    raised = predictions[COLUMNS].to_numpy() ** (1 / temperature)
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", TRAININGS)
def test_the_temperature_lowers_the_loss_of_the_part_that_it_was_fitted_on(run, name):
    content, card = read(run, name, "calibration.json"), read(run, name, "model.json")
    for part, file in PARTS.items():
        predictions = read(run, name, file)
        for when, temperature in (("before", 1.0), ("after", content["temperature"])):
            loss = log_loss(predictions["y_true"], powers(predictions, temperature), labels=CLASSES)
            assert content[part][when]["nll"] == pytest.approx(loss, abs=1e-5)
        assert content[part]["n"] == len(predictions)
    assert content["validation"]["after"]["nll"] <= content["validation"]["before"]["nll"] + 1e-6
    validation = read(run, name, "validation_predictions.csv")
    near = np.clip([content["temperature"] * factor for factor in (0.9, 1.1)], *TEMPERATURES)
    losses = [log_loss(validation["y_true"], powers(validation, one), labels=CLASSES) for one in near]
    assert content["validation"]["after"]["nll"] <= min(losses) + 1e-9
    for key in ("temperature", "positive_class", "sensitivity_asked", "threshold", "fitted_on"):
        assert card[key] == content[key] is not None
    is_paper = name.startswith("paper")
    assert content["fitted_on"] == ("the scored part itself (paper protocol)" if is_paper else "validation part")
    assert content["notice"] == "phantom: not a reproduction"


@pytest.mark.parametrize("name", TRAININGS)
def test_the_threshold_is_the_highest_that_reaches_the_sensitivity_on_the_validation_part(run, name):
    content, validation = read(run, name, "calibration.json"), read(run, name, "validation_predictions.csv")
    truth, probability = validation["y_true"] == "cancer", powers(validation, content["temperature"])[:, 1]
    _, reached, thresholds = roc_curve(truth, probability, drop_intermediate=False)
    assert (content["positive_class"], content["sensitivity_asked"]) == ("cancer", 0.9)
    assert content["threshold"] == pytest.approx(thresholds[reached >= 0.9][0], rel=1e-6)
    for part, file in PARTS.items():
        predictions = read(run, name, file)
        truth, probability = predictions["y_true"] == "cancer", powers(predictions, content["temperature"])[:, 1]
        called = {
            "at_threshold": probability >= content["threshold"] * (1 - 1e-9),  # it is one of these probabilities
            "at_half": probability >= 0.5,
            "at_argmax": predictions["y_pred"] == "cancer",
        }
        for where, calls in called.items():
            (cleared, alarms), (missed, found) = confusion_matrix(truth, calls, labels=[False, True]).tolist()
            counts = {"true_positives": found, "false_positives": alarms, "false_negatives": missed}
            assert {**counts, "true_negatives": cleared}.items() <= content[part][where].items()
            assert content[part][where]["sensitivity"] == recall_score(truth, calls)


def test_the_test_part_has_no_say_in_it(copied):
    """Other predictions of the test part: the same temperature and threshold, another judgement."""
    folder, before = folder_of(copied, TRAININGS[1]), read(copied, TRAININGS[1], "calibration.json")
    test = read(copied, TRAININGS[1], "predictions.csv")
    test[COLUMNS] = test[COLUMNS].to_numpy()[::-1]
    test.to_csv(folder / "predictions.csv", index=False)
    after = calibrate(folder)
    assert (after["temperature"], after["threshold"]) == (before["temperature"], before["threshold"])
    assert after["validation"] == before["validation"]
    assert after["test"] != before["test"]
    thresholds = [calibrate(folder, sensitivity)["threshold"] for sensitivity in (0.3, 0.6, 1.0)]
    assert thresholds == sorted(thresholds, reverse=True) and thresholds[0] > thresholds[2]


def test_under_the_paper_protocol_the_part_is_predicted_once(dataset, tmp_path, monkeypatch):
    original, asked = learners.classifier_probabilities, []
    counting = lambda *given: (asked.append(len(given[1])), original(*given))[1]  # noqa: E731
    monkeypatch.setattr(learners, "classifier_probabilities", counting)
    plan = make_plan(dataset, tmp_path, (HOG,), profile=PROFILE)
    assert execute(plan) == (0, 3)
    folders = [plan.folder / "hog" / name for name in TRAININGS]
    sizes = [{part: len(pd.read_csv(folder / name)) for part, name in PARTS.items()} for folder in folders]
    assert asked == [sizes[0]["test"], *(fold[part] for fold in sizes[1:] for part in ("test", "validation"))]
    assert (folders[0] / "predictions.csv").read_bytes() == (folders[0] / "validation_predictions.csv").read_bytes()


def test_a_run_of_an_earlier_version_stays_finished_and_has_no_calibration(copied):
    for name in TRAININGS:
        for file in ("validation_predictions.csv", "calibration.json"):
            (folder_of(copied, name) / file).unlink()
    before = snapshot(copied.output)
    assert execute(copied) == (0, 0)
    assert snapshot(copied.output) == before
    assert calibrated_row(FUSED, copied.folder / "fused" / "leak-free") is None


@pytest.mark.parametrize("positive", [None, "middle"])
def test_classes_without_a_malignant_one_have_a_threshold_where_one_is_named(dataset, tmp_path, positive):
    names = {"benign": "left", "cancer": "middle", "normal": "right"}
    info = replace(dataset.info, class_names=tuple(names.values()))
    table = dataset.table.assign(label=dataset.table["label"].map(names))
    named = with_positive_class(replace(dataset, info=info, table=table), positive)
    plan = make_plan(named, tmp_path, (HOG,), profile=PROFILE, protocols=("paper",))
    assert execute(plan) == (0, 1)
    folder = plan.folder / "hog" / TRAININGS[0]
    content, card = (json.loads((folder / name).read_text()) for name in ("calibration.json", "model.json"))
    assert content["temperature"] > 0
    assert content["positive_class"] == card["positive_class"] == plan.shared_config().get("positive_class") == positive
    if positive is None:
        assert content["threshold"] is card["threshold"] is None
        assert set(content["test"]) == {"n", "before", "after"}
    else:
        assert content["threshold"] == card["threshold"] and 0 < content["threshold"] < 1


def test_probabilities_that_are_no_numbers_fail_the_row_and_not_the_run(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(learners, "classifier_probabilities", lambda _, table, __: np.full((len(table), 3), np.nan))
    plan = make_plan(dataset, tmp_path, (HOG,), profile=PROFILE, protocols=("paper",))
    assert execute(plan) == (1, 1)
    status = json.loads((plan.folder / "hog" / TRAININGS[0] / "status.json").read_text())
    assert status["error"].startswith("TrainingDivergedError: Expected finite probabilities.")


def test_probabilities_of_0_and_1_leave_no_threshold_to_choose(copied):
    """The lowest of them finds every positive and calls everything positive: that is no threshold."""
    for name in TRAININGS[1:]:
        folder = folder_of(copied, name)
        for file in PARTS.values():
            part = pd.read_csv(folder / file)
            part[COLUMNS] = [[float(f"p_{guess}" == column) for column in COLUMNS] for guess in part["y_pred"]]
            part.to_csv(folder / file, index=False)
        content = calibrate(folder)
        assert content["positive_class"] == "cancer" and content["threshold"] is None
        assert content["validation"]["at_threshold"] is content["test"]["at_threshold"] is None
        (folder / "calibration.json").write_text(json.dumps(content))
    assert set(calibrated_row(FUSED, copied.folder / "fused" / "leak-free").reached.values()) == {None}


def test_a_network_is_given_the_same_images_with_each_variant_of_the_metadata(dataset, tiny_backbone, tmp_path):
    """As if each were scored alone; written by the run too."""
    plan = make_plan(dataset, tmp_path, (FUSED,), profile=PROFILE, protocols=("paper",))
    (training,) = make_trainings(plan)
    learner = NetworkLearner(plan, Lines())
    learner.build(training)
    predictions, test = metadata_predictions(plan, training, learner), select(dataset.table, training.split.test)
    keys = ("sample_id", "patient_id", "group_id", "fold", "seed", "y_true", "y_pred")
    assert list(predictions.columns) == [*keys, *COLUMNS, "metadata"]
    assert list(predictions["metadata"].unique()) == list(VARIANTS)
    assert (set(predictions["fold"]), set(predictions["seed"])) == ({0}, {3})
    scores = []
    for name, table in metadata_variants(test, training.seed).items():
        lines = predictions[predictions["metadata"] == name]
        assert lines["sample_id"].tolist() == test["sample_id"].tolist()
        assert lines["y_true"].tolist() == test["label"].tolist()
        scores.append(learner.probabilities(table))
        np.testing.assert_allclose(lines[COLUMNS], scores[-1], atol=1e-5)
        assert lines["y_pred"].tolist() == [CLASSES[index] for index in scores[-1].argmax(axis=1)]
    assert all(np.abs(scores[0] - other).max() > 1e-5 for other in scores[1:])
