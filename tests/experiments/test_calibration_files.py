"""Temperature and threshold of each training: fitted on its validation part alone, stored, and carried by the model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, log_loss, recall_score, roc_curve
from small_run import CELLS, FUSED, execute, folder_of, make_plan, read, snapshot

from mmdc_tf.datasets.splits import Split
from mmdc_tf.datasets.values import with_positive_class
from mmdc_tf.evaluation.calibration import TEMPERATURES
from mmdc_tf.experiments import learners
from mmdc_tf.experiments.calibration import calibrate, calibrated_row
from mmdc_tf.experiments.grid import Plan
from mmdc_tf.experiments.rows import Row
from mmdc_tf.report.curves import overview
from mmdc_tf.report.details import write_calibration
from mmdc_tf.training.recipe import load_profile

COLUMNS = ["p_benign", "p_cancer", "p_normal"]
PROFILE = load_profile("quick", image_size=32, epochs=1, folds=2)
HOG = Row("hog", "HOG", "probe", classifier="hog_svm", preprocessing="plain")
NEIGHBOUR = replace(HOG, name="neighbour", classifier="image_nearest_neighbour")
MEAN = Row("mean", "Mean", "here", None, members=("hog", "neighbour"), extra=True)
PARTS = {"validation": "validation_predictions.csv", "test": "predictions.csv"}


def powers(predictions: pd.DataFrame, temperature: float) -> np.ndarray:
    """The definition of temperature scaling on probabilities: p to the power 1/T, divided by the sum."""
    raised = predictions[COLUMNS].to_numpy() ** (1 / temperature)
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("cell", CELLS)
def test_validation_predictions_are_of_the_validation_part_in_its_order(run, cell):
    predictions, validation = read(run, cell, "predictions.csv"), read(run, cell, "validation_predictions.csv")
    split = Split.from_json((folder_of(run, cell) / "split.json").read_text())
    assert list(validation.columns) == list(predictions.columns)
    assert validation["sample_id"].tolist() == list(split.validation)
    labels = run.dataset.table.set_index("sample_id")["label"]
    assert validation["y_true"].tolist() == labels.loc[list(split.validation)].tolist()
    np.testing.assert_allclose(validation[COLUMNS].sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS[1:])
def test_they_are_what_the_best_epoch_was_chosen_by(run, cell):
    """The accuracy that training itself measured on the validation part."""
    validation = read(run, cell, "validation_predictions.csv")
    accuracy = (validation["y_true"] == validation["y_pred"]).mean()
    assert accuracy == pytest.approx(read(run, cell, "history.csv")["val_accuracy"].max(), abs=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_temperature_lowers_the_loss_of_the_part_that_it_was_fitted_on(run, cell):
    content = read(run, cell, "calibration.json")
    for part, name in PARTS.items():
        predictions = read(run, cell, name)
        for when, temperature in (("before", 1.0), ("after", content["temperature"])):
            loss = log_loss(
                predictions["y_true"], powers(predictions, temperature), labels=["benign", "cancer", "normal"]
            )
            assert content[part][when]["nll"] == pytest.approx(loss, abs=1e-5)
        assert content[part]["n"] == len(predictions)
    assert content["validation"]["after"]["nll"] <= content["validation"]["before"]["nll"] + 1e-6
    validation = read(run, cell, "validation_predictions.csv")
    near = np.clip([content["temperature"] * factor for factor in (0.9, 1.1)], *TEMPERATURES)
    around = [powers(validation, temperature) for temperature in near]
    losses = [log_loss(validation["y_true"], part, labels=["benign", "cancer", "normal"]) for part in around]
    assert content["validation"]["after"]["nll"] <= min(losses) + 1e-9


@pytest.mark.parametrize("cell", CELLS)
def test_the_threshold_is_the_highest_that_reaches_the_sensitivity_on_the_validation_part(run, cell):
    content, validation = read(run, cell, "calibration.json"), read(run, cell, "validation_predictions.csv")
    truth, probability = validation["y_true"] == "cancer", powers(validation, content["temperature"])[:, 1]
    _, reached, thresholds = roc_curve(truth, probability, drop_intermediate=False)
    assert (content["positive_class"], content["sensitivity_asked"]) == ("cancer", 0.9)
    assert content["threshold"] == pytest.approx(thresholds[reached >= 0.9][0], rel=1e-6)
    assert content["validation"]["at_threshold"]["sensitivity"] >= 0.9


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("part", PARTS)
def test_outcomes_are_those_of_the_predictions(run, cell, part):
    content, predictions = read(run, cell, "calibration.json"), read(run, cell, PARTS[part])
    truth, probability = predictions["y_true"] == "cancer", powers(predictions, content["temperature"])[:, 1]
    called = {
        "at_threshold": probability >= content["threshold"] * (1 - 1e-9),  # it is one of these probabilities
        "at_half": probability >= 0.5,
        "at_argmax": predictions["y_pred"] == "cancer",
    }
    for name, calls in called.items():
        (cleared, alarms), (missed, found) = confusion_matrix(truth, calls, labels=[False, True]).tolist()
        counts = {"true_positives": found, "false_positives": alarms, "false_negatives": missed}
        assert {**counts, "true_negatives": cleared}.items() <= content[part][name].items()
        assert content[part][name]["sensitivity"] == recall_score(truth, calls)


def test_what_it_was_fitted_on_is_said(run):
    said = [read(run, cell, "calibration.json")["fitted_on"] for cell in CELLS]
    assert said == ["the scored part itself (paper protocol)", "validation part", "validation part"]


def test_the_test_part_has_no_say_in_it(copied):
    """Other predictions of the test part: the same temperature and threshold, another judgement."""
    folder = folder_of(copied, CELLS[1])
    before = read(copied, CELLS[1], "calibration.json")
    test = read(copied, CELLS[1], "predictions.csv")
    test[COLUMNS] = test[COLUMNS].to_numpy()[::-1]
    test.to_csv(folder / "predictions.csv", index=False)
    after = calibrate(folder)
    assert (after["temperature"], after["threshold"]) == (before["temperature"], before["threshold"])
    assert after["validation"] == before["validation"]
    assert after["test"] != before["test"]


def test_another_sensitivity_may_be_asked_for(run):
    folder = folder_of(run, CELLS[1])
    thresholds = [calibrate(folder, sensitivity)["threshold"] for sensitivity in (0.3, 0.6, 1.0)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[2]


@pytest.mark.parametrize("cell", CELLS)
def test_the_model_carries_it_and_the_files_say_what_they_are(run, cell):
    content, card = read(run, cell, "calibration.json"), read(run, cell, "model.json")
    for name in ("temperature", "positive_class", "sensitivity_asked", "threshold", "fitted_on"):
        assert card[name] == content[name] is not None
    assert content["notice"] == "phantom: not a reproduction"


@pytest.fixture(scope="module")
def asked() -> list[int]:
    """How many samples the classifiers of ``members`` were asked for, call by call."""
    return []


@pytest.fixture(scope="module")
def members(dataset, tmp_path_factory, asked) -> Plan:
    """A finished run of the ensemble's members; no network, so that it is quick."""
    original = learners.classifier_probabilities
    plan = make_plan(dataset, tmp_path_factory.mktemp("members"), (HOG, NEIGHBOUR, MEAN), profile=PROFILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            learners, "classifier_probabilities", lambda *given: (asked.append(len(given[1])), original(*given))[1]
        )
        assert execute(replace(plan, rows=(HOG, NEIGHBOUR))) == (0, 6)
    return plan


