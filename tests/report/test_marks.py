"""Which rows of a table are marked as not distinguishable from the best one."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_up_run import write_row, write_run_file

from mmdc_tf.experiments.rows import load_table
from mmdc_tf.report import marks
from mmdc_tf.report.tables import write_tables

MARK = "≈"
# Of 2 × 20 samples in 20 groups of two, all right but: two of one group, all of one fold. Worked by hand below.
PERFECT, NEAR, FAR = ["1" * 20, "1" * 20], ["1" * 20, "1" * 18 + "00"], ["1" * 20, "0" * 20]


def written(output: Path, *rows: str, **changes) -> pd.DataFrame:
    """The lines of the CSV by row and protocol, of a table that has these rows only."""
    table = load_table("table2")
    write_run_file(output / "table2", **changes)
    write_tables(replace(table, rows=tuple(row for row in table.rows if row.name in rows)), output)
    lines = pd.read_csv(output / "table2.csv", keep_default_na=False)
    assert lines.columns[-1] == "distinguishable_from_best"
    return lines.set_index(["row", "protocol"])


def verdicts(lines: pd.DataFrame) -> dict[str, str]:
    assert set(lines.xs("paper", level="protocol")["distinguishable_from_best"]) <= {""}
    return lines.xs("leak-free", level="protocol")["distinguishable_from_best"].to_dict()


@pytest.fixture
def output(tmp_path) -> Path:
    """The best row; one that differs in two samples: p = 1/2; one that differs in twenty: p = 2⁻¹⁹, interval −1/2."""
    write_row(tmp_path / "table2", "densenet201", PERFECT)
    write_row(tmp_path / "table2", "vgg16", NEAR)
    write_row(tmp_path / "table2", "efficientnetb0", FAR)
    return tmp_path


def test_each_finished_row_is_compared_with_the_best(output):
    lines = written(output, "densenet201", "vgg16", "efficientnetb0", "mmdcnet_alpha")
    assert verdicts(lines) == {
        "densenet201": "best",
        "vgg16": "no",
        "efficientnetb0": "yes",
        "mmdcnet_alpha": "",
    }


@pytest.mark.parametrize(("suffix", "mark"), [("md", MARK), ("tex", r"$\approx$")])
def test_the_mark_stands_behind_the_leak_free_accuracy_and_is_explained(output, suffix, mark):
    written(output, "densenet201", "vgg16", "efficientnetb0")
    text = (output / f"table2.{suffix}").read_text(encoding="utf-8")
    body = [line for line in text.splitlines() if line.startswith(("VGG16", "DenseNet201", "EfficientNetB0", "| "))]
    marked = [line for line in body if mark in line and "legend" not in line]
    assert len(marked) == 1
    assert "VGG16" in marked[0]
    assert f") {mark} " in marked[0]
    tests = "McNemar's exact test, Holm-corrected, and the bootstrap interval of the difference over groups; 5"
    explained = f"{mark}: not distinguishable from the best row ({tests}"
    assert text.count(explained) == 1


def test_one_finished_row_has_nothing_to_be_compared_with(tmp_path):
    write_row(tmp_path / "table2", "vgg16", NEAR)
    write_row(tmp_path / "table2", "densenet201", PERFECT, status={"status": "running"})
    assert set(verdicts(written(tmp_path, "vgg16", "densenet201")).values()) == {""}
    for suffix in ("md", "tex"):
        text = (tmp_path / f"table2.{suffix}").read_text(encoding="utf-8")
        assert MARK not in text
        assert "approx" not in text


def test_of_equal_rows_the_first_is_the_best_and_the_other_like_it(tmp_path):
    for row in ("vgg16", "densenet201"):
        write_row(tmp_path / "table2", row, NEAR)
    assert verdicts(written(tmp_path, "vgg16", "densenet201")) == {"densenet201": "best", "vgg16": "no"}


def test_a_row_with_other_seeds_is_not_compared_and_named(output):
    write_row(output / "table2", "vgg16_atten", FAR, seed=1)
    assert verdicts(written(output, "densenet201", "vgg16", "vgg16_atten"))["vgg16_atten"] == ""
    text = (output / "table2.md").read_text(encoding="utf-8")
    assert "Not scored on the samples, folds and seeds of the best row: vgg16_atten." in text


def test_rows_are_compared_again_only_where_leak_free_predictions_have_changed(output, monkeypatch):
    names = ("densenet201", "vgg16", "efficientnetb0")
    before = verdicts(written(output, *names))
    assert before["vgg16"] == "no"
    with monkeypatch.context() as patch:
        patch.setattr(marks, "compare_in_folder", lambda *_, **__: pytest.fail("compared again"))
        write_row(output / "table2", "vgg16", NEAR[:1], protocol="paper")
        assert verdicts(written(output, *names)) == before
    place = output / "table2/vgg16/leak-free/fold1-seed0/predictions.csv"
    shutil.copy(output / "table2/efficientnetb0/leak-free/fold1-seed0/predictions.csv", place)
    os.utime(place, ns=(1, 1))  # a new time, however coarse the clock of the file system
    assert verdicts(written(output, *names)) == {**before, "vgg16": "yes"}


def test_the_papers_protocol_marks_nothing(tmp_path):
    for row, right in (("vgg16", NEAR), ("densenet201", PERFECT)):
        write_row(tmp_path / "table2", row, right[:1], protocol="paper")
    lines = written(tmp_path, "vgg16", "densenet201")
    assert set(lines["status"]) == {"ok", "not run"}
    assert set(lines["distinguishable_from_best"]) == {""}
