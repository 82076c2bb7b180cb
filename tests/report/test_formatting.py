"""What all tables and pages share and no table of the tests has."""

from __future__ import annotations

import numpy as np
import pandas as pd
from made_up_run import PHANTOM, RUN

from mmdc_tf.report.formatting import interval, markdown_text, write_csv


def test_a_csv_keeps_what_is_no_number_and_leaves_its_table_as_it_was(tmp_path):
    results = pd.DataFrame({"label": ["A, B", "C"], "n": [3, 4], "auc": [2 / 3, np.nan], "accuracy": [200 / 3, 5.0]})
    results["kappa"] = np.nan
    write_csv(results, RUN, tmp_path / "lines.csv")
    expected = f'label,n,auc,accuracy,kappa\n"A, B ({PHANTOM})",3,0.667,66.67,\nC ({PHANTOM}),4,,5.00,\n'
    assert (tmp_path / "lines.csv").read_text() == expected
    assert results["auc"].iloc[0] == 2 / 3


def test_markdown_shows_a_name_as_it_is():
    assert markdown_text(r"a|b*c`d<e\f") == r"a\|b\*c\`d\<e\\f"


def test_a_number_that_is_not_defined_has_no_cell_and_one_without_limits_no_brackets():
    line = {"auc": 0.5, "auc_ci_low": np.nan, "auc_ci_high": 0.75}
    assert interval(line, "auc", 1) == "0.500"
    assert interval({**line, "auc": np.nan}, "auc") == ""