@pytest.fixture
def ensemble(members, tmp_path) -> Plan:
    """A copy of it, in which the ensemble is still to come."""
    shutil.copytree(members.output, tmp_path / "copy")
    return replace(members, output=tmp_path / "copy")


def test_under_the_paper_protocol_the_part_is_predicted_once(members, asked):
    folders = [members.folder / "hog" / cell for cell in CELLS]
    sizes = [{part: len(pd.read_csv(folder / name)) for part, name in PARTS.items()} for folder in folders]
    assert asked[:5] == [sizes[0]["test"], *(fold[part] for fold in sizes[1:] for part in ("test", "validation"))]
    assert len(asked) == 10
    assert (folders[0] / "predictions.csv").read_bytes() == (folders[0] / "validation_predictions.csv").read_bytes()


def test_an_ensemble_is_calibrated_on_the_mean_of_its_members_validation_predictions(ensemble):
    assert execute(ensemble) == (0, 3)
    for cell in CELLS:
        for name in PARTS.values():
            one, other, mean = (
                pd.read_csv(ensemble.folder / row / cell / name) for row in ("hog", "neighbour", "mean")
            )
            assert mean["sample_id"].tolist() == one["sample_id"].tolist()
            np.testing.assert_allclose(mean[COLUMNS], (one[COLUMNS] + other[COLUMNS]) / 2, atol=1e-12)
    paths = write_calibration(ensemble.table, ensemble.output)
    assert [path.name for path in paths] == ["table2_calibration.csv", "table2_reliability.png", "table2_decision.png"]
    assert len(pd.read_csv(paths[0])) == 6


