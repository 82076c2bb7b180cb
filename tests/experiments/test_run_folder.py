"""A run folder: what it holds, what it refuses, and that its files agree with the dataset, the model and each other."""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
from made_up_run import write_row
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from small_run import FUSED, TRAININGS, WITH_METADATA, folder_of, read

from mmdc_tf.datasets.busi import BUSI
from mmdc_tf.datasets.mini_ddsm import MINI_DDSM, list_mini_ddsm
from mmdc_tf.datasets.schema import Dataset, check_sample_table
from mmdc_tf.datasets.splits import Split
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.run_folder import (
    commands_of,
    compare_in_folder,
    environment,
    only_run,
    read_samples,
    remember_command,
    row_predictions,
    row_status,
    rows_in,
    write_samples,
)
from mmdc_tf.io import write_text

COLUMNS = ["p_benign", "p_cancer", "p_normal"]
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


def test_the_folder_holds_the_documented_files_and_no_other(run):
    assert {path.name for path in run.output.iterdir()} == {"table2"}
    assert {path.name for path in run.folder.iterdir()} == {"run.json", "samples.csv", "fused"}
    found = {str(path.parent.relative_to(run.folder / "fused")) for path in run.folder.rglob("config.json")}
    assert found == set(TRAININGS)
    for name in TRAININGS:
        assert {path.name for path in folder_of(run, name).iterdir()} == WITH_METADATA
        (_,) = folder_of(run, name).parent.glob(f"tb/events.out.tfevents.*.{Path(name).name}")


@pytest.mark.parametrize("name", TRAININGS)
def test_predictions_are_of_their_part_in_its_order(run, name):
    split = Split.from_json((folder_of(run, name) / "split.json").read_text())
    for file, part in (("predictions.csv", split.test), ("validation_predictions.csv", split.validation)):
        predictions = read(run, name, file)
        keys = ["sample_id", "patient_id", "group_id", "fold", "seed", "y_true", "y_pred"]
        assert list(predictions.columns) == [*keys, *COLUMNS]
        assert predictions["sample_id"].tolist() == list(part)
        known = run.dataset.table.set_index("sample_id").loc[predictions["sample_id"]]
        assert predictions["y_true"].tolist() == known["label"].tolist()
        assert predictions["group_id"].tolist() == known["group_id"].tolist()
        assert set(zip(predictions["fold"], predictions["seed"], strict=True)) == {(split.fold, 3)}
        np.testing.assert_allclose(predictions[COLUMNS].sum(axis=1), 1.0, atol=1e-5)
        assert predictions["y_pred"].tolist() == [one[2:] for one in predictions[COLUMNS].idxmax(axis=1)]


def test_every_sample_is_tested_once_over_the_folds_and_no_patient_trains_too(run):
    tested = pd.concat(read(run, name, "predictions.csv") for name in TRAININGS[1:])
    assert sorted(tested["sample_id"]) == run.dataset.table["sample_id"].tolist()
    patients = run.dataset.table.set_index("sample_id")["patient_id"]
    for name in TRAININGS[1:]:
        split = Split.from_json((folder_of(run, name) / "split.json").read_text())
        used = patients.loc[[*split.train, *split.validation]]
        assert not set(used) & set(patients.loc[list(split.test)])


