"""What age and density are worth: the table's numbers by hand, from predictions files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_run import RUN, made_up_table

from mmdc_tf.evaluation.metadata_variants import VARIANTS
from mmdc_tf.report.metadata_table import metadata_markdown, metadata_results, write_metadata_table

CLASSES = ("benign", "cancer", "normal")
TABLE = made_up_table("fused", "image")
# groups a and b have two images each, c and d one
SAMPLES = {0: ["a1", "a2", "c1"], 1: ["b1", "b2", "d1"]}
RIGHT = {  # which samples each variant gets right
    "as recorded": {"a1", "a2", "c1", "b1"},
    "age unknown": {"a1", "a2", "b1"},
    "density unknown": {"a1", "a2", "c1", "b1"},
    "both unknown": {"c1", "d1"},
    "shuffled": {"a1"},
}


def predictions(fold: int, variant: str) -> pd.DataFrame:
    samples = SAMPLES[fold]
    guesses = ["cancer" if name in RIGHT[variant] else "normal" for name in samples]
    table = pd.DataFrame({"sample_id": samples, "patient_id": [name[0] for name in samples]})
    table = table.assign(group_id=table["patient_id"], fold=fold, seed=0, y_true="cancer", y_pred=guesses)
    return table.assign(**{f"p_{name}": [float(guess == name) for guess in guesses] for name in CLASSES})


def write_cell(folder: Path, row: str, fold: int, metadata: bool = True) -> Path:
    place = folder / row / "leak-free" / f"fold{fold}-seed0"
    place.mkdir(parents=True)
    (place / "status.json").write_text(json.dumps({"status": "ok", "seconds": 1.0}))
    config = {**RUN, "protocol": "leak-free", "fold": fold, "training_seed": 0}
    (place / "config.json").write_text(json.dumps(config))
    predictions(fold, "as recorded").to_csv(place / "predictions.csv", index=False)
    if metadata:
        parts = [predictions(fold, name).assign(metadata=name) for name in VARIANTS]
        pd.concat(parts).to_csv(place / "predictions-metadata.csv", index=False)
    return place


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """One row scored with other metadata, one that takes images alone."""
    for fold in SAMPLES:
        write_cell(tmp_path / "table2", "fused", fold)
        write_cell(tmp_path / "table2", "image", fold, metadata=False)
    (tmp_path / "table2" / "run.json").write_text(json.dumps(RUN))
    return tmp_path


def test_the_numbers_are_those_by_hand(output):
    results = metadata_results(TABLE, output / "table2")
    assert set(results["row"]) == {"fused"}
    assert set(results["protocol"]) == {"leak-free"}
    lines = results.set_index("metadata")
    assert lines.index.tolist() == ["as recorded", *VARIANTS]
    # right in the folds, of three each: 3 and 1; 2 and 1; 3 and 1; 1 and 1; 1 and 0
    accuracies = [400 / 6, 300 / 6, 400 / 6, 200 / 6, 100 / 6]
    np.testing.assert_allclose(lines["accuracy"], accuracies)
    np.testing.assert_allclose(lines["difference"], [np.nan, *np.subtract(accuracies[1:], accuracies[0])])
    # all truths are cancer: of n right of three, F1 of cancer is 2n / (3 + n); the other class that is guessed has 0
    one, two = 2 / 4 / 2, 4 / 5 / 2
    np.testing.assert_allclose(
        lines["f1"], 100 * np.array([(1 + one) / 2, (two + one) / 2, (1 + one) / 2, one, one / 2])
    )
    assert lines[["n_samples", "n_groups", "folds"]].drop_duplicates().to_numpy().tolist() == [[6, 4, 2]]


def test_the_interval_draws_groups_within_folds_in_pairs(output):
    """Age unknown loses c1 alone: of a and c fold 0 draws one, and loses nothing or all; fold 1 loses nothing."""
    lines = metadata_results(TABLE, output / "table2").set_index("metadata")
    limits = lines[["difference_ci_low", "difference_ci_high"]]
    np.testing.assert_allclose(limits.loc["age unknown"], [-50.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(limits.loc["density unknown"], [0.0, 0.0], atol=1e-9)
    assert limits.loc["as recorded"].isna().all()


def test_a_row_that_is_not_finished_or_was_not_scored_so_is_left_out(output):
    place = output / "table2" / "fused" / "leak-free" / "fold1-seed0"
    (place / "predictions-metadata.csv").unlink()
    assert metadata_results(TABLE, output / "table2").empty
    write_cell(output / "table2", "other", 0)  # no row of the table
    assert metadata_results(TABLE, output / "table2").empty


def test_the_files_say_what_they_are(output):
    results = write_metadata_table(TABLE, output)
    lines = pd.read_csv(output / "table2_metadata.csv")
    assert list(lines.columns) == list(results.columns)
    np.testing.assert_allclose(lines["difference"], results["difference"], atol=0.005)
    assert set(lines["label"]) == {"Fused (phantom: not a reproduction)"}
    text = (output / "table2_metadata.md").read_text(encoding="utf-8")
    assert text == metadata_markdown(TABLE, results, RUN)
    assert "phantom: not a reproduction" in text
    assert "Research use only, not a medical device." in text
    assert r"| Fused | here | as recorded | 66.67 | 62.50 |  |" in text
    assert "|  |  | age unknown | 50.00 | 32.50 | -16.67 (-50.00 to +0.00) |" in text
    assert "Paper protocol" not in text


def test_nothing_is_written_where_no_row_takes_metadata(output):
    for fold in SAMPLES:
        (output / "table2" / "fused" / "leak-free" / f"fold{fold}-seed0" / "predictions-metadata.csv").unlink()
    assert write_metadata_table(TABLE, output).empty
    assert not list(output.glob("table2_metadata*"))
