"""Reliability diagrams, decision curves and their numbers: what is drawn and written is what the files say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.evaluation.calibration import with_temperature
from mmdc_tf.evaluation.predictions import predictions_table
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import PREDICTIONS
from mmdc_tf.experiments.scoring import CALIBRATION, VALIDATION, calibrate, calibrated_row
from mmdc_tf.report.calibration_figures import decision_figure, reliability_figure, write_calibration

CLASSES = ("benign", "malignant", "normal")
RUN = {
    "dataset": "phantom-ultrasound",
    "dataset_fingerprint": "0123456789abcdef",
    "synthetic": True,
    "group_unit": "near-twin cluster",
    "class_names": list(CLASSES),
    "preprocessing": "ultrasound",
    "folds": 2,
    "training": {"image_size": 64, "epochs": 4},
    "weights": "none",
    "seed": 0,
}
FILES = ["table1_calibration.csv", "table1_decision.png", "table1_reliability.png"]


def make_table(count: int) -> PaperTable:
    rows = tuple(
        Row(f"row{index}", f"Network {index}", "Someone et al. 2020 [1]", model="any") for index in range(count)
    )
    return PaperTable("table1", "Table I: ultrasound", "busi", "ultrasound", "phantom-ultrasound", rows)


def make_part(rng: np.random.Generator, name: str, size: int, fold: int, classes=CLASSES) -> pd.DataFrame:
    """Probabilities that are too sure: true ones, sharpened to the power of 2.5."""
    honest = rng.dirichlet([0.8] * 3, size=size)
    labels = [classes[rng.choice(3, p=row)] for row in honest]
    labels[:3] = classes
    ids = [f"{name}{fold}-{index}" for index in range(size)]
    table = pd.DataFrame({"sample_id": ids, "patient_id": "", "group_id": ids, "label": labels})
    sharp = honest**2.5
    return predictions_table(table, sharp / sharp.sum(axis=1, keepdims=True), classes, fold, 0)


def make_run(
    output: Path, count: int, protocols=("paper", "leak-free"), size: int = 150, classes=CLASSES
) -> PaperTable:
    """Writes the run folder of ``count`` finished rows, two folds each under ``leak-free``."""
    rng, table = np.random.default_rng(7), make_table(count)
    (output / "table1").mkdir(parents=True)
    (output / "table1" / "run.json").write_text(json.dumps(RUN))
    for row in table.rows:
        for protocol in protocols:
            for fold in range(1 if protocol == "paper" else 2):
                test = make_part(rng, "test", size, fold, classes)
                validation = test if protocol == "paper" else make_part(rng, "validation", size, fold, classes)
                write_cell(output / "table1" / row.name / protocol / f"fold{fold}-seed0", validation, test)
    return table


def write_cell(folder: Path, validation: pd.DataFrame, test: pd.DataFrame) -> None:
    folder.mkdir(parents=True)
    config = {"protocol": folder.parent.name, "folds": 2, "training_seed": 0}
    for name, content in (("config.json", config), ("status.json", {"status": "ok"})):
        (folder / name).write_text(json.dumps(content))
    validation.to_csv(folder / VALIDATION, index=False)
    test.to_csv(folder / PREDICTIONS, index=False)
    (folder / CALIBRATION).write_text(json.dumps(calibrate(folder)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The output folder of a run with three rows."""
    output = tmp_path_factory.mktemp("run") / "out"
    write_calibration(make_run(output, 3), output)
    return output


def read_lines(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / "table1_calibration.csv").set_index(["row", "protocol"])


def cells(output: Path, row: str, protocol: str = "leak-free") -> list[Path]:
    return sorted((output / "table1" / row / protocol).glob("fold*"))


def test_table_and_figures_are_written_and_nothing_else(finished):
    assert sorted(path.name for path in finished.iterdir()) == ["table1", *FILES]
    assert list(read_lines(finished).index) == [
        (f"row{index}", protocol) for protocol in ("paper", "leak-free") for index in range(3)
    ]
    for name, height in (("reliability", 500), ("decision", 400)):
        image = cv2.imread(str(finished / f"table1_{name}.png"))
        assert image.shape[1] == 1440
        assert image.shape[0] > height
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100


