"""A run folder: what it holds, that it continues, starts over, refuses what changed, and survives a failed row.

One small run of a real MMDCNet on a small backbone, which most tests only look at.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import Split
from mmdc_tf.errors import ConfigurationError, UnreadableImageError, WeightsError
from mmdc_tf.experiments.grid import Plan, make_cells
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import Row, load_table
from mmdc_tf.experiments.runner import run_cells
from mmdc_tf.models.registry import MODELS, ModelEntry
from mmdc_tf.training.recipe import load_profile

NUMBERS = (90.0, 90.0, 90.0, 90.0)
FUSED = Row("fused", "Fused", "here", NUMBERS, "mmdcnet", {"backbone": "tiny", "conv_filters": 16, "grid": 2})
PLAIN = Row("plain", "Plain", "here", NUMBERS, "backbone_classifier", {"backbone": "tiny"})
ODD = Row("odd", "Odd", "here", NUMBERS, "odd")
DOCUMENTED = {
    "config.json",
    "split.json",
    "environment.json",
    "status.json",
    "history.csv",
    "predictions.csv",
    "metrics.json",
    "model.keras",
    "model.json",
    "tb",
}
CELLS = ["paper/fold0-seed3", "leak-free/fold0-seed3", "leak-free/fold1-seed3"]
LOAD = """
import json, sys
import mmdc_tf, keras
import numpy as np
from mmdc_tf.inputs.pipeline import preprocess_file
from mmdc_tf.preprocessing.recipes import get_recipe
job = json.loads(sys.stdin.read())
model = keras.models.load_model(job["model"])
recipe = get_recipe(job["recipe"])
image = np.stack([preprocess_file(path, recipe, job["size"]) for path in job["paths"]]).astype("float32")
metadata = np.array(job["metadata"], dtype="float32")
print(json.dumps(model.predict({"image": image, "metadata": metadata}, verbose=0).tolist()))
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return phantom_mammograms(tmp_path_factory.mktemp("phantom") / "data", patients=12, height=64, seed=1)


def make_plan(dataset: Dataset, output: Path, rows: tuple[Row, ...], **changes) -> Plan:
    plan = Plan(
        table=replace(load_table(2), rows=rows),
        rows=rows,
        dataset=dataset,
        preprocessing="paper",
        profile=load_profile("quick", image_size=32, epochs=2, folds=2),
        weights="none",
        cut="auto",
        protocols=("paper", "leak-free"),
        seed=3,
        seeds=1,
        output=output,
    )
    return replace(plan, **changes)


def execute(plan: Plan, **options) -> tuple[int, int]:
    """Failed cells, and how often the tables were brought up to date."""
    calls: list[int] = []
    return run_cells(plan, make_cells(plan), after_cell=lambda: calls.append(1), **options), len(calls)


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def memory() -> dict[str, Plan]:
    return {}


@pytest.fixture
def run(memory, dataset, tiny_backbone, tmp_path_factory) -> Plan:
    """The plan of a finished run: one row, both protocols, two folds."""
    if "plan" not in memory:
        memory["plan"] = make_plan(dataset, tmp_path_factory.mktemp("run"), (FUSED,))
        execute(memory["plan"])
    return memory["plan"]


@pytest.fixture
def copied(run, tmp_path) -> Plan:
    """A copy of the finished run, to be changed; file times are kept."""
    shutil.copytree(run.output, tmp_path / "copy")
    return replace(run, output=tmp_path / "copy")


def folder_of(plan: Plan, cell: str) -> Path:
    return plan.folder / "fused" / cell


def read(plan: Plan, cell: str, name: str):
    path = folder_of(plan, cell) / name
    return pd.read_csv(path) if path.suffix == ".csv" else json.loads(path.read_text(encoding="utf-8"))


def test_the_run_succeeds(run):
    assert [read(run, cell, "status.json")["status"] for cell in CELLS] == ["ok", "ok", "ok"]


