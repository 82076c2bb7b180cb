"""The numbers of a run as tables for HTML: the same as in the Markdown, and nothing in them is markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from made_up_run import RUN, made_up_table, write_row, write_run_file

from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import Row
from mmdc_tf.report.html_tables import four_numbers_grid, main_grid, statistics_grid
from mmdc_tf.report.tables import EXTRA, header

EVIL = "Net <b> & co"
ALPHA = Row("alpha", EVIL, "here", (91.0, 90.0, 89.0, 88.0), model="any", notes=("a <i> note",))
PROBE = Row("probe", "Probe", "here", classifier="any", extra=True)
TABLE = replace(made_up_table("beta"), rows=(ALPHA, *made_up_table("beta").rows, PROBE))


@pytest.fixture
def results(tmp_path) -> pd.DataFrame:
    """Alpha: 3 of 4 right under paper, 4 of 8 leak-free; the probe: 1 of 4, and 6 of 8; beta did not run."""
    folder: Path = tmp_path / "table2"
    write_run_file(folder)
    write_row(folder, "alpha", ["1110"], protocol="paper")
    write_row(folder, "alpha", ["1100", "1010"])
    write_row(folder, "probe", ["1000"], protocol="paper")
    write_row(folder, "probe", ["1110", "0111"])
    return table_results(TABLE, folder)


def test_cells_are_those_of_the_markdown_and_escaped(results):
    grid, below = main_grid(TABLE, results, RUN)
    assert grid.header == header(results)
    alpha, between, probe = grid.lines
    assert alpha[0].startswith("Net &lt;b&gt; &amp; co [")
    assert alpha[2] == "<b>91.00</b>"
    assert alpha[3] == "<b>75.00</b>"
    assert str(alpha[4]).startswith("50.00 ± 0.00 (")
    assert alpha[5] == "-25.00"
    assert below[0] == "Not run: 1 other row; table2.md has the published numbers."
    assert between == (EXTRA,)
    assert probe[2] == ""
    assert "<b>75.00</b>" in probe[4].replace(" ± 0.00 (50.00–100.00)", "")
    assert any(line.endswith("a <i> note") for line in below)  # escaped by the page


def test_the_reason_of_a_failure_is_short_and_plain(tmp_path):
    folder = tmp_path / "table2"
    write_run_file(folder)
    error = f"ValueError: \x1b[1mno <b>\x1b[0m {'way ' * 99}"
    write_row(folder, "beta", ["10"], status={"status": "failed", "error": error, "seconds": 1.0})
    (grid, _) = main_grid(TABLE, table_results(TABLE, folder), RUN)
    cell = grid.lines[0][4]
    assert cell.startswith('<span class="reason">failed: ValueError: no &lt;b&gt; way way')
    assert cell.endswith("way …</span>")
    assert len(cell) < 230
    assert cell.isprintable()


def test_the_four_numbers_of_finished_rows(results):
    """Alpha under paper, truths abab, guesses abaa: precision (2/3 + 1)/2, recall (1 + 1/2)/2, F1 (4/5 + 2/3)/2."""
    grid = four_numbers_grid(results)
    assert grid.header[2:5] == ("Accuracy: published", "Accuracy: paper protocol", "Accuracy: leak-free")
    assert [line[0] for line in grid.lines] == [EVIL, "Probe"]
    alpha, probe = grid.lines
    assert [cell.split(" ")[0] for cell in alpha[2:]][0::3] == ["91.00", "90.00", "89.00", "88.00"]
    assert [cell.split(" ")[0] for cell in alpha[2:]][1::3] == ["75.00", "83.33", "75.00", "73.33"]
    assert all(cell.endswith(")") for cell in (*alpha[3::3], *alpha[4::3]))
    assert probe[2::3] == ("–",) * 4


def test_other_numbers_are_a_line_a_row_and_protocol(results):
    grid = statistics_grid(results)
    assert grid.words == 3
    assert [line[:3] for line in grid.lines] == [
        (name, "here", protocol) for name in (EVIL, "Probe") for protocol in ("paper protocol", "leak-free")
    ]
    assert grid.lines[0][5].split(" ")[0] == "0.500"  # kappa: (3/4 − 1/2) / (1 − 1/2)


def test_before_any_result_there_are_no_numbers(tmp_path):
    results = table_results(TABLE, tmp_path)
    assert four_numbers_grid(results).lines == statistics_grid(results).lines == ()