def test_scores_before_and_after_agree_with_scikit_learn(finished):
    """Each fold's probabilities to the power 1/T, divided by their sum: the definition, without our functions."""
    lines = read_lines(finished)
    for row in ("row0", "row2"):
        parts = [pd.read_csv(cell / PREDICTIONS) for cell in cells(finished, row)]
        temperatures = [json.loads((cell / CALIBRATION).read_text())["temperature"] for cell in cells(finished, row)]
        raw = [part[[f"p_{name}" for name in CLASSES]].to_numpy() for part in parts]
        powers = [part ** (1 / temperature) for part, temperature in zip(raw, temperatures, strict=True)]
        truth = pd.concat(parts)["y_true"]
        line = lines.loc[(row, "leak-free")]
        assert line["temperature"] == pytest.approx(np.mean(temperatures), abs=0.00051)
        for when, pooled in (("before", np.concatenate(raw)), ("after", np.concatenate(powers))):
            probabilities = pooled / pooled.sum(axis=1, keepdims=True)
            assert line[f"nll_{when}"] == pytest.approx(log_loss(truth, probabilities, labels=CLASSES), abs=0.00051)
            brier = brier_score_loss(truth, probabilities, labels=CLASSES, scale_by_half=False)
            assert line[f"brier_{when}"] == pytest.approx(brier, abs=0.00051)


def test_predictions_that_were_too_sure_are_better_afterwards(finished):
    """They were sharpened to the power of 2.5, so that this is the temperature."""
    lines = read_lines(finished)
    assert (lines["nll_after"] < lines["nll_before"]).all()
    assert (lines["ece_after"] < lines["ece_before"]).all()
    assert lines["temperature"].between(1.8, 3.5).all()


def test_decisions_are_each_folds_own_and_pooled(finished):
    line = read_lines(finished).loc[("row1", "leak-free")]
    total = np.zeros((2, 2), dtype=int)
    for cell in cells(finished, "row1"):
        part, stored = pd.read_csv(cell / PREDICTIONS), json.loads((cell / CALIBRATION).read_text())
        called = with_temperature(part, stored["temperature"])["p_malignant"] >= stored["threshold"]
        total += confusion_matrix(part["y_true"] == "malignant", called)
    (cleared, alarms), (missed, found) = total.tolist()
    counts = ["true_positives", "false_positives", "false_negatives", "true_negatives"]
    assert line[counts].tolist() == [found, alarms, missed, cleared]
    expected = [
        found / (found + missed),
        cleared / (cleared + alarms),
        found / (found + alarms),
        cleared / (cleared + missed),
    ]
    assert line[["sensitivity", "specificity", "ppv", "npv"]].tolist() == pytest.approx(
        [100 * x for x in expected], abs=0.0051
    )
    assert (line["n"], line["sensitivity_asked"], line["positive_class"]) == (300, 90, "malignant")


def test_what_it_was_fitted_on_and_made_from_stands_in_every_line(finished):
    lines = read_lines(finished)
    assert set(lines.loc[(slice(None), "paper"), "fitted_on"]) == {"the scored part itself (paper protocol)"}
    assert set(lines.loc[(slice(None), "leak-free"), "fitted_on"]) == {"validation part"}
    assert set(lines["notice"]) == {"phantom: not a reproduction. Research use only, not a medical device."}
    assert (lines.loc[(slice(None), "paper"), "sensitivity"] >= 90).all()  # it was fitted on just these


def load_rows(output: Path, count: int) -> list:
    rows = make_table(count).rows
    return [calibrated_row(row, output / "table1" / row.name / "leak-free") for row in rows]


