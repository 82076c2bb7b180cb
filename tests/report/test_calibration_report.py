"""Reliability diagrams, decision curves and their numbers: what is drawn and written is what the files say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_run import PHANTOM, RUN, made_up_table, write_run_file, write_training
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.evaluation.calibration import with_temperature
from mmdc_tf.evaluation.predictions import predictions_table
from mmdc_tf.experiments.run_folder import PREDICTIONS
from mmdc_tf.experiments.scoring import CALIBRATION, VALIDATION, calibrate
from mmdc_tf.report.curves import overview
from mmdc_tf.report.details import calibrated_rows, write_calibration

CLASSES = ("benign", "malignant", "normal")
ROWS = ("one", "two", "three")
TABLE = made_up_table(*ROWS)
FILES = [f"table2_{name}" for name in ("calibration.csv", "reliability.png", "decision.png")]


def make_part(rng: np.random.Generator, name: str, fold: int, classes=CLASSES) -> pd.DataFrame:
    """150 probabilities that are too sure: true ones, sharpened to the power of 2.5."""
    honest = rng.dirichlet([0.8] * 3, size=150)
    labels = [*classes, *(classes[rng.choice(3, p=row)] for row in honest[3:])]
    ids = [f"{name}{fold}-{index}" for index in range(150)]
    table = pd.DataFrame({"sample_id": ids, "patient_id": "", "group_id": ids, "label": labels})
    sharp = honest**2.5
    return predictions_table(table, sharp / sharp.sum(axis=1, keepdims=True), classes, fold, 0)


def make_run(output: Path, rows=ROWS, classes=CLASSES) -> Path:
    """Finished rows, under ``paper`` and in two leak-free folds."""
    rng = np.random.default_rng(7)
    write_run_file(output / "table2")
    for row in rows:
        for protocol, fold in (("paper", 0), ("leak-free", 0), ("leak-free", 1)):
            folder = output / "table2" / row / protocol / f"fold{fold}-seed0"
            test = make_part(rng, "test", fold, classes)
            validation = test if protocol == "paper" else make_part(rng, "validation", fold, classes)
            write_training(folder, test)
            validation.to_csv(folder / VALIDATION, index=False)
            (folder / CALIBRATION).write_text(json.dumps(calibrate(folder)))
    return output


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The output folder of a run with three rows."""
    output = make_run(tmp_path_factory.mktemp("run") / "out")
    write_calibration(TABLE, output)
    return output


def lines_of(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / FILES[0]).set_index(["row", "protocol"])


def trainings(output: Path, row: str) -> list[tuple[pd.DataFrame, dict]]:
    """Predictions and calibration of the leak-free folds."""
    folders = sorted((output / "table2" / row / "leak-free").glob("fold*"))
    return [(pd.read_csv(one / PREDICTIONS), json.loads((one / CALIBRATION).read_text())) for one in folders]


def test_table_and_figures_are_written_and_say_what_they_are(finished):
    assert sorted(path.name for path in finished.iterdir()) == sorted(["table2", *FILES])
    lines = lines_of(finished)
    assert list(lines.index) == [(row, protocol) for protocol in ("paper", "leak-free") for row in ROWS]
    for name in FILES[1:]:
        assert len(np.unique(cv2.imread(str(finished / name)).reshape(-1, 3), axis=0)) > 100
    assert set(lines.loc[(slice(None), "paper"), "fitted_on"]) == {"the scored part itself (paper protocol)"}
    assert set(lines.loc[(slice(None), "leak-free"), "fitted_on"]) == {"validation part"}
    assert set(lines["notice"]) == {f"{PHANTOM}. Research use only, not a medical device."}
    assert (lines.loc[(slice(None), "paper"), "sensitivity"] >= 90).all()  # it was fitted on just these


def test_scores_before_and_after_agree_with_scikit_learn(finished):
    """Each fold's probabilities to the power 1/T, divided by their sum: the definition, without our functions."""
    lines = lines_of(finished)
    for row in ROWS[::2]:
        parts = trainings(finished, row)
        truth = pd.concat([part for part, _ in parts])["y_true"]
        line = lines.loc[(row, "leak-free")]
        assert line["temperature"] == pytest.approx(
            np.mean([stored["temperature"] for _, stored in parts]), abs=0.00051
        )
        for when in ("before", "after"):
            powers = [1 if when == "before" else 1 / stored["temperature"] for _, stored in parts]
            raised = [
                part[[f"p_{name}" for name in CLASSES]].to_numpy() ** power
                for (part, _), power in zip(parts, powers, strict=True)
            ]
            probabilities = np.concatenate([part / part.sum(axis=1, keepdims=True) for part in raised])
            assert line[f"nll_{when}"] == pytest.approx(log_loss(truth, probabilities, labels=CLASSES), abs=0.00051)
            brier = brier_score_loss(truth, probabilities, labels=CLASSES, scale_by_half=False)
            assert line[f"brier_{when}"] == pytest.approx(brier, abs=0.00051)
    # they were sharpened to the power of 2.5, so that this is the temperature
    assert lines["temperature"].between(1.8, 3.5).all()
    assert (lines["nll_after"] < lines["nll_before"]).all() and (lines["ece_after"] < lines["ece_before"]).all()