def test_the_validation_part_chose_the_epoch_which_is_scored_too_under_the_paper_protocol(run):
    for name in TRAININGS:
        validated, best = read(run, name, "validation_predictions.csv"), read(run, name, "history.csv")["val_accuracy"]
        assert (validated["y_true"] == validated["y_pred"]).mean() == pytest.approx(
            best[len(best) // 2 :].max(), abs=1e-6
        )  # of the second half of the epochs
    split = Split.from_json((folder_of(run, TRAININGS[0]) / "split.json").read_text())
    assert split.test == split.validation
    assert len(split.test) == 10  # 20 % of 48, rounded up


@pytest.mark.parametrize("name", TRAININGS)
def test_metrics_are_those_of_the_predictions_file(run, name):
    predictions, metrics = read(run, name, "predictions.csv"), read(run, name, "metrics.json")
    truth, guess = predictions["y_true"], predictions["y_pred"]
    precision, recall, f1, _ = precision_recall_fscore_support(truth, guess, average="macro", zero_division=0.0)
    expected = {"n": len(truth), "accuracy": accuracy_score(truth, guess), "precision": precision, "recall": recall}
    assert metrics.pop("notice") == "phantom: not a reproduction"
    for threshold in ("threshold_precision", "threshold_recall"):  # tested in tests/evaluation
        assert 0.0 <= metrics.pop(threshold) <= 1.0
    assert metrics == pytest.approx({**expected, "f1": f1})


@pytest.mark.parametrize("name", TRAININGS)
def test_a_folder_explains_itself(run, name):
    config, machine, card = (read(run, name, f"{file}.json") for file in ("config", "environment", "model"))
    protocol, fold = name.split("/")
    assert (config["row"], config["model"], config["arguments"]) == ("fused", "mmdcnet", FUSED.arguments)
    assert (config["protocol"], f"fold{config['fold']}-seed{config['training_seed']}") == (protocol, fold)
    assert config["split_hash"] == card["split_hash"] == read(run, name, "split.json")["hash"]
    assert config["dataset_fingerprint"] == machine["dataset_fingerprint"] == run.dataset.fingerprint
    for package in ("tensorflow", "keras", "numpy", "opencv-python"):
        assert machine["packages"][package] == card["versions"][package] == importlib.metadata.version(package)
    assert machine["git_revision"] is None or re.fullmatch("[0-9a-f]{40}", machine["git_revision"])
    history, status = read(run, name, "history.csv"), read(run, name, "status.json")
    assert status["status"] == "ok" and status["seconds"] > 0
    assert history["epoch"].tolist() == list(range(1, status["epochs"] + 1))
    assert np.isfinite(history.to_numpy(dtype=float)).all()
    assert (card["research_use_only"], card["model"], card["image_size"]) == (True, "mmdcnet", 32)
    assert (card["class_names"], card["inputs"]) == (["benign", "cancer", "normal"], ["image", "metadata"])
    assert (card["preprocessing"]["name"], card["modality"]) == ("paper", "mammography")
    model = keras.models.load_model(folder_of(run, name) / "model.keras")
    assert status["parameters"] == card["parameters"] == model.count_params() > card["trained_parameters"] > 0


def test_a_saved_model_holds_its_weights_and_no_state_of_the_optimiser(run):
    """The optimiser's averages would make the file up to three times as large, and predicting needs none of them."""
    path = folder_of(run, TRAININGS[2]) / "model.keras"
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
        assert "layers" in weights and "optimizer" not in weights


def test_a_saved_model_predicts_the_same_in_a_fresh_process_from_raw_values(run):
    unknown = set(run.dataset.table.loc[run.dataset.table["density"].isna(), "sample_id"])
    name = next(one for one in TRAININGS[1:] if unknown & set(read(run, one, "split.json")["test"]))
    predictions, card = read(run, name, "predictions.csv"), read(run, name, "model.json")
    samples = run.dataset.table.set_index("sample_id").loc[predictions["sample_id"]]
    metadata = samples[["age", "density"]].to_numpy()
    assert np.nanmax(metadata) > 30  # years, not standardised
    job = {
        "model": str(folder_of(run, name) / "model.keras"),
        "recipe": card["preprocessing"]["name"],
        "size": card["image_size"],
        "paths": samples["image_path"].tolist(),
        "metadata": metadata.tolist(),
    }
    done = subprocess.run([sys.executable, "-c", LOAD], input=json.dumps(job), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.array(json.loads(done.stdout.splitlines()[-1])), predictions[COLUMNS], atol=1e-5)


def test_without_git_there_is_no_revision(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment("")["git_revision"] is None


HOLDER = """
import sys, time
from pathlib import Path
from mmdc_tf.experiments.run_folder import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_gone_even_by_a_kill(tmp_path):
    holder = [sys.executable, "-c", HOLDER, str(tmp_path / "table2")]
    process = subprocess.Popen(holder, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ConfigurationError, match="no other process writes"), only_run(tmp_path / "table2"):
            pass
        with only_run(tmp_path / "table1"):
            pass
    finally:
        process.kill()
        process.wait()
    left = tmp_path / "table2" / "row" / ".mmdc-tf-1.csv"  # as a killed process leaves it
    write_text(left, "half of a")
    with only_run(tmp_path / "table2"):
        assert not left.exists()


def test_commands_are_kept_in_order_and_the_same_one_once(tmp_path):
    assert commands_of(tmp_path) == []
    for command in ("first", "second", "first"):
        remember_command(tmp_path, command, tmp_path / "data" / ".." / "data")
    assert [one["command"] for one in commands_of(tmp_path)] == ["second", "first"]
    assert {one["dataset_root"] for one in commands_of(tmp_path)} == {str(tmp_path / "data")}


@pytest.fixture
def odd_names() -> Dataset:
    """Three images whose names look like numbers or like nothing, to see that they stay as they are."""
    table = pd.DataFrame(
        {
            "sample_id": ["0007", "NA", "x,1"],
            "image_path": ["Benign/0007/C_0007_1.LEFT_CC.jpg", "NA/A_0001.jpg", "x/1.jpg"],
            "label": ["benign", "cancer", "normal"],
            "patient_id": ["0007", "NA", ""],
            "group_id": ["0007", "NA", "1e3"],
            "age": [61.5, None, 40],
            "density": [4, None, 1],
            "view": ["CC", "", "MLO"],
            "side": ["LEFT", "", "RIGHT"],
            "lesion_masks": [("Benign/0007/C_0007_1.LEFT_CC_Mask.jpg",), (), ()],
        }
    )
    return Dataset(MINI_DDSM, check_sample_table(table, MINI_DDSM.class_names, "here"), Path("nowhere"))


def test_samples_are_read_as_they_were_written_and_without_paths(odd_names, tmp_path):
    assert read_samples(tmp_path) is None
    write_samples(odd_names, tmp_path)
    text = (tmp_path / "samples.csv").read_text()
    assert text.splitlines()[0] == "sample_id,patient_id,group_id,label,age,density,view,side,digitizer"
    assert ".jpg" not in text
    table = read_samples(tmp_path)
    assert table.pop("digitizer").tolist() == ["C", "A", ""]  # the letter that starts the file's name
    pd.testing.assert_frame_equal(table, odd_names.table[list(table.columns)], check_dtype=False)
    assert (table["age"].dtype, table["density"].dtype) == (np.float64, np.float64)
    write_samples(replace(odd_names, info=BUSI), tmp_path)  # whose names say nothing of it
    assert read_samples(tmp_path)["digitizer"].tolist() == ["", "", ""]
    read_samples(tmp_path).drop(columns=["age", "side"]).to_csv(tmp_path / "samples.csv", index=False)
    with pytest.raises(ConfigurationError, match=r"Received: .*samples\.csv without age, side\. "):
        read_samples(tmp_path)


def test_the_letters_of_the_real_mini_ddsm(real_data, tmp_path):
    """Normal exists under A and D only, and a patient was scanned on one digitizer."""
    write_samples(list_mini_ddsm(real_data / "mini-ddsm"), tmp_path)
    table = read_samples(tmp_path)
    assert table["digitizer"].value_counts().to_dict() == {"A": 3836, "C": 1652, "D": 1180, "B": 1140}
    assert set(table.loc[table["label"] == "normal", "digitizer"]) == {"A", "D"}
    assert set(table.groupby("patient_id")["digitizer"].nunique()) == {1}


@pytest.fixture
def folder(tmp_path):
    """Two finished rows, one with another seed, one incomplete, one failed, and what is no row."""
    write_row(tmp_path, "one", ["1111", "1100"])
    write_row(tmp_path, "two", ["1100", "0000"])
    write_row(tmp_path, "seeded", ["1111", "1111"], seed=1)
    write_row(tmp_path, "begun", ["1111", "1111"], status={"status": "running"})
    write_row(tmp_path, "broken", ["1111", "1111"], status={"status": "failed", "error": "ValueError: no"})
    (tmp_path / "notes").mkdir()
    (tmp_path / "run.json").write_text("{}")
    return tmp_path


def test_all_folds_of_a_row_are_read(folder):
    assert rows_in(folder) == ["begun", "broken", "one", "seeded", "two"]
    table = row_predictions(folder, "one", "leak-free")
    assert table["sample_id"].tolist() == [f"s{fold}-00{index}" for fold in (0, 1) for index in range(4)]
    assert (table["y_true"] == table["y_pred"]).tolist() == [True] * 6 + [False] * 2


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
    assert lines["row"].tolist() == ["two"]
    assert (lines["only_baseline_right"].tolist(), lines["only_row_right"].tolist()) == ([4], [0])
    assert left_out == {
        "begun": "incomplete: 1 of 2 folds",
        "broken": "failed: ValueError: no",
        "seeded": "seed 1 in the row only, 0 in the baseline only",
    }
    for baseline in ("begun", "nowhere"):
        assert compare_in_folder(folder, baseline, ["one", "two"], "leak-free")[1].keys() == {baseline}
    assert compare_in_folder(folder, "seeded", ["one", "two"], "leak-free")[0] is None