def test_the_folder_holds_the_documented_files_and_no_other(run):
    assert {path.name for path in run.output.iterdir()} == {"table2"}
    assert {path.name for path in run.folder.iterdir()} == {"run.json", "fused"}
    found = {str(path.parent.relative_to(run.folder / "fused")) for path in run.folder.rglob("config.json")}
    assert found == set(CELLS)
    for cell in CELLS:
        assert {path.name for path in folder_of(run, cell).iterdir()} == DOCUMENTED


def test_tensorboard_finds_curves_of_training_and_validation(run):
    for cell in CELLS:
        events = folder_of(run, cell).glob("tb/*/events.out.tfevents.*")
        assert {path.parent.name for path in events} == {"train", "validation"}


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


def test_a_second_run_trains_nothing(run, capsys):
    before = snapshot(run.output)
    assert execute(run) == (0, 0)
    assert snapshot(run.output) == before
    assert "3 of 3 trainings are already finished" in capsys.readouterr().out


def test_a_lost_fold_is_done_again_alone_and_gives_the_same_bytes(copied):
    """In the first run this fold came third, on a model that two folds had used before; now it comes first."""
    lost = folder_of(copied, CELLS[2])
    names = ("predictions.csv", "history.csv", "metrics.json", "split.json")
    kept = {name: (lost / name).read_bytes() for name in names}
    before = snapshot(copied.output)
    shutil.rmtree(lost)
    assert execute(copied) == (0, 1)
    assert {name: (lost / name).read_bytes() for name in kept} == kept
    after = snapshot(copied.output)
    changed = {name for name, time in before.items() if after.get(name) != time}
    assert changed
    assert all(name.startswith(f"table2/fused/{CELLS[2]}/") for name in changed)


@pytest.mark.parametrize("status", [None, {"status": "running"}, {"status": "failed", "error": "x", "seconds": 1}])
def test_what_is_not_finished_runs_again(copied, monkeypatch, status):
    """An interrupted fold, a failed one, and one whose status was never written."""
    path = folder_of(copied, CELLS[1]) / "status.json"
    path.unlink() if status is None else path.write_text(json.dumps(status))
    trained: list[tuple[str, ...]] = []

    def train(model, parts, *_):
        trained.append(tuple(parts.validation["sample_id"]))
        raise RuntimeError("enough seen")

    monkeypatch.setattr("mmdc_tf.experiments.runner.train", train)
    assert execute(copied) == (1, 1)
    split = Split.from_json((folder_of(copied, CELLS[1]) / "split.json").read_text())
    assert trained == [split.validation]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"profile": load_profile("quick", image_size=32, epochs=3, folds=2)}, r"training\.epochs: 2 → 3"),
        ({"profile": load_profile("quick", image_size=32, epochs=2, folds=3)}, "folds: 2 → 3"),
        ({"cut": "none"}, "cut: 'auto' → 'none'"),
        ({"seed": 4}, "seed: 3 → 4"),
    ],
)
def test_a_changed_configuration_is_refused_by_name(run, changes, named):
    before = snapshot(run.output)
    with pytest.raises(ConfigurationError, match=rf"Received: {named}\. .*--fresh"):
        execute(replace(run, **changes))
    assert snapshot(run.output) == before


def test_a_changed_model_of_the_same_row_is_refused_by_name(run):
    row = replace(FUSED, arguments={**FUSED.arguments, "grid": 4})
    with pytest.raises(ConfigurationError, match=r"arguments\.grid: 2 → 4"):
        execute(replace(run, rows=(row,)))


def test_a_changed_dataset_is_refused_by_name(run):
    table = run.dataset.table.copy()
    table.loc[0, "density"] = 4.0 if table.loc[0, "density"] != 4.0 else 1.0
    with pytest.raises(ConfigurationError, match=r"Received: dataset_fingerprint: '[0-9a-f]{16}' → '[0-9a-f]{16}'"):
        execute(replace(run, dataset=replace(run.dataset, table=table)))


