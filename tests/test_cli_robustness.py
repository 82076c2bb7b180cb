"""``mmdc-tf robustness`` from end to end on a phantom, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from command_line import refused
from saved_training import shift_probabilities, write_saved_training

from mmdc_tf.cli import main
from mmdc_tf.datasets.phantom import phantom_mammograms

ROW = "densenet201"


@pytest.fixture
def run(tmp_path, tiny_backbone) -> Path:
    """A run on the phantom in its folder, with one finished training."""
    dataset = phantom_mammograms(tmp_path / "phantom-mammogram", patients=9, height=64, seed=2)
    write_saved_training(tmp_path / "table2", dataset, ROW, "backbone_classifier", backbone=tiny_backbone)
    return tmp_path


def place(run: Path) -> Path:
    return run / "table2" / ROW / "paper" / "fold0-seed0"


def test_a_phantom_run_needs_no_dataset_and_is_scored_once(run, capsys):
    assert main(["robustness", str(run)]) == 0
    out = capsys.readouterr().out
    assert "phantom: not a reproduction" in out
    assert "Research use only" in out
    assert f"{ROW} paper fold0-seed0: clean " in out
    assert f"written: {run / 'table2'}_noise (.csv, .md, .png)" in out
    lines = pd.read_csv(run / "table2_noise.csv")
    assert lines["row"].tolist() == [ROW] * 17
    before = (place(run) / "predictions-noise.csv").stat().st_mtime_ns
    assert main(["robustness", str(run), "--rows", ROW, "--protocol", "paper"]) == 0
    assert "(scored before)" in capsys.readouterr().out
    assert (place(run) / "predictions-noise.csv").stat().st_mtime_ns == before


def test_predictions_that_do_not_come_again_end_with_exit_code_1(run, capsys):
    shift_probabilities(place(run), 0.01)
    assert main(["robustness", str(run)]) == 1
    assert "The data or the code changed since the training" in capsys.readouterr().out
    assert not list(run.glob("table2_noise*"))


def test_what_it_refuses(run, tmp_path, capsys):
    assert "Received: RUN=nowhere" in refused(capsys, "robustness", "nowhere")
    assert "table1" in refused(capsys, "robustness", run, "--table", "table1")
    assert "Did you mean 'densenet201'?" in refused(capsys, "robustness", run, "--rows", "densnet201")
    assert "none of the chosen rows" in refused(capsys, "robustness", run, "--protocol", "leak-free")


def test_a_run_of_real_data_needs_its_folder(run, capsys):
    path = run / "table2" / "run.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "synthetic": False, "dataset": "mini-ddsm"}))
    assert "Expected --dataset-root for a run made from mini-ddsm" in refused(capsys, "robustness", run)


def test_another_dataset_is_refused_by_its_fingerprint(run, capsys):
    path = run / "table2" / "run.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "dataset_fingerprint": "0" * 16}))
    error = refused(capsys, "robustness", run)
    assert "fingerprint 0000000000000000" in error
    assert facts["dataset_fingerprint"] in error
    assert not (place(run) / "predictions-noise.csv").exists()


def test_a_phantom_that_is_gone_is_named(run, capsys):
    (run / "phantom-mammogram" / "phantom.json").unlink()
    assert "Expected the run's phantom in" in refused(capsys, "robustness", run)
