"""A run: that it continues, starts over, refuses what changed, survives a failed row, and trains elsewhere alike."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from small_run import DOCUMENTED, FUSED, NUMBERS, PLAIN, TRAININGS, execute, folder_of, make_plan, snapshot

from mmdc_tf.datasets.jobs import Executor
from mmdc_tf.datasets.splits import Split
from mmdc_tf.errors import ConfigurationError, UnreadableImageError, WeightsError
from mmdc_tf.experiments.progress import Progress
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import Row
from mmdc_tf.experiments.run import run_trainings
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
    lost = folder_of(copied, TRAININGS[2])
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
    assert all(name.startswith(f"table2/fused/{TRAININGS[2]}/") for name in changed - curves)


@pytest.mark.parametrize("status", [None, {"status": "running"}, {"status": "failed", "error": "x", "seconds": 1}])
def test_what_is_not_finished_runs_again(copied, monkeypatch, status):
    """An interrupted fold, a failed one, and one whose status was never written."""
    path = folder_of(copied, TRAININGS[1]) / "status.json"
    path.unlink() if status is None else path.write_text(json.dumps(status))
    trained: list[tuple[str, ...]] = []

    def train(model, parts, *_, **__):
        trained.append(tuple(parts.validation["sample_id"]))
        raise RuntimeError("enough seen")

    monkeypatch.setattr("mmdc_tf.experiments.learners.train", train)
    assert execute(copied) == (1, 1)
    split = Split.from_json((folder_of(copied, TRAININGS[1]) / "split.json").read_text())
    assert trained == [split.validation]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"profile": load_profile("quick", image_size=32, epochs=3, folds=2, batch_size=4)},
            r"training\.epochs: 2 → 3",
        ),
        ({"cut": "none"}, "cut: 'auto' → 'none'"),
        ({"rows": (replace(FUSED, arguments={**FUSED.arguments, "grid": 4}),)}, r"arguments\.grid: 2 → 4"),
        ({"dataset": None}, "dataset_fingerprint: '[0-9a-f]{16}' → '[0-9a-f]{16}'"),
    ],
)
def test_a_change_is_refused_by_name(run, changes, named):
    before = snapshot(run.output)
    if "dataset" in changes:
        table = run.dataset.table.assign(density=run.dataset.table["density"].fillna(2.0))
        changes = {"dataset": replace(run.dataset, table=table)}
    with pytest.raises(ConfigurationError, match=rf"Received: {named}\. .*--fresh"):
        execute(replace(run, **changes))
    assert snapshot(run.output) == before


def test_a_fresh_start_sets_the_earlier_result_aside(copied, capsys):
    before = snapshot(copied.folder)
    with Progress() as progress:
        assert run_trainings(replace(copied, seed=9), [], lambda: None, progress, fresh=True) == 0
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


def register_odd(monkeypatch, scale: float) -> None:
    def build(settings) -> keras.Model:
        images = keras.Input((settings.image_size, settings.image_size, 3), name="image")
        pooled = keras.layers.Rescaling(scale)(keras.layers.GlobalAveragePooling2D()(images))
        return keras.Model({"image": images}, keras.layers.Dense(settings.class_count, "softmax")(pooled))

    monkeypatch.setitem(MODELS, "odd", ModelEntry("odd", build, ("image",)))


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
    def train(*_, **__):
        raise UnreadableImageError("Expected an image. Received: scan.png (empty file). Restore it.")

    monkeypatch.setattr("mmdc_tf.experiments.learners.train", train)
    plan = replace(run, output=tmp_path)
    with pytest.raises(UnreadableImageError, match=r"scan\.png"):
        execute(plan)
    assert not list(tmp_path.rglob("status.json"))
    assert set(table_results(plan.table, plan.folder)["status"]) == {"not run"}


AGES = Row("ages", "Ages", "probe", classifier="metadata_only")
SMALL = Row("small", "Small", "here", model="vgg_like", arguments={"width": 4, "dense_width": 8})
MEAN = Row("mean", "Mean", "here", members=("ages", "small"))


def contents(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*predictions*.csv")}


@pytest.mark.parametrize("executor", [Executor(2), Executor(ray=True)], ids=["processes", "cluster"])
def test_trainings_elsewhere_give_the_files_of_one_process(memory, dataset, tmp_path, capsys, executor):
    """The workers of a cluster have no folder in common with this process but the dataset's."""
    profile = load_profile("quick", image_size=32, epochs=1, folds=2)
    changes = {"profile": profile, "protocols": ("leak-free",), "tensorboard": "full"}
    plan = make_plan(dataset, tmp_path, (AGES, SMALL, MEAN), **changes)
    if "alone" not in memory:
        memory["alone"] = tmp_path.with_name("alone")
        assert execute(replace(plan, output=memory["alone"])) == (0, 6)
        capsys.readouterr()
    if executor.ray:
        ray = pytest.importorskip("ray")
        ray.init(num_cpus=2, log_to_driver=False, object_store_memory=10**8)
    try:
        assert execute(plan, executor=executor) == (0, 6)
    finally:
        if executor.ray:
            ray.shutdown()
    said = capsys.readouterr().out
    assert said.count("accuracy") == 6 and "ages leak-free fold 1/2 seed 3: accuracy" in said
    one, other = (
        {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file() and "tfevents" not in path.name}
        for output in (memory["alone"], tmp_path)
    )
    assert one == other
    expected, found = contents(memory["alone"]), contents(tmp_path)
    assert {name: found[name] for name in found if "small" not in name and "mean" not in name} == {
        name: expected[name] for name in expected if "small" not in name and "mean" not in name
    }
    for fold in ("fold0-seed3", "fold1-seed3"):  # sums over other numbers of threads
        a, b = (memory["alone"] / "table2/small/leak-free" / fold, plan.folder / "small/leak-free" / fold)
        np.testing.assert_allclose(
            *(np.loadtxt(x / "history.csv", delimiter=",", skiprows=1) for x in (a, b)), rtol=1e-3
        )
        assert list((b.parent / "tb").glob(f"*.{fold}"))
    assert (plan.folder / "small/leak-free/fold0-seed3/model_card.md").read_text().count("By subgroup") == 1
    assert execute(plan, executor=executor) == (0, 0)


def test_a_row_that_fails_in_a_worker_stands_in_its_folder_and_the_others_finish(dataset, tmp_path, capsys):
    bad = Row("bad", "Bad", "here", model="vgg_like", arguments={"width": 4, "dense_width": 8})
    profile = load_profile("quick", image_size=32, epochs=1, folds=2)
    recipe = replace(profile.recipe, learning_rate_random=1e30)
    plan = make_plan(dataset, tmp_path, (AGES, bad), protocols=("paper",), profile=replace(profile, recipe=recipe))
    assert execute(plan, executor=Executor(2)) == (1, 2)
    assert "bad paper fold 1/1 seed 3: failed: TrainingDivergedError" in capsys.readouterr().out
    assert "Traceback" in (plan.folder / "bad/paper/fold0-seed3/error.txt").read_text()
    lines = table_results(plan.table, plan.folder).set_index(["row", "protocol"])
    assert lines.loc[("ages", "paper"), "status"] == "ok"