def test_decisions_are_each_folds_own_and_pooled(finished):
    line, total = lines_of(finished).loc[("two", "leak-free")], np.zeros((2, 2), dtype=int)
    for part, stored in trainings(finished, "two"):
        called = with_temperature(part, stored["temperature"])["p_malignant"] >= stored["threshold"]
        total += confusion_matrix(part["y_true"] == "malignant", called)
    (cleared, alarms), (missed, found) = total.tolist()
    counts = ["true_positives", "false_positives", "false_negatives", "true_negatives"]
    assert line[counts].tolist() == [found, alarms, missed, cleared]
    pairs = [(found, missed), (cleared, alarms), (found, alarms), (cleared, missed)]
    shares = [100 * one / (one + other) for one, other in pairs]
    assert line[["sensitivity", "specificity", "ppv", "npv"]].tolist() == pytest.approx(shares, abs=0.0051)
    assert (line["n"], line["sensitivity_asked"], line["positive_class"]) == (300, 90, "malignant")


def test_reliability_panels_draw_the_bins(finished):
    rows = calibrated_rows(TABLE, "leak-free", finished)
    axes = overview("reliability", TABLE, rows, RUN, "leak-free").axes
    for (_, row), upper, lower in zip(rows, axes[:3], axes[3:], strict=True):
        curves = [line for line in upper.lines if line.get_label() in ("before", "after temperature scaling")]
        for line, outline, part in zip(curves, lower.patches, (row.before, row.after), strict=True):
            confidence = part[[f"p_{name}" for name in CLASSES]].max(axis=1)
            cut = pd.cut(confidence, np.linspace(0, 1, 16))
            right = (part["y_true"] == part["y_pred"]).groupby(cut, observed=True).mean()
            np.testing.assert_allclose(line.get_xdata(), confidence.groupby(cut, observed=True).mean())
            np.testing.assert_allclose(line.get_ydata(), right, atol=1e-12)
            assert outline.get_xy()[:, 1].max() == confidence.groupby(cut, observed=False).size().max()


def test_decision_panels_start_at_the_share_of_positives(finished):
    """At a threshold near 0 everyone is treated, whatever the model: the net benefit is the share of positives."""
    rows = calibrated_rows(TABLE, "leak-free", finished)
    for (_, row), axes in zip(rows, overview("decision", TABLE, rows, RUN, "leak-free").axes, strict=True):
        share = (row.after["y_true"] == "malignant").mean()
        curves = {line.get_label(): line.get_ydata() for line in axes.lines}
        assert list(curves) == ["model", "treat all", "treat none"]
        assert curves["treat all"][0] == pytest.approx(share - (1 - share) / 99)
        assert curves["model"][0] == pytest.approx(share, abs=0.02)
        assert axes.get_ylim()[0] < 0 < share < axes.get_ylim()[1]


def test_a_row_that_is_not_finished_or_of_an_earlier_version_is_left_out(tmp_path):
    output = make_run(tmp_path)
    (output / "table2/one/leak-free/fold1-seed0" / CALIBRATION).unlink()
    (output / "table2/three/leak-free/fold0-seed0/status.json").write_text('{"status": "running"}')
    assert [path.name for path in write_calibration(TABLE, output)] == FILES
    assert [row for row, protocol in lines_of(output).index if protocol == "leak-free"] == ["two"]


def test_without_a_result_nothing_is_written_and_an_old_file_goes(tmp_path):
    (tmp_path / FILES[1]).write_text("of an earlier run")
    assert write_calibration(TABLE, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_without_a_malignant_class_there_is_no_decision(tmp_path):
    output = make_run(tmp_path, ROWS[:1], classes=("cat", "dog", "eel"))
    (output / FILES[2]).write_text("of an earlier run")
    assert [path.name for path in write_calibration(TABLE, output)] == FILES[:2]
    assert not (output / FILES[2]).exists()
    lines = lines_of(output)
    assert lines[["positive_class", "sensitivity_asked", "sensitivity", "ppv", "true_positives"]].isna().all(axis=None)
    assert (lines["nll_after"] < lines["nll_before"]).all()
