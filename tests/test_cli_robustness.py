"""``mmdc-tf robustness`` from end to end on a phantom, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import refused
from saved_training import shift_probabilities, write_saved_training

from mmdc_tf.cli import main
from mmdc_tf.datasets.opencv import cv2
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
    assert "Received: RUN='nowhere' (absent)" in refused(capsys, "robustness", "nowhere")
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


@pytest.fixture(scope="module")
def own_images(tmp_path_factory) -> Path:
    """A user's folder of twelve images of a patient each, six a class, and a copy of one under another patient."""
    folder = tmp_path_factory.mktemp("own")
    names = [f"{label}{number}" for label in ("benign", "malignant") for number in range(6)]
    for seed, name in enumerate(names):
        assert cv2.imwrite(
            str(folder / f"{name}.png"), np.random.default_rng(seed).integers(0, 256, (40, 40), np.uint8)
        )
    (folder / "twin.png").write_bytes((folder / "benign0.png").read_bytes())
    lines = [f"{name},{name}.png,{name[:-1]},{name}" for name in names]
    (folder / "samples.csv").write_text(
        "\n".join(["sample_id,image_path,label,patient_id", *lines, "twin,twin.png,benign,t"])
    )
    return folder


@pytest.fixture(scope="module")
def treated(own_images, tmp_path_factory) -> Path:
    """A run of it that keeps one image of each near-twin cluster: a small network, one epoch."""
    output = tmp_path_factory.mktemp("treated")
    what = "run --table 1 --rows moon_vgg_like --near-twins one-per-cluster --dataset folder --weights none"
    how = "--protocol paper --profile quick --image-size 32 --epochs 1"
    assert main([*what.split(), *how.split(), "--dataset-root", str(own_images), "--output", str(output)]) == 0
    return output


def test_a_run_says_how_near_twins_were_treated(treated):
    assert json.loads((treated / "table1" / "run.json").read_text())["near_twins"] == "one-per-cluster"
    samples = pd.read_csv(treated / "table1" / "samples.csv")["sample_id"]
    assert len(samples) == 12
    assert "twin" not in set(samples)


def test_near_twins_are_treated_again_as_in_the_run(treated, own_images):
    assert main(["robustness", str(treated), "--dataset-root", str(own_images)]) == 0
    assert len(pd.read_csv(treated / "table1_noise.csv")) == 17


def test_a_run_of_an_earlier_version_kept_its_near_twins(run):
    path = run / "table2" / "run.json"
    facts = json.loads(path.read_text())
    del facts["near_twins"]
    path.write_text(json.dumps(facts))
    assert main(["robustness", str(run)]) == 0