def test_reliability_panels_draw_the_bins(finished):
    rows = load_rows(finished, 3)
    figure = reliability_figure(make_table(3), rows, RUN)
    panels, counts = figure.axes[::2], figure.axes[1::2]
    assert [axes.get_title(loc="left").split("\n")[0] for axes in panels] == ["Network 0", "Network 1", "Network 2"]
    for row, upper, lower in zip(rows, panels, counts, strict=True):
        for line, bars, part in zip(upper.lines, lower.containers, (row.before, row.after), strict=False):
            confidence = part[[f"p_{name}" for name in CLASSES]].max(axis=1)
            cut = pd.cut(confidence, np.linspace(0, 1, 16))
            right = (part["y_true"] == part["y_pred"]).groupby(cut, observed=True).mean()
            np.testing.assert_allclose(line.get_xdata(), confidence.groupby(cut, observed=True).mean())
            np.testing.assert_allclose(line.get_ydata(), right, atol=1e-12)
            assert [bar.get_height() for bar in bars] == confidence.groupby(cut, observed=False).size().tolist()


def test_decision_panels_start_at_the_share_of_positives(finished):
    """At a threshold near 0 everyone is treated, whatever the model: the net benefit is the share of positives."""
    rows = load_rows(finished, 3)
    for row, axes in zip(rows, decision_figure(make_table(3), rows, RUN).axes, strict=True):
        share = (row.after["y_true"] == "malignant").mean()
        curves = {line.get_label(): line.get_ydata() for line in axes.lines}
        assert list(curves) == ["model", "treat all", "treat none"]
        assert curves["treat all"][0] == pytest.approx(share - (1 - share) / 99)
        assert curves["model"][0] == pytest.approx(share, abs=0.02)
        assert axes.get_ylim()[0] < 0 < share < axes.get_ylim()[1]


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("draw", [reliability_figure, decision_figure])
def test_no_text_is_cut_and_none_lies_on_another(tmp_path, count, draw):
    make_run(tmp_path / "out", count, protocols=("leak-free",), size=20)
    figure = draw(make_table(count), load_rows(tmp_path / "out", count), RUN)
    figure.savefig(tmp_path / "figure.png")
    width, height = figure.canvas.get_width_height()
    titles = [axes.title for axes in figure.axes] + [axes._left_title for axes in figure.axes]
    texts = [*titles, *(text for part in figure.subfigs for text in [*part.texts, *part.legends])]
    boxes = [text.get_window_extent() for text in texts if not hasattr(text, "get_text") or text.get_text()]
    assert len(boxes) == count + 3
    for index, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


def test_a_phantom_is_called_one_in_the_caption(finished):
    for draw in (reliability_figure, decision_figure):
        caption = draw(make_table(3), load_rows(finished, 3), RUN).subfigs[2].texts[0].get_text().replace("\n", " ")
        assert "phantom: not a reproduction" in caption
        assert "Research use only, not a medical device." in caption


def test_a_row_that_is_not_finished_or_of_an_earlier_version_is_left_out(tmp_path):
    output = tmp_path / "out"
    table = make_run(output, 3, protocols=("leak-free",))
    (cells(output, "row0")[1] / CALIBRATION).unlink()
    (cells(output, "row2")[0] / "status.json").write_text('{"status": "running"}')
    assert [path.name for path in write_calibration(table, output)] == [FILES[0], FILES[2], FILES[1]]
    assert list(read_lines(output).index) == [("row1", "leak-free")]


def test_without_a_result_nothing_is_written_and_an_old_file_goes(tmp_path):
    (tmp_path / FILES[2]).write_text("of an earlier run")
    assert write_calibration(make_table(2), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_without_a_malignant_class_there_is_no_decision(tmp_path):
    output = tmp_path / "out"
    table = make_run(output, 1, protocols=("leak-free",), classes=("cat", "dog", "eel"))
    (output / FILES[1]).write_text("of an earlier run")
    assert [path.name for path in write_calibration(table, output)] == [FILES[0], FILES[2]]
    assert not (output / FILES[1]).exists()
    line = read_lines(output).iloc[0]
    assert line[["positive_class", "sensitivity_asked", "sensitivity", "ppv", "true_positives"]].isna().all()
    assert line["nll_after"] < line["nll_before"]
