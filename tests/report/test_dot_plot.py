"""The dot plot: what stands in the table is what is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_run import PHANTOM, RUN, made_up_table

from mmdc_tf.report.dot_plot import OURS, PUBLISHED, SHIFT, dot_plot

TABLE = made_up_table("alpha", "beta", "gamma")
NUMBERS = {"alpha": (91.0, 60.0, 40.0), "beta": (np.nan, 55.0, np.nan), "gamma": (70.0, np.nan, np.nan)}


@pytest.fixture
def results() -> pd.DataFrame:
    """Gamma has not run, beta has no published number and no leak-free result."""
    lines = []
    for row, (published, *ours) in NUMBERS.items():
        for protocol, value in zip(("paper", "leak-free"), ours, strict=True):
            status = "ok" if np.isfinite(value) else "not run"
            line = {"row": row, "label": row.title(), "citation": "here", "protocol": protocol, "status": status}
            line |= {"accuracy": value, "accuracy_ci_low": value - 9, "accuracy_ci_high": value + 5}
            lines.append({**line, "paper_accuracy": published})
    return pd.DataFrame(lines)


def drawn(figure, colour: str) -> list[tuple[float, float]]:
    """The points of one colour, from the top."""
    (axes,) = figure.axes
    points = [line for line in axes.lines if line.get_color() == colour and len(line.get_xdata()) == 1]
    return sorted(((line.get_xdata()[0], line.get_ydata()[0]) for line in points), key=lambda point: point[1])


def finite(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [point for point in points if np.isfinite(point[0])]


def test_points_and_lines_are_the_tables_numbers(results):
    figure = dot_plot(TABLE, results, RUN)
    assert finite(drawn(figure, PUBLISHED)) == [(91.0, 0)]
    assert finite(drawn(figure, OURS["paper"][0])) == [(60.0, -SHIFT), (55.0, 1 - SHIFT)]
    assert finite(drawn(figure, OURS["leak-free"][0])) == [(40.0, SHIFT)]
    ends = [tuple(part[:, 0]) for lines in figure.axes[0].collections for part in lines.get_segments()]
    assert [one for one in ends if np.isfinite(one).all()] == [(51.0, 65.0), (31.0, 45.0), (46.0, 60.0)]


def test_rows_without_a_result_are_left_out_and_the_first_stands_at_the_top(results):
    (axes,) = dot_plot(TABLE, results, RUN).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Alpha\nhere", "Beta\nhere"]
    assert axes.yaxis_inverted()


def texts(figure) -> str:
    return " ".join(text.get_text() for part in figure.subfigs for text in part.texts).replace("\n", " ")


def test_a_phantom_is_called_one_and_real_data_are_not(results):
    said = texts(dot_plot(TABLE, results, RUN))
    assert PHANTOM in said
    assert "The published numbers are of real data, ours are not." in said
    assert "Research use only" in said
    said = texts(dot_plot(TABLE, results, {**RUN, "synthetic": False}))
    assert "phantom:" not in said
    assert "ours are not" not in said
