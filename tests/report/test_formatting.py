"""Units and cells that all tables share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_run import PHANTOM, RUN

from mmdc_tf.experiments.results import COLUMNS, PLAIN_COLUMNS
from mmdc_tf.report.formatting import decimals_of, grid, interval, limits, markdown_text, number, page, write_csv


def test_columns_of_plain_numbers_have_three_decimals_and_percentages_two():
    assert {name for name in COLUMNS if decimals_of(name) == 3} == set(PLAIN_COLUMNS)
    assert [decimals_of(name) for name in ("nll_before", "temperature", "balanced_accuracy_ci_low")] == [3, 3, 2]


def test_a_csv_keeps_what_is_no_number_and_names_a_phantom(tmp_path):
    results = pd.DataFrame({"label": ["A, B", "C"], "n": [3, 4], "auc": [2 / 3, np.nan], "accuracy": [200 / 3, 5.0]})
    results["kappa"] = np.nan
    write_csv(results, RUN, tmp_path / "lines.csv")
    expected = f'label,n,auc,accuracy,kappa\n"A, B ({PHANTOM})",3,0.667,66.67,\nC ({PHANTOM}),4,,5.00,\n'
    assert (tmp_path / "lines.csv").read_text() == expected
    write_csv(results, {**RUN, "synthetic": False}, tmp_path / "lines.csv")
    assert PHANTOM not in (tmp_path / "lines.csv").read_text()
    assert results["auc"].iloc[0] == 2 / 3  # the argument is left as it was


@pytest.mark.parametrize(("low", "high", "text"), [(0.25, 0.75, " (0.250–0.750)"), (np.nan, 0.75, "")])
def test_an_interval_stands_only_where_it_is_known(low, high, text):
    line = {"auc": 0.5, "auc_ci_low": low, "auc_ci_high": high}
    assert limits(line, "auc", 3) == text
    assert interval(line, "auc", 1) == f"0.500{text}"
    assert interval({**line, "auc": np.nan}, "auc") == ""


def test_cells():
    assert (number(66.666), number(2 / 3, 3), number(np.nan)) == ("66.67", "0.667", "")
    assert markdown_text(r"a|b*c`d<e\f") == r"a\|b\*c\`d\<e\\f"
    assert grid(["A", "B", "C"], [["x", "1", "2"]], texts=1) == "| A | B | C |\n| --- | ---: | ---: |\n| x | 1 | 2 |"


def test_a_page_says_what_it_is_made_from():
    head, facts, part, foot = page("Title", RUN, ["part"], ["one", "two"]).split("\n\n")
    assert (head, part, foot) == ("# Title", "part", "one  \ntwo\n")
    assert PHANTOM in facts
    assert "Research use only, not a medical device." in facts
    assert page("Title", {}, []) == "# Title\n\nResearch use only, not a medical device.\n"
