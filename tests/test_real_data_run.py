"""The commands on the real files: a training, what the leak alone is worth, and the check."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from mmdc_tf.cli import main


@pytest.fixture
def output(tmp_path) -> Iterator[Path]:
    """The run's folder; its models are large and are removed afterwards."""
    yield tmp_path / "out"
    shutil.rmtree(tmp_path / "out")


def test_a_row_is_trained_and_scored_on_mini_ddsm(real_data, output, capsys):
    root = real_data / "mini-ddsm" / "MINI-DDSM-Complete-JPEG-8"
    options = "--rows vgg16 --weights none --image-size 32 --epochs 1 --folds 2 --protocol leak-free"
    assert main(["run", "--table", "2", "--dataset-root", str(root), *options.split(), "--output", str(output)]) == 0
    text = capsys.readouterr().out
    assert "the table lists 7,808 images, 7,736 were not found" in text
    assert "phantom" not in text

    with (output / "table2.csv").open(encoding="utf-8") as file:
        lines = {(line["row"], line["protocol"]): line for line in csv.DictReader(file)}
    line = lines["vgg16", "leak-free"]
    assert (line["status"], line["n_samples"], line["n_groups"], line["folds"]) == ("ok", "72", "18", "2")
    assert lines["vgg16", "paper"]["status"] == "not run"

    files = sorted(output.glob("table2/vgg16/leak-free/*/predictions.csv"))
    predictions = pd.concat(pd.read_csv(path) for path in files)
    assert len(predictions) == predictions["sample_id"].nunique() == 72
    assert predictions["y_true"].value_counts().to_dict() == {"benign": 32, "cancer": 20, "normal": 20}
    assert predictions.groupby("patient_id")["fold"].nunique().tolist() == [1] * 18


def test_age_and_density_alone_gain_ten_points_from_patients_on_both_sides(real_data, output, capsys):
    """All 7,808 lines of the table. About 50 % image-level and 40 % by patient: the figures of an independent check."""
    root = real_data / "mini-ddsm" / "MINI-DDSM-Complete-JPEG-8"
    options = ["--rows", "metadata_only", "--without-images", "--weights", "none", "--output", str(output)]
    assert main(["run", "--table", "2", "--dataset-root", str(root), *options]) == 0
    assert "7,808 images (2684 benign, 2716 cancer, 2408 normal), 1,952 patients" in capsys.readouterr().out
    with (output / "table2.csv").open(encoding="utf-8") as file:
        lines = {line["protocol"]: line for line in csv.DictReader(file) if line["row"] == "metadata_only"}
    assert float(lines["paper"]["accuracy"]) == pytest.approx(50.0, abs=3.0)
    assert float(lines["leak-free"]["accuracy"]) == pytest.approx(40.0, abs=3.0)
    assert (lines["leak-free"]["n_samples"], lines["leak-free"]["n_groups"]) == ("7808", "1952")


def test_the_nearest_neighbour_knows_copies_and_little_else(real_data, output):
    """About 67 % image-level and 48 % with near-twins together: the figures of an independent check."""
    root = real_data / "busi" / "Dataset_BUSI_with_GT"
    options = ["--rows", "image_nearest_neighbour", "--weights", "none", "--folds", "3", "--output", str(output)]
    assert main(["run", "--table", "1", "--dataset-root", str(root), *options]) == 0
    with (output / "table1.csv").open(encoding="utf-8") as file:
        lines = {line["protocol"]: line for line in csv.DictReader(file) if line["row"] == "image_nearest_neighbour"}
    assert float(lines["paper"]["accuracy"]) == pytest.approx(67.0, abs=5.0)
    assert float(lines["leak-free"]["accuracy"]) == pytest.approx(48.0, abs=5.0)


def test_the_check_counts_all_of_busi(real_data, capsys):
    root = real_data / "busi" / "Dataset_BUSI_with_GT"
    assert main(["datasets", "check", "--dataset", "busi", "--root", str(root), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["images"] == 780
    assert {name: counts["found"] for name, counts in report["classes"].items()} == {
        "benign": 437,
        "malignant": 210,
        "normal": 133,
    }
    assert (report["unreadable"], report["patients"], report["usable"]) == ([], None, True)
