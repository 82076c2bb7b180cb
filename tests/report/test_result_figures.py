"""Confusion matrices and curves: what is drawn is what the predictions say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up_run import PHANTOM, RUN, made_up_table, write_row, write_run_file
from sklearn.metrics import average_precision_score, roc_auc_score

from mmdc_tf.report.result_figures import (
    RowPredictions,
    confusion_figure,
    confusion_overview,
    finished_predictions,
    precision_recall_overview,
    roc_overview,
    row_figure,
)

TABLE = made_up_table("alpha", "beta", "gamma")
FOLDS = ["1101", "0011"]
"""Truths abab twice; right answers: 1, 1, 0, 1 and 0, 0, 1, 1."""


@pytest.fixture
def folder(tmp_path) -> Path:
    """Alpha is finished under both protocols, beta leak-free alone, gamma is not."""
    folder = tmp_path / "table2"
    write_run_file(folder)
    write_row(folder, "alpha", FOLDS)
    write_row(folder, "alpha", ["1111"], protocol="paper")
    write_row(folder, "beta", FOLDS)
    write_row(folder, "gamma", FOLDS, status={"status": "running"})
    return folder


@pytest.fixture
def rows(folder) -> list[RowPredictions]:
    return finished_predictions(TABLE, "leak-free", folder)


def numbers(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_counts_and_shares_of_each_line():
    figure = confusion_figure(np.array([[30, 10], [0, 7]]), ["benign", "cancer"], "a title")
    (axes,) = figure.axes
    assert numbers(axes) == ["30\n75 %", "10\n25 %", "0\n0 %", "7\n100 %"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0.0, 1.0]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["benign", "cancer"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "truth")
    assert axes.get_title(loc="left") == "a title"


def test_dark_cells_have_light_numbers():
    """The darkest and the lightest blue against their text: WCAG asks for a contrast of 4.5."""
    (axes,) = confusion_figure(np.array([[1, 0], [45, 55]]), ["a", "b"], "").axes
    image = axes.images[0]
    for text, share in zip(axes.texts, (1.0, 0.0, 0.45, 0.55), strict=True):
        background = luminance(image.cmap(share)[:3])
        ink = {"white": 1.0, "black": 0.0}[text.get_color()]
        low, high = sorted((background, ink))
        assert (high + 0.05) / (low + 0.05) > 4.5, share


def luminance(colour) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_a_class_without_samples_is_a_line_of_zeros():
    (axes,) = confusion_figure(np.array([[4, 0], [0, 0]]), ["a", "b"], "").axes
    assert numbers(axes) == ["4\n100 %", "0\n0 %", "0\n0 %", "0\n0 %"]


def test_only_finished_rows_and_folds_are_pooled(rows):
    assert [one.row.name for one in rows] == ["alpha", "beta"]
    assert len(rows[0].predictions) == 8
    figure = confusion_overview(TABLE, rows, RUN)
    assert len(figure.axes) == 2
    # truth a: right 1, 0 then 0, 1; truth b: right 1, 1 then 0, 1
    assert numbers(figure.axes[0]) == ["2\n50 %", "2\n50 %", "1\n25 %", "3\n75 %"]
    said = " ".join(text.get_text() for part in figure.subfigs for text in part.texts).replace("\n", " ")
    assert PHANTOM in said
    assert "leak-free" in said


@pytest.mark.parametrize(
    ("overview", "score", "word"),
    [(roc_overview, roc_auc_score, "AUC"), (precision_recall_overview, average_precision_score, "AP")],
)
def test_the_numbers_beside_the_curves_are_scikit_learns(rows, overview, score, word):
    table = rows[1].predictions
    scores = [score(table["y_true"] == name, table[f"p_{name}"]) for name in "ab"]
    axes = overview(TABLE, rows, RUN).axes[1]
    expected = f"{word} a {scores[0]:.2f}, b {scores[1]:.2f}"
    assert axes.get_title(loc="left").splitlines() == ["Beta", "here", expected]
    named = [line.get_label() for line in axes.lines if not line.get_label().startswith("_")]
    assert named == ["a", "b"]


def test_curves_hold_each_threshold(rows):
    """Two probabilities, 0.75 and 0.25: at 0.75 of a, 2 of 4 a and 1 of 4 b are called a; above it there is none."""
    first = roc_overview(TABLE, rows, RUN).axes[0].lines[0]
    np.testing.assert_allclose(first.get_xydata(), [(0, 0), (0.25, 0.5), (1, 1)])
    first = precision_recall_overview(TABLE, rows, RUN).axes[0].lines[0]
    np.testing.assert_allclose(first.get_xydata(), [(1, 0.5), (0.5, 2 / 3), (0, 2 / 3)])


def test_a_row_alone_has_a_line_a_protocol(folder):
    parts = [part for name in ("paper", "leak-free") for part in finished_predictions(TABLE, name, folder)[:1]]
    figure = row_figure(parts, RUN)
    assert len(figure.axes) == 6
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    for line in (boxes[:3], boxes[3:]):  # the panels of a protocol are equally high, and side by side
        assert max(box.y0 for box in line) - min(box.y0 for box in line) < 3  # pixels
        assert max(box.height for box in line) == pytest.approx(min(box.height for box in line), rel=0.02)
    titles = [axes.get_title(loc="left") for axes in figure.axes[::3]]
    assert titles == ["Paper protocol: n = 4", "Leak-free: n = 8"]
    labels = [text.get_text() for text in figure.axes[4].get_legend().get_texts()]
    assert labels == ["a: AUC 0.625", "b: AUC 0.625"]  # (1 − 0.25 + 0.5) / 2
    said = " ".join(text.get_text() for part in figure.subfigs for text in part.texts)
    assert said.startswith("Alpha, here ")
    assert PHANTOM in said
    assert len(row_figure(parts[:1], RUN).axes) == 3
