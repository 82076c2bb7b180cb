"""The figures: what stands in the tables and predictions files is what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_run import PHANTOM, RUN, made_up_table, write_row, write_run_file
from sklearn.metrics import average_precision_score, roc_auc_score

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.evaluation.metrics import METRICS
from mmdc_tf.experiments.run_folder import row_predictions
from mmdc_tf.report.curves import OVERVIEWS, confusion_figure, overview, row_figure
from mmdc_tf.report.figures import BLUE, OURS, PUBLISHED, bars, dot_plot, write_png

TABLE = made_up_table("alpha", "beta", "gamma")
NUMBERS = {"alpha": (91.0, 60.0, 40.0), "beta": (np.nan, 55.0, np.nan), "gamma": (70.0, np.nan, np.nan)}
FOLDS = ["1101", "0011"]
"""Truths abab twice; right answers: 1, 1, 0, 1 and 0, 0, 1, 1."""
NAMED = {**RUN, "class_names": ["benign", "cancer", "normal"]}


@pytest.fixture
def results() -> pd.DataFrame:
    """Gamma has not run, beta has no published number and no leak-free result."""
    lines = []
    for row, (published, *ours) in NUMBERS.items():
        for protocol, value in zip(("paper", "leak-free"), ours, strict=True):
            status = "ok" if np.isfinite(value) else "not run"
            line = {"row": row, "label": row.title(), "citation": "here", "protocol": protocol, "status": status}
            for place, name in enumerate(METRICS):
                line |= {name: value + place, f"{name}_ci_low": value - 9, f"{name}_ci_high": value + 5 + place}
            lines.append({**line, "paper_accuracy": published})
    return pd.DataFrame(lines)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Alpha is finished under both protocols, beta leak-free alone."""
    folder = tmp_path_factory.mktemp("run") / "table2"
    write_run_file(folder)
    write_row(folder, "alpha", FOLDS)
    write_row(folder, "alpha", ["1111"], protocol="paper")
    write_row(folder, "beta", FOLDS)
    return folder


@pytest.fixture
def scored(folder) -> list:
    return [(row, row_predictions(folder, row.name, "leak-free")) for row in TABLE.rows[:2]]


def said(figure) -> str:
    return f"{figure.get_suptitle()} {figure.get_supxlabel()}".replace("\n", " ")


def drawn(figure, colour: str) -> list[tuple[float, float]]:
    """The points of one colour, from the top."""
    points = [line for line in figure.axes[0].lines if line.get_color() == colour and len(line.get_xdata()) == 1]
    places = [(float(line.get_xdata()[0]), round(float(line.get_ydata()[0]), 6)) for line in points]
    return sorted((place for place in places if np.isfinite(place[0])), key=lambda place: place[1])


