"""The reporting checklist: what a run knows is filled in with its file, the rest is left to the author."""

from __future__ import annotations

import pandas as pd
import pytest

from mmdc_tf.cli import main
from mmdc_tf.report.checklist import AUTHOR, _failures


@pytest.fixture
def checklist(tmp_path, small_phantoms) -> pd.DataFrame:
    options = ["--table", "2", "--rows", "metadata_only", "--folds", "2", "--output", str(tmp_path)]
    assert main(["run", *options]) == 0
    assert ". CLAIM 2024: " in (tmp_path / "checklist.md").read_text(encoding="utf-8")
    found = pd.read_csv(tmp_path / "checklist.csv", dtype=str)
    assert set(found["table"]) == {"table2"}
    return found.set_index(["norm", "item"])["filled_from"]


def test_what_the_run_knows_is_filled_in_and_nothing_is_invented(checklist):
    assert len(checklist["CLAIM 2024"]) == 44  # items of CLAIM 2024
    assert len({item.rstrip("abcdefg") for item in checklist["TRIPOD+AI"].index}) == 27  # items of TRIPOD+AI
    assert len(checklist["METRICS"]) == 30  # items of METRICS
    assert checklist["METRICS", "25"] == "table2.csv: Age and density alone"
    assert "48 images (16 " in checklist["CLAIM 2024", "21"] and "12 groups" in checklist["CLAIM 2024", "21"]
    assert checklist["CLAIM 2024", "20"] == "run.json: patient, under leak-free alone"
    assert "Age and density alone, leak-free, accuracy " in checklist["CLAIM 2024", "37"]
    for item in ("5", "8", "14", "34", "44"):  # nobody can know them from a run
        assert checklist["CLAIM 2024", item] == AUTHOR
    assert checklist["CLAIM 2024", "33"] == AUTHOR  # nothing was evaluated externally


def test_the_worst_are_those_whose_true_class_got_the_least():
    table = pd.DataFrame({"y_true": ["a"] * 3 + ["b"], "y_pred": ["a", "b", "a", "a"]})
    table["p_a"], table["p_b"] = [0.9, 0.3, 0.8, 0.99], [0.1, 0.7, 0.2, 0.01]
    assert _failures(table) == "of the worst 1%, 1 image: 1 b taken for a"
