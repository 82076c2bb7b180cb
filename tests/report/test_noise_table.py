"""Accuracy under noise: the table's numbers by hand, and the curves are those of the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_run import RUN, made_up_table

from mmdc_tf.experiments.robustness import CONDITIONS
from mmdc_tf.preprocessing.noise import NOISES
from mmdc_tf.report.noise_figure import noise_curves
from mmdc_tf.report.noise_table import noise_markdown, noise_results, write_noise_table

CLASSES = ("benign", "cancer", "normal")
ROWS = ("first", "second")
TABLE = made_up_table(*ROWS)
COUNT = 10


def right(row: str, fold: int, noise: str, step: int) -> int:
    """How many of ten are right: falls by a step each, jpeg twice as fast; the second fold and row start lower."""
    return 9 - fold - ROWS.index(row) - step * (1 + (noise == "jpeg"))


def predictions(row: str, fold: int, noise: str, step: int) -> pd.DataFrame:
    samples = [f"f{fold}s{number}" for number in range(COUNT)]
    guesses = ["cancer" if number < right(row, fold, noise, step) else "normal" for number in range(COUNT)]
    table = pd.DataFrame({"sample_id": samples, "patient_id": samples, "group_id": samples})
    table = table.assign(fold=fold, seed=0, y_true="cancer", y_pred=guesses)
    table = table.assign(**{f"p_{name}": [float(guess == name) for guess in guesses] for name in CLASSES})
    return table.assign(noise=noise, step=step)


def write_cell(folder: Path, row: str, protocol: str, fold: int) -> None:
    place = folder / row / protocol / f"fold{fold}-seed0"
    place.mkdir(parents=True)
    (place / "status.json").write_text(json.dumps({"status": "ok", "seconds": 1.0}))
    (place / "config.json").write_text(json.dumps({**RUN, "protocol": protocol, "fold": fold, "training_seed": 0}))
    predictions(row, fold, "clean", 0).to_csv(place / "predictions.csv", index=False)
    parts = [predictions(row, fold, noise, step) for noise, step in CONDITIONS]
    pd.concat(parts).to_csv(place / "predictions-noise.csv", index=False)


def write_run(output: Path) -> Path:
    """Both rows under both protocols, but one fold of the second row was not scored with noise."""
    for row in ROWS:
        write_cell(output / "table2", row, "paper", 0)
        for fold in (0, 1):
            write_cell(output / "table2", row, "leak-free", fold)
    (output / "table2/second/leak-free/fold1-seed0/predictions-noise.csv").unlink()
    (output / "table2/run.json").write_text(json.dumps(RUN))
    return output


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return write_run(tmp_path)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> pd.DataFrame:
    return noise_results(TABLE, write_run(tmp_path_factory.mktemp("run")) / "table2")


def test_the_numbers_are_those_by_hand(results):
    found = results[["row", "protocol"]].drop_duplicates().to_numpy().tolist()
    assert found == [["first", "paper"], ["first", "leak-free"], ["second", "paper"]]
    for (row, protocol), part in results.groupby(["row", "protocol"]):
        folds = (0, 1) if protocol == "leak-free" else (0,)
        assert list(zip(part["noise"], part["step"], strict=True)) == list(CONDITIONS)
        expected = [np.mean([10 * right(row, fold, *condition) for fold in folds]) for condition in CONDITIONS]
        np.testing.assert_allclose(part["accuracy"], expected)
        np.testing.assert_allclose(part["difference"].iloc[1:], np.subtract(expected[1:], expected[0]))
        assert np.isnan(part["difference"].iloc[0])
        assert (part["folds"] == len(folds)).all()
        inside = part.iloc[1:]
        assert (inside["difference_ci_low"] <= inside["difference"]).all()
        assert (inside["difference"] <= inside["difference_ci_high"]).all()


def test_levels_stand_beside_their_steps(results):
    blur = results[(results["noise"] == "blur") & (results["protocol"] == "paper") & (results["row"] == "first")]
    assert blur["level"].tolist() == list(NOISES["blur"].levels)
    assert results.loc[results["noise"] == "clean", "level"].isna().all()


def test_the_files_say_what_they_are(output):
    results = write_noise_table(TABLE, output)
    assert sorted(path.name for path in output.glob("table2_noise*")) == [
        "table2_noise.csv",
        "table2_noise.md",
        "table2_noise.png",
    ]
    lines = pd.read_csv(output / "table2_noise.csv")
    assert len(lines) == 3 * 17
    assert lines["label"].str.endswith("(phantom: not a reproduction)").all()
    text = (output / "table2_noise.md").read_text(encoding="utf-8")
    assert text == noise_markdown(TABLE, results, RUN)
    assert "phantom: not a reproduction" in text
    assert "Research use only, not a medical device." in text
    free = text.split("## Leak-free")[1].split("##")[0]
    # leak-free: clean 85, then 75, 65, 55, 45 of each noise, of jpeg 65, 45, 25, 5
    steps = "75.00 | 65.00 | 55.00 | 45.00"
    assert f"| First | here | 85.00 | {steps} | {steps} | {steps} | 65.00 | 45.00 | 25.00 | 5.00 |" in free
    assert "Second" not in free


def test_nothing_is_written_before_anything_is_scored(output):
    for path in output.rglob("predictions-noise.csv"):
        path.unlink()
    assert write_noise_table(TABLE, output).empty
    assert not list(output.glob("table2_noise*"))


def test_the_curves_are_the_tables_numbers(results):
    figure = noise_curves(TABLE, results, RUN)
    assert len(figure.axes) == 8
    for axes, (protocol, noise) in zip(
        figure.axes, [(protocol, noise) for protocol in ("leak-free", "paper") for noise in NOISES], strict=True
    ):
        part = results[(results["protocol"] == protocol) & results["noise"].isin(["clean", noise])]
        rows = list(dict.fromkeys(part["row"]))
        assert len(axes.lines) == len(rows)
        for line, row in zip(axes.lines, rows, strict=True):
            np.testing.assert_allclose(line.get_ydata(), part.loc[part["row"] == row, "accuracy"])
            assert line.get_xdata().tolist() == [0, 1, 2, 3, 4]
            assert line.get_linestyle() == {"leak-free": "-", "paper": "--"}[protocol]
        assert [tick.get_text() for tick in axes.get_xticklabels()] == [
            "clean",
            *(f"{x:g}" for x in NOISES[noise].levels),
        ]
        assert axes.get_xlabel() == NOISES[noise].unit
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["First, here", "Second, here"]
    assert "phantom: not a reproduction" in figure.get_suptitle()


def test_each_of_twenty_rows_has_its_own_look(results):
    one = results.query("row == 'first' and protocol == 'paper'")
    many = pd.concat([one.assign(row=f"row{number}", label=f"Row {number}") for number in range(20)])
    lines = noise_curves(TABLE, many, RUN).axes[0].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 20