def test_a_fresh_start_sets_the_earlier_result_aside(copied, capsys):
    before = snapshot(copied.folder)
    other = replace(copied, seed=9)
    assert run_cells(other, [], after_cell=lambda: None, fresh=True) == 0
    (aside,) = copied.output.glob("table2.before-*")
    assert snapshot(aside) == before
    assert str(aside) in capsys.readouterr().out
    assert [path.name for path in copied.folder.iterdir()] == ["run.json"]
    assert json.loads((copied.folder / "run.json").read_text())["seed"] == 9


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weights": "a/folder"}, WeightsError, r"tiny_notop\.h5 for tiny\. Received: --weights a/folder"),
        ({"cut": "pool9"}, ConfigurationError, "Received: cut='pool9'.*tiny_pool1"),
        ({"rows": (replace(PLAIN, model="resnet"),)}, ConfigurationError, "model='resnet'"),
    ],
)
def test_what_does_not_fit_is_found_before_anything_is_written(run, tmp_path, changes, error, message):
    """So the corrected command is not refused, and a fresh start gives nothing up for nothing."""
    with pytest.raises(error, match=message):
        execute(replace(run, output=tmp_path / "new", **changes))
    assert not (tmp_path / "new").exists()
    before = snapshot(run.output)
    with pytest.raises(error, match=message):
        execute(replace(run, **changes), fresh=True)
    assert snapshot(run.output) == before


def odd_model(settings, scale: float) -> keras.Model:
    images = keras.Input((settings.image_size, settings.image_size, 3), name="image")
    pooled = keras.layers.Rescaling(scale)(keras.layers.GlobalAveragePooling2D()(images))
    return keras.Model({"image": images}, keras.layers.Dense(settings.class_count, "softmax")(pooled))


def register_odd(monkeypatch, scale: float) -> None:
    monkeypatch.setitem(MODELS, "odd", ModelEntry("odd", lambda settings: odd_model(settings, scale), ("image",)))


def test_a_failed_row_stands_in_the_table_and_the_others_finish(dataset, tiny_backbone, tmp_path, monkeypatch, capsys):
    profile = load_profile("quick", image_size=32, epochs=1, folds=2)
    plan = make_plan(dataset, tmp_path, (ODD, PLAIN), profile=profile, protocols=("paper",))
    register_odd(monkeypatch, float("nan"))
    assert execute(plan) == (1, 2)
    lines = table_results(plan.table, plan.folder).set_index(["row", "protocol"])
    assert lines.loc[("odd", "paper"), "status"].startswith("failed: TrainingDivergedError: Expected a finite loss.")
    assert np.isnan(lines.loc[("odd", "paper"), "accuracy"])
    assert lines.loc[("plain", "paper"), "status"] == "ok"
    assert lines.loc[("odd", "leak-free"), "status"] == "not run"
    failed = plan.folder / "odd/paper/fold0-seed3"
    assert "TrainingDivergedError" in (failed / "error.txt").read_text()
    assert not (failed / "predictions.csv").exists()
    assert str(failed / "error.txt") in capsys.readouterr().out

    finished = snapshot(plan.folder / "plain")
    register_odd(monkeypatch, 1 / 255)
    assert execute(plan) == (0, 1)
    assert {path.name for path in failed.iterdir()} == DOCUMENTED
    assert len(list((failed / "tb/train").glob("events*"))) == 1
    assert table_results(plan.table, plan.folder).set_index("row").loc["odd", "status"].tolist()[0] == "ok"
    assert snapshot(plan.folder / "plain") == finished


def test_bad_input_ends_the_run_and_leaves_nothing_running(run, tmp_path, monkeypatch):
    def train(*_):
        raise UnreadableImageError("Expected an image. Received: scan.png (empty file). Restore it.")

    monkeypatch.setattr("mmdc_tf.experiments.runner.train", train)
    plan = replace(run, output=tmp_path)
    with pytest.raises(UnreadableImageError, match=r"scan\.png"):
        execute(plan)
    assert not list(tmp_path.rglob("status.json"))
    assert set(table_results(plan.table, plan.folder)["status"]) == {"not run"}
