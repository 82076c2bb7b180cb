"""The bars of Fig. 3: what stands in the table is what is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.evaluation.metrics import METRICS
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.report.figures import bars, draw_bars

RUN = {
    "dataset": "phantom-mammogram",
    "dataset_fingerprint": "0123456789abcdef",
    "synthetic": True,
    "group_unit": "patient",
    "class_names": ["benign", "cancer", "normal"],
    "preprocessing": "paper",
    "folds": 2,
    "training": {"image_size": 64, "epochs": 4},
    "weights": "none",
    "seed": 0,
}
ROWS = ("m1", "m2", "m3")
TABLE = PaperTable(
    "figure3",
    "Fig. 3: ablation",
    "mini-ddsm",
    "mammography",
    "phantom-mammogram",
    tuple(Row(name, name.upper(), "the paper", model="any") for name in ROWS),
)


@pytest.fixture
def results() -> pd.DataFrame:
    """M3 has no leak-free result."""
    rng = np.random.default_rng(0)
    lines = []
    for row in ROWS:
        for protocol in ("paper", "leak-free"):
            line = {"row": row, "label": row.upper(), "protocol": protocol, "status": "ok"}
            for metric in METRICS:
                value = rng.uniform(30, 80)
                line |= {metric: value, f"{metric}_ci_low": value - 9, f"{metric}_ci_high": value + 5}
            lines.append(line)
    lines[-1]["status"] = "not run"
    return pd.DataFrame(lines)


def panel_heights(axes) -> np.ndarray:
    """(metrics, rows), in the order of drawing."""
    return np.array([[bar.get_height() for bar in container] for container in axes.containers])


def test_bars_and_whiskers_are_the_tables_numbers(results):
    panels = bars(TABLE, results, RUN).axes
    for axes, protocol, count in zip(panels, ("paper", "leak-free"), (3, 2), strict=True):
        lines = results[(results["protocol"] == protocol) & (results["status"] == "ok")]
        np.testing.assert_allclose(panel_heights(axes), lines[list(METRICS)].to_numpy().T)
        assert [label.get_text() for label in axes.get_xticklabels()] == [name.upper() for name in ROWS[:count]]
        for whiskers, metric in zip(axes.collections, METRICS, strict=True):
            ends = np.array([[segment[0, 1], segment[1, 1]] for segment in whiskers.get_segments()])
            np.testing.assert_allclose(ends, lines[[f"{metric}_ci_low", f"{metric}_ci_high"]])


def test_the_protocols_are_named_and_a_phantom_is_called_one(results):
    figure = bars(TABLE, results, RUN)
    assert [axes.get_title(loc="left").split(":")[0] for axes in figure.axes] == ["Paper protocol", "Leak-free"]
    caption = figure.get_supxlabel().replace("\n", " ")
    assert "phantom: not a reproduction" in caption
    assert "Research use only, not a medical device." in caption


def test_it_is_written_as_one_png_and_nothing_else(results, tmp_path: Path):
    draw_bars(TABLE, results, RUN, tmp_path / "figure3.png")
    assert [path.name for path in tmp_path.iterdir()] == ["figure3.png"]
    image = cv2.imread(str(tmp_path / "figure3.png"))
    assert image.shape == (1200, 1650, 3)
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100


def test_before_any_result_it_is_drawn_empty(results, tmp_path: Path):
    draw_bars(TABLE, results.assign(status="not run"), RUN, tmp_path / "figure3.png")
    assert (tmp_path / "figure3.png").stat().st_size > 1000
