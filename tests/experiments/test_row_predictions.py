"""Reading a run folder: rows, their status, their predictions, and the rows that can be compared."""

from __future__ import annotations

import pytest
from made_up_run import write_row

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.run_folder import compare_in_folder, row_predictions, row_status, rows_in

FAILED = {"status": "failed", "error": "ValueError: no", "seconds": 1.0}


@pytest.fixture
def folder(tmp_path):
    """Two finished rows, one with another seed, one incomplete, one failed, and what is no row."""
    write_row(tmp_path, "one", ["1111", "1100"])
    write_row(tmp_path, "two", ["1100", "0000"])
    write_row(tmp_path, "seeded", ["1111", "1111"], seed=1)
    write_row(tmp_path, "begun", ["1111", "1111"], status={"status": "running"})
    write_row(tmp_path, "broken", ["1111", "1111"], status=FAILED)
    (tmp_path / "notes").mkdir()
    (tmp_path / "run.json").write_text("{}")
    return tmp_path


def test_rows_are_the_folders_with_a_protocol(folder):
    assert rows_in(folder) == ["begun", "broken", "one", "seeded", "two"]


def test_all_folds_of_a_row_are_read(folder):
    table = row_predictions(folder, "one", "leak-free")
    assert table["sample_id"].tolist() == [f"s{fold}-00{index}" for fold in (0, 1) for index in range(4)]
    assert (table["y_true"] == table["y_pred"]).tolist() == [True] * 6 + [False] * 2
    assert table["group_id"].tolist() == ["g0-0", "g0-0", "g0-1", "g0-1", "g1-0", "g1-0", "g1-1", "g1-1"]


@pytest.mark.parametrize(
    ("row", "protocol", "status"),
    [
        ("begun", "leak-free", "incomplete: 1 of 2 folds"),
        ("broken", "leak-free", "failed: ValueError: no"),
        ("one", "paper", "not run"),
        ("nowhere", "leak-free", "not run"),
    ],
)
def test_an_unfinished_row_is_named_with_its_status(folder, row, protocol, status):
    assert row_status(folder, row, protocol) == status
    with pytest.raises(ConfigurationError, match=rf"under {protocol}\. Received: row='{row}' in .* \({status}\)"):
        row_predictions(folder, row, protocol)


def test_rows_that_cannot_be_compared_are_left_out_with_the_reason(folder):
    lines, left_out = compare_in_folder(folder, "one", rows_in(folder), "leak-free")
    assert lines is not None
    assert lines["row"].tolist() == ["two"]
    assert (lines["only_baseline_right"].tolist(), lines["only_row_right"].tolist()) == ([4], [0])
    assert left_out == {
        "begun": "incomplete: 1 of 2 folds",
        "broken": "failed: ValueError: no",
        "seeded": "seed 1 in the row only, 0 in the baseline only",
    }


@pytest.mark.parametrize("baseline", ["begun", "seeded", "nowhere"])
def test_without_a_pair_there_is_no_comparison(folder, baseline):
    lines, left_out = compare_in_folder(folder, baseline, ["one", "two"], "leak-free")
    assert lines is None
    assert left_out.keys() == ({"one", "two"} if baseline == "seeded" else {baseline})
