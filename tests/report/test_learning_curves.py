"""Learning curves: each training's own line, and their mean over those that came so far."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_run import PHANTOM, RUN, made_up_table, write_row, write_run_file

from mmdc_tf.experiments.rows import Row
from mmdc_tf.report.learning_curves import TRAINING, VALIDATION, learning_figure, row_histories

HEADER = "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate"
HISTORIES = (
    ["1,1.2,0.3,1.4,0.2,0.1", "2,0.8,0.5,1.0,0.4,0.1", "3,0.4,0.9,0.9,0.6,0.1"],
    ["1,1.0,0.5,1.2,0.4,0.1", "2,0.6,0.7,1.1,0.2,0.1"],
)
TABLE = made_up_table("alpha", "beta")
TABLE = replace(TABLE, rows=(*TABLE.rows, Row("probe", "Probe", "here", classifier="any")))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Alpha stopped early in its second fold; beta is not finished; the probe is no network."""
    folder = tmp_path / "table2"
    write_run_file(folder)
    for row in ("alpha", "beta", "probe"):
        status = {"status": "running"} if row == "beta" else None
        write_row(folder, row, ["10", "01"], status=status)
        for fold, lines in enumerate(HISTORIES):
            place = folder / row / "leak-free" / f"fold{fold}-seed0"
            (place / "history.csv").write_text("\n".join([HEADER, *lines]))
    return folder


def lines_of(axes, colour: str) -> list[list[float]]:
    return [list(line.get_ydata()) for line in axes.lines if line.get_color() == colour]


def test_lines_are_the_histories_and_their_mean(folder):
    rows = row_histories(TABLE, "leak-free", folder)
    assert [one.row.name for one in rows] == ["alpha"]
    loss, accuracy = learning_figure(TABLE, rows, RUN, "leak-free").axes
    first, second, mean = lines_of(loss, TRAINING)
    assert (first, second) == ([1.2, 0.8, 0.4], [1.0, 0.6])
    np.testing.assert_allclose(mean, [1.1, 0.7, 0.4])
    np.testing.assert_allclose(lines_of(accuracy, VALIDATION)[-1], [30, 30, 60])
    assert list(loss.lines[2].get_xdata()) == [1, 2, 3]
    assert loss.get_title(loc="left").splitlines() == ["Alpha", "here", "2 trainings"]


def test_each_protocol_says_what_its_validation_part_is(folder):
    rows = row_histories(TABLE, "leak-free", folder)
    for protocol, words in (("paper", "the validation images are the scored ones"), ("leak-free", "has no part in it")):
        figure = learning_figure(TABLE, rows, RUN, protocol)
        said = " ".join(text.get_text() for part in figure.subfigs for text in part.texts).replace("\n", " ")
        assert words in said
        assert PHANTOM in said


def test_a_protocol_without_trainings_has_none(folder):
    assert row_histories(TABLE, "paper", folder) == []


def test_the_panels_of_one_line_are_equally_high(folder):
    """Five panels: nothing stands below the fourth, and nothing beside the fifth."""
    figure = learning_figure(TABLE, row_histories(TABLE, "leak-free", folder) * 5, RUN, "leak-free")
    figure.draw_without_rendering()
    for row in (0, 1):  # losses, accuracies
        heights = [axes.get_window_extent().height for axes in figure.axes[row::2][:4]]
        assert max(heights) == pytest.approx(min(heights), rel=0.01)
        assert min(heights) > 50  # pixels