def make_old(plan, row: str) -> None:
    """Takes from finished trainings what an earlier version did not write."""
    for cell in CELLS:
        for name in ("validation_predictions.csv", "calibration.json"):
            (plan.folder / row / cell / name).unlink()


def test_a_run_of_an_earlier_version_stays_finished_and_has_no_calibration(copied):
    make_old(copied, "fused")
    before = snapshot(copied.output)
    assert execute(copied) == (0, 0)
    assert snapshot(copied.output) == before
    assert calibrated_row(FUSED, copied.folder / "fused" / "leak-free") is None
    assert write_calibration(copied.table, copied.output) == []


def test_an_ensemble_of_members_of_an_earlier_version_is_scored_and_not_calibrated(ensemble):
    make_old(ensemble, "neighbour")
    assert execute(ensemble) == (0, 3)
    for cell in CELLS[1:]:
        folder = ensemble.folder / "mean" / cell
        names = {path.name for path in folder.iterdir()}
        assert "predictions.csv" in names
        assert not {"validation_predictions.csv", "calibration.json"} & names
        card = json.loads((folder / "model.json").read_text())
        assert card["temperature"] is card["threshold"] is None
    # here the validation part is the test part, whose predictions the members have
    assert (ensemble.folder / "mean" / CELLS[0] / "calibration.json").is_file()


@pytest.mark.parametrize("positive", [None, "middle"])
def test_classes_without_a_malignant_one_have_a_threshold_where_one_is_named(dataset, tmp_path, positive):
    names = {"benign": "left", "cancer": "middle", "normal": "right"}
    info = replace(dataset.info, class_names=tuple(names.values()))
    table = dataset.table.assign(label=dataset.table["label"].map(names))
    named = with_positive_class(replace(dataset, info=info, table=table), positive)
    plan = make_plan(named, tmp_path, (HOG,), profile=PROFILE, protocols=("paper",))
    assert execute(plan) == (0, 1)
    folder = plan.folder / "hog" / CELLS[0]
    content, card = (json.loads((folder / name).read_text()) for name in ("calibration.json", "model.json"))
    assert content["temperature"] > 0
    assert content["positive_class"] == card["positive_class"] == plan.shared_config().get("positive_class") == positive
    if positive is None:
        assert content["threshold"] is card["threshold"] is None
        assert set(content["test"]) == {"n", "before", "after"}
    else:
        assert content["threshold"] == card["threshold"] and 0 < content["threshold"] < 1
        assert content["validation"]["at_threshold"]["sensitivity"] >= 0.9


def test_probabilities_that_are_no_numbers_fail_the_row_and_not_the_run(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(learners, "classifier_probabilities", lambda _, table, __: np.full((len(table), 3), np.nan))
    plan = make_plan(dataset, tmp_path, (HOG,), profile=PROFILE, protocols=("paper",))
    assert execute(plan) == (1, 1)
    status = json.loads((plan.folder / "hog" / CELLS[0] / "status.json").read_text())
    assert status["error"].startswith("TrainingDivergedError: Expected finite probabilities.")


def test_probabilities_of_0_and_1_leave_no_threshold_to_choose(copied):
    """The lowest of them finds every positive and calls everything positive: that is no threshold."""
    for cell in CELLS[1:]:
        folder = folder_of(copied, cell)
        for name in PARTS.values():
            part = pd.read_csv(folder / name)
            part[COLUMNS] = [[float(f"p_{guess}" == column) for column in COLUMNS] for guess in part["y_pred"]]
            part.to_csv(folder / name, index=False)
        content = calibrate(folder)
        assert content["positive_class"] == "cancer" and content["threshold"] is None
        assert content["validation"]["at_threshold"] is content["test"]["at_threshold"] is None
        (folder / "calibration.json").write_text(json.dumps(content))
    row = calibrated_row(FUSED, copied.folder / "fused" / "leak-free")
    assert set(row.reached.values()) == {None}
    figure = overview("decision", copied.table, [(FUSED, row)], copied.shared_config(), "leak-free")
    assert "cancer: sensitivity n/a (asked 90 %),\nspecificity n/a" in figure.axes[0].get_title(loc="left")
