"""A run: that it continues, starts over, refuses what changed, and survives a failed row."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from small_run import CELLS, DOCUMENTED, FUSED, NUMBERS, PLAIN, execute, folder_of, make_plan, snapshot

from mmdc_tf.datasets.splits import Split
from mmdc_tf.errors import ConfigurationError, UnreadableImageError, WeightsError
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import Row
from mmdc_tf.experiments.runner import run_cells
from mmdc_tf.models.registry import MODELS, ModelEntry
from mmdc_tf.training.recipe import load_profile

ODD = Row("odd", "Odd", "here", NUMBERS, model="odd")


def test_a_second_run_trains_nothing(run, capsys):
    before = snapshot(run.output)
    assert execute(run) == (0, 0)
    assert snapshot(run.output) == before
    assert "3 of 3 trainings already finished" in capsys.readouterr().out


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
    curves = {name for name in changed if name.startswith("table2/fused/leak-free/tb/")}
    assert [name.rpartition(".")[2] for name in curves] == ["fold1-seed3"]
    assert changed - curves
    assert all(name.startswith(f"table2/fused/{CELLS[2]}/") for name in changed - curves)


@pytest.mark.parametrize("status", [None, {"status": "running"}, {"status": "failed", "error": "x", "seconds": 1}])
def test_what_is_not_finished_runs_again(copied, monkeypatch, status):
    """An interrupted fold, a failed one, and one whose status was never written."""
    path = folder_of(copied, CELLS[1]) / "status.json"
    path.unlink() if status is None else path.write_text(json.dumps(status))
    trained: list[tuple[str, ...]] = []

    def train(model, parts, *_):
        trained.append(tuple(parts.validation["sample_id"]))
        raise RuntimeError("enough seen")

    monkeypatch.setattr("mmdc_tf.experiments.learners.train", train)
    assert execute(copied) == (1, 1)
    split = Split.from_json((folder_of(copied, CELLS[1]) / "split.json").read_text())
    assert trained == [split.validation]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"profile": load_profile("quick", image_size=32, epochs=3, folds=2, batch_size=4)},
            r"training\.epochs: 2 → 3",
        ),
        ({"profile": load_profile("quick", image_size=32, epochs=2, folds=3, batch_size=4)}, "folds: 2 → 3"),
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
    assert {path.name for path in copied.folder.iterdir()} == {"run.json", "samples.csv"}
    assert json.loads((copied.folder / "run.json").read_text())["seed"] == 9


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"weights": "a/folder"}, WeightsError, "Received: --weights a/folder"),
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
    assert len(list((failed.parent / "tb").glob("events*"))) == 1
    assert table_results(plan.table, plan.folder).set_index("row").loc["odd", "status"].tolist()[0] == "ok"
    assert snapshot(plan.folder / "plain") == finished


def test_bad_input_ends_the_run_and_leaves_nothing_running(run, tmp_path, monkeypatch):
    def train(*_):
        raise UnreadableImageError("Expected an image. Received: scan.png (empty file). Restore it.")

    monkeypatch.setattr("mmdc_tf.experiments.learners.train", train)
    plan = replace(run, output=tmp_path)
    with pytest.raises(UnreadableImageError, match=r"scan\.png"):
        execute(plan)
    assert not list(tmp_path.rglob("status.json"))
    assert set(table_results(plan.table, plan.folder)["status"]) == {"not run"}