def test_the_dot_plot_is_the_tables_numbers(results):
    figure = dot_plot(TABLE, results, RUN)
    (axes,) = figure.axes
    assert drawn(figure, PUBLISHED) == [(91.0, 0)]
    assert drawn(figure, OURS["paper"][0]) == [(60.0, -0.15), (55.0, 0.85)]
    assert drawn(figure, OURS["leak-free"][0]) == [(40.0, 0.15)]
    ends = [tuple(part[:, 0]) for lines in axes.collections for part in lines.get_segments()]
    assert ends == [(51.0, 65.0), (31.0, 45.0), (46.0, 60.0)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Alpha\nhere", "Beta\nhere"]
    assert axes.yaxis_inverted()  # the first stands at the top


def test_bars_and_whiskers_are_the_tables_numbers(results):
    panels = bars(TABLE, results, NAMED).axes
    assert [axes.get_title(loc="left").split(":")[0] for axes in panels] == ["Paper protocol", "Leak-free"]
    for axes, protocol in zip(panels, ("paper", "leak-free"), strict=True):
        lines = results[(results["protocol"] == protocol) & (results["status"] == "ok")]
        heights = np.array([[bar.get_height() for bar in container] for container in axes.containers])
        np.testing.assert_allclose(heights, lines[list(METRICS)].to_numpy().T)
        assert [label.get_text() for label in axes.get_xticklabels()] == lines["label"].tolist()
        for whiskers, metric in zip(axes.collections, METRICS, strict=True):
            ends = np.array([[segment[0, 1], segment[1, 1]] for segment in whiskers.get_segments()])
            np.testing.assert_allclose(ends, lines[[f"{metric}_ci_low", f"{metric}_ci_high"]])
    bars(TABLE, results.assign(status="not run"), NAMED)  # before any result it is empty


def test_a_phantom_is_called_one_and_real_data_are_not(results, scored):
    row, predictions = scored[0]
    real = {**NAMED, "synthetic": False}
    for run, has in ((NAMED, True), (real, False)):
        of_results = [dot_plot(TABLE, results, run), bars(TABLE, results, run)]
        of_rows = [row_figure(row, {"paper": predictions}, run), overview("roc", TABLE, scored, run, "leak-free")]
        for figure in (*of_results, *of_rows):
            assert (PHANTOM in said(figure)) == has
            assert "Research use only, not a medical device." in said(figure)
    assert "The published numbers are of real data, ours are not." in said(dot_plot(TABLE, results, NAMED))
    assert "ours are not" not in said(dot_plot(TABLE, results, real))


def numbers(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def luminance(colour: Sequence[float]) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def guesses(pairs: dict[tuple[str, str], int]) -> pd.DataFrame:
    """So many predictions of each truth and guess, of the classes a, b and c."""
    lines = [pair for pair, count in pairs.items() for _ in range(count)]
    return pd.DataFrame(lines, columns=["y_true", "y_pred"]).assign(p_a=0.5, p_b=0.3, p_c=0.2)


def test_a_confusion_matrix_has_counts_and_shares_that_can_be_read():
    """A class without samples is a line of zeros. WCAG asks for a contrast of 4.5 between a text and its ground."""
    cells = {("a", "a"): 11, ("a", "b"): 9, ("b", "b"): 1}
    (axes,) = confusion_figure(guesses(cells), "a title").axes
    zero = "0\n0 %"
    assert numbers(axes) == ["11\n55 %", "9\n45 %", zero, zero, "1\n100 %", zero, zero, zero, zero]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("prediction", "truth", "a title")
    image = axes.images[0]
    for text, share in zip(axes.texts, np.ravel(image.get_array()), strict=True):
        pair = (luminance(image.cmap(image.norm(share))[:3]), {"white": 1.0, "black": 0.0}[text.get_color()])
        assert (max(pair) + 0.05) / (min(pair) + 0.05) > 4.5, share


def test_overviews_pool_the_folds_and_agree_with_scikit_learn(scored):
    # truth a: right 1, 0 then 0, 1; truth b: right 1, 1 then 0, 1
    matrices = overview("confusion", TABLE, scored, RUN, "leak-free")
    assert [numbers(axes) for axes in matrices.axes] == [["2\n50 %", "2\n50 %", "1\n25 %", "3\n75 %"]] * 2
    assert matrices.get_suptitle() == "Table II: mammography: confusion matrices, leak-free"
    table = scored[1][1]
    for kind, score, word in (("roc", roc_auc_score, "AUC"), ("precision-recall", average_precision_score, "AP")):
        axes = overview(kind, TABLE, scored, RUN, "leak-free").axes[1]
        expected = [f"{name} ({word} = {score(table['y_true'] == name, table[f'p_{name}']):.2f})" for name in "ab"]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == expected
        assert axes.get_title(loc="left").splitlines() == ["Beta", "here"]
    # two probabilities, 0.75 and 0.25: at 0.75 of a, 2 of 4 a and 1 of 4 b are called a; above it there is none
    first = overview("roc", TABLE, scored, RUN, "leak-free").axes[0].lines[0]
    np.testing.assert_allclose(first.get_xydata(), [(0, 0), (0.25, 0.5), (1, 1)])


def test_a_class_that_all_or_no_samples_have_has_no_curve(scored):
    row, table = scored[0]
    alone = overview("roc", TABLE, [(row, table.assign(y_true="a"))], RUN, "leak-free")
    assert len(alone.axes[0].lines) == 1  # a guess


def test_a_row_alone_has_a_line_a_protocol(folder):
    parts = {name: row_predictions(folder, "alpha", name) for name in ("paper", "leak-free")}
    figure = row_figure(TABLE.rows[0], parts, RUN)
    titles = [axes.get_title(loc="left") for axes in figure.axes[::3]]
    assert titles == ["Paper protocol: n = 4", "Leak-free: n = 8"]
    labels = [text.get_text() for text in figure.axes[4].get_legend().get_texts()]
    assert labels == ["a (AUC = 0.62)", "b (AUC = 0.62)"]  # (1 − 0.25 + 0.5) / 2
    assert said(figure).startswith("Alpha, here ")


HISTORIES = [
    pd.DataFrame({"epoch": [1, 2, 3], "loss": [1.2, 0.8, 0.4], "accuracy": [0.3, 0.5, 0.9]}),
    pd.DataFrame({"epoch": [1, 2], "loss": [1.0, 0.6], "accuracy": [0.5, 0.7]}),
]
HISTORIES = [one.assign(val_loss=one["loss"] + 0.2, val_accuracy=one["accuracy"] - 0.1) for one in HISTORIES]


def test_learning_curves_are_each_training_and_their_mean_and_say_what_validation_is():
    """The second training stopped early: the mean is over those that came so far."""
    rows = [(TABLE.rows[0], HISTORIES)]
    loss, accuracy = overview("learning", TABLE, rows, RUN, "leak-free").axes
    first, second, mean = loss.lines[:3]
    assert (list(first.get_ydata()), list(second.get_ydata())) == ([1.2, 0.8, 0.4], [1.0, 0.6])
    np.testing.assert_allclose(mean.get_xydata(), [(1, 1.1), (2, 0.7), (3, 0.4)])
    blue = [line for line in accuracy.lines if line.get_color() == BLUE]
    np.testing.assert_allclose(blue[-1].get_ydata(), [30, 50, 80])
    assert loss.get_title(loc="left").splitlines() == ["Alpha", "here", "2 trainings"]
    for protocol, words in (("paper", "the validation images are the scored ones"), ("leak-free", "has no part in it")):
        assert words in said(overview("learning", TABLE, rows, RUN, protocol))


@pytest.mark.parametrize(("kind", "count"), [("confusion", 5), ("roc", 1), ("learning", 5)])
def test_no_text_is_cut_and_none_lies_on_another(scored, tmp_path, kind, count):
    """In the file as it is written. Names are no formulas: a dollar or a brace does not stop the drawing."""
    row = replace(scored[0][0], label="$x^ {y}", citation="A long name of many authors, in a journal, 2024 [26]")
    data = HISTORIES if kind == "learning" else scored[0][1]
    figure = overview(kind, TABLE, [(row, data)] * count, RUN, "leak-free")
    write_png(figure, tmp_path / "figure.png")
    assert len(np.unique(cv2.imread(str(tmp_path / "figure.png")).reshape(-1, 3), axis=0)) > 50
    width, height = figure.canvas.get_width_height()
    heads = [axes._left_title for axes in figure.axes if axes._left_title.get_text()]
    boxes = [text.get_window_extent() for text in (*heads, *figure.legends, figure._supxlabel, figure._suptitle)]
    boxes = [box for box in boxes if box.width > 1]
    assert len(boxes) == count + 2
    for index, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
    per_panel = len(OVERVIEWS[kind].heights)
    heights = [axes.get_window_extent().height for axes in figure.axes[::per_panel][:4]]
    assert max(heights) == pytest.approx(min(heights), rel=0.01) and min(heights) > 50  # pixels
