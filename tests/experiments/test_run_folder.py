"""A run folder: what it holds, and that its files agree with each other, with the dataset and with the model."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from small_run import CELLS, FUSED, WITH_METADATA, folder_of, read

from mmdc_tf.datasets.splits import Split
from mmdc_tf.experiments.results import table_results

LOAD = """
import json, sys
import mmdc_tf, keras
import numpy as np
from mmdc_tf.preprocessing.scan_file import preprocess_file
from mmdc_tf.preprocessing.recipes import get_recipe
job = json.loads(sys.stdin.read())
model = keras.models.load_model(job["model"])
recipe = get_recipe(job["recipe"])
image = np.stack([preprocess_file(path, recipe, job["size"]) for path in job["paths"]]).astype("float32")
metadata = np.array(job["metadata"], dtype="float32")
print(json.dumps(model.predict({"image": image, "metadata": metadata}, verbose=0).tolist()))
"""


def test_the_run_succeeds(run):
    assert [read(run, cell, "status.json")["status"] for cell in CELLS] == ["ok", "ok", "ok"]


def test_the_folder_holds_the_documented_files_and_no_other(run):
    assert {path.name for path in run.output.iterdir()} == {"table2"}
    assert {path.name for path in run.folder.iterdir()} == {"run.json", "samples.csv", "fused"}
    found = {str(path.parent.relative_to(run.folder / "fused")) for path in run.folder.rglob("config.json")}
    assert found == set(CELLS)
    for cell in CELLS:
        assert {path.name for path in folder_of(run, cell).iterdir()} == WITH_METADATA


def test_tensorboard_finds_the_curves_of_each_training_in_one_run_a_protocol(run):
    for cell in CELLS:
        (_,) = folder_of(run, cell).parent.glob(f"tb/events.out.tfevents.*.{Path(cell).name}")


@pytest.mark.parametrize("cell", CELLS)
def test_predictions_are_of_the_test_part_in_its_order(run, cell):
    predictions = read(run, cell, "predictions.csv")
    keys = ["sample_id", "patient_id", "group_id", "fold", "seed", "y_true", "y_pred"]
    assert list(predictions.columns) == [*keys, "p_benign", "p_cancer", "p_normal"]
    split = Split.from_json((folder_of(run, cell) / "split.json").read_text())
    assert predictions["sample_id"].tolist() == list(split.test)
    facts = run.dataset.table.set_index("sample_id").loc[predictions["sample_id"]]
    assert predictions["y_true"].tolist() == facts["label"].tolist()
    assert predictions["group_id"].tolist() == facts["group_id"].tolist()
    assert set(zip(predictions["fold"], predictions["seed"], strict=True)) == {(split.fold, 3)}
    probabilities = predictions.filter(like="p_").drop(columns="group_id", errors="ignore")
    probabilities = probabilities[["p_benign", "p_cancer", "p_normal"]]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert predictions["y_pred"].tolist() == [name[2:] for name in probabilities.idxmax(axis=1)]


def test_every_sample_is_tested_once_over_the_folds_and_no_patient_trains_too(run):
    tested = pd.concat(read(run, cell, "predictions.csv") for cell in CELLS[1:])
    assert sorted(tested["sample_id"]) == run.dataset.table["sample_id"].tolist()
    patients = run.dataset.table.set_index("sample_id")["patient_id"]
    for cell in CELLS[1:]:
        split = Split.from_json((folder_of(run, cell) / "split.json").read_text())
        used = patients.loc[[*split.train, *split.validation]]
        assert not set(used) & set(patients.loc[list(split.test)])


def test_the_paper_protocol_scores_the_part_that_chose_the_epoch(run):
    split = Split.from_json((folder_of(run, CELLS[0]) / "split.json").read_text())
    assert split.test == split.validation
    assert len(split.test) == 10  # 20 % of 48, rounded up
    best = read(run, CELLS[0], "history.csv")["val_accuracy"].max()
    assert read(run, CELLS[0], "metrics.json")["accuracy"] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_metrics_are_those_of_the_predictions_file(run, cell):
    predictions, metrics = read(run, cell, "predictions.csv"), read(run, cell, "metrics.json")
    truth, guess = predictions["y_true"], predictions["y_pred"]
    precision, recall, f1, _ = precision_recall_fscore_support(truth, guess, average="macro", zero_division=0.0)
    expected = {"n": len(truth), "accuracy": accuracy_score(truth, guess), "precision": precision, "recall": recall}
    assert metrics.pop("notice") == "phantom: not a reproduction"
    for name in ("threshold_precision", "threshold_recall"):  # held by tests/evaluation/test_threshold_metrics.py
        assert 0.0 <= metrics.pop(name) <= 1.0
    assert metrics == pytest.approx({**expected, "f1": f1})


@pytest.mark.parametrize("cell", CELLS)
def test_a_folder_explains_itself(run, cell):
    config, environment = read(run, cell, "config.json"), read(run, cell, "environment.json")
    protocol, fold = cell.split("/")
    assert (config["row"], config["model"], config["arguments"]) == ("fused", "mmdcnet", FUSED.arguments)
    assert (config["protocol"], f"fold{config['fold']}-seed{config['training_seed']}") == (protocol, fold)
    assert config["training"]["epochs"] == 2
    assert config["split_hash"] == read(run, cell, "split.json")["hash"]
    assert config["dataset_fingerprint"] == environment["dataset_fingerprint"] == run.dataset.fingerprint
    assert environment["packages"]["keras"] == keras.__version__


@pytest.mark.parametrize("cell", CELLS)
def test_history_and_status_tell_of_the_same_epochs(run, cell):
    history, status = read(run, cell, "history.csv"), read(run, cell, "status.json")
    assert status["status"] == "ok"
    assert status["seconds"] > 0
    assert history["epoch"].tolist() == list(range(1, status["epochs"] + 1))
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history.columns)
    assert np.isfinite(history.to_numpy(dtype=float)).all()


def test_the_models_card_says_what_a_user_must_know(run):
    card = read(run, CELLS[1], "model.json")
    assert card["class_names"] == ["benign", "cancer", "normal"]
    assert card["inputs"] == ["image", "metadata"]
    assert card["image_size"] == 32
    assert card["preprocessing"]["name"] == "paper"
    assert card["split_hash"] == read(run, CELLS[1], "split.json")["hash"]
    assert card["notice"] == "phantom: not a reproduction"
    assert card["research_use_only"] is True


def test_the_table_is_computed_from_these_files(run):
    lines = table_results(run.table, run.folder).set_index("protocol")
    assert lines["status"].tolist() == ["ok", "ok"]
    assert lines.loc[["paper", "leak-free"], "n_samples"].tolist() == [10, 48]
    assert lines.loc["leak-free", ["n_groups", "folds"]].tolist() == [12, 2]
    folds = [read(run, cell, "metrics.json") for cell in CELLS[1:]]
    for name in ("accuracy", "precision", "recall", "f1"):
        assert lines.loc["leak-free", name] == pytest.approx(50 * (folds[0][name] + folds[1][name]))
    assert lines.loc["leak-free", "accuracy_std"] == pytest.approx(
        100 * abs(folds[0]["accuracy"] - folds[1]["accuracy"]) / np.sqrt(2)
    )


def test_a_saved_model_holds_its_weights_and_no_state_of_the_optimiser(run):
    """The optimiser's averages would make the file up to three times as large, and predicting needs none of them."""
    path = folder_of(run, CELLS[2]) / "model.keras"
    sizes: list[int] = []
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
        weights.visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None)
        assert "optimizer" not in weights
    assert sum(sizes) == keras.models.load_model(path).count_params()


def test_a_saved_model_predicts_the_same_in_a_fresh_process_from_raw_values(run):
    unknown = set(run.dataset.table.loc[run.dataset.table["density"].isna(), "sample_id"])
    cell = next(cell for cell in CELLS[1:] if unknown & set(read(run, cell, "split.json")["test"]))
    predictions, card = read(run, cell, "predictions.csv"), read(run, cell, "model.json")
    samples = run.dataset.table.set_index("sample_id").loc[predictions["sample_id"]]
    metadata = samples[["age", "density"]].to_numpy()
    assert np.nanmax(metadata) > 30  # years, not standardised
    job = {
        "model": str(folder_of(run, cell) / "model.keras"),
        "recipe": card["preprocessing"]["name"],
        "size": card["image_size"],
        "paths": samples["image_path"].tolist(),
        "metadata": metadata.tolist(),
    }
    done = subprocess.run([sys.executable, "-c", LOAD], input=json.dumps(job), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    again = np.array(json.loads(done.stdout.splitlines()[-1]))
    np.testing.assert_allclose(again, predictions[[f"p_{name}" for name in card["class_names"]]], atol=1e-5)
