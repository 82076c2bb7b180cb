"""Networks, classifiers without one, and ensembles go through the same splits, files and tables."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import product
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from small_run import DOCUMENTED, FUSED, NUMBERS, PLAIN, WITH_METADATA, execute, folder_of, make_plan, read

from mmdc_tf.datasets.splits import Split, select
from mmdc_tf.experiments import learners
from mmdc_tf.experiments.plan import Plan
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import Row
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.training.feature_store import CacheSettings
from mmdc_tf.training.recipe import load_profile

WIDE = Row("wide", "Wide", "here", NUMBERS, model="brint_classifier", arguments={"backbone": "tiny", "head": [4]})
MEAN = Row("mean", "Mean", "here", None, members=("plain", "wide"), extra=True)
NEIGHBOUR = Row("neighbour", "1-NN", "probe", classifier="image_nearest_neighbour", preprocessing="plain", extra=True)
METADATA = Row("metadata_only", "Metadata", "probe", classifier="metadata_only", extra=True)
TWO_VIEWS = Row("two", "Two views", "here", model="two_view_classifier", arguments={"backbone": "tiny"})
COLUMNS = ["p_benign", "p_cancer", "p_normal"]
FOLD = "leak-free/fold0-seed3"
PROFILE = load_profile("quick", image_size=32, epochs=1, folds=2)


@pytest.fixture
def plan(dataset, tiny_backbone, tmp_path) -> Plan:
    return make_plan(dataset, tmp_path / "run", (PLAIN, WIDE, MEAN, NEIGHBOUR, METADATA), profile=PROFILE)


def predictions(plan: Plan, row: str, place: str, name: str = "predictions.csv") -> pd.DataFrame:
    return pd.read_csv(plan.folder / row / place / name)


def test_all_kinds_of_rows_finish_and_stand_in_the_table(plan):
    assert execute(plan) == (0, 15)
    results = table_results(plan.table, plan.folder).set_index(["row", "protocol"])
    assert set(results["status"]) == {"ok"}
    for row in plan.rows:
        folder = plan.folder / row.name / "leak-free" / "fold1-seed3"
        files = WITH_METADATA if row is METADATA else DOCUMENTED
        files = files if row.kind == "model" else files - {"model.keras", "model_card.md", "tb"}
        assert {path.name for path in folder.iterdir()} == files
        kind = json.loads(json.dumps(getattr(row, row.kind)))
        assert json.loads((folder / "model.json").read_text())[row.kind] == kind
    assert results.loc[("neighbour", "paper"), ["image_size", "preprocessing"]].tolist() == [64, "plain"]
    assert results.loc[("plain", "paper"), ["image_size", "preprocessing"]].tolist() == [32, "paper"]
    assert np.isnan(results.loc[("mean", "paper"), "paper_accuracy"])
    for place, name in product(("paper/fold0-seed3", FOLD), ("predictions.csv", "validation_predictions.csv")):
        one, other, mean = (predictions(plan, row, place, name) for row in ("plain", "wide", "mean"))
        expected = (one[COLUMNS] + other[COLUMNS]) / 2
        np.testing.assert_allclose(mean[COLUMNS], expected, atol=1e-12)
        assert mean["sample_id"].tolist() == one["sample_id"].tolist()
        assert mean["y_pred"].tolist() == [COLUMNS[index][2:] for index in expected.to_numpy().argmax(axis=1)]
    split = Split.from_json((plan.folder / "neighbour" / FOLD / "split.json").read_text())
    lines = predictions(plan, "neighbour", FOLD)
    assert lines["sample_id"].tolist() == list(split.test)
    assert set(lines[COLUMNS].to_numpy().ravel()) == {0.0, 1.0}


def test_an_ensemble_whose_member_failed_says_which_and_the_others_finish(plan, monkeypatch):
    train = learners.train

    def failing(model, *arguments, **options):
        if "brint" in model.name:
            raise RuntimeError("no")
        return train(model, *arguments, **options)

    monkeypatch.setattr(learners, "train", failing)
    plan = replace(plan, rows=(PLAIN, WIDE, MEAN), protocols=("paper",))
    assert execute(plan)[0] == 2
    error = json.loads((plan.folder / "mean/paper/fold0-seed3/status.json").read_text())["error"]
    assert "Expected all members to be finished. Received:" in error
    assert f"wide{os.sep}paper" in error


def test_rows_of_one_architecture_share_one_compiled_network(plan, monkeypatch):
    trained, train = [], learners.train
    monkeypatch.setattr(
        learners, "train", lambda model, *given, **how: (trained.append(model), train(model, *given, **how))[1]
    )
    twin = replace(PLAIN, name="twin")
    plan = replace(plan, rows=(PLAIN, WIDE, twin), protocols=("paper",))
    assert execute(plan) == (0, 3)
    assert trained[0] is trained[1] is not trained[2]
    one, other = (plan.folder / row / "paper/fold0-seed3" for row in ("plain", "twin"))
    assert (one / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()


def test_age_and_density_alone_need_no_image(plan):
    table = plan.dataset.table.assign(image_path=[f"nowhere/{name}.jpg" for name in plan.dataset.table["sample_id"]])
    dataset = replace(plan.dataset, table=table, has_images=False)
    assert execute(replace(plan, rows=(METADATA,), dataset=dataset)) == (0, 3)


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' process memory")
def test_rows_in_one_process_do_not_grow(plan):
    """A network of 50 MB with its optimiser's 100: the two after the first two would be 300 MB if they stayed."""
    rows = [replace(WIDE, name=f"r{n}", arguments={"backbone": "tiny", "head": [6000 + n]}) for n in range(4)]
    plan = replace(plan, protocols=("paper",))
    execute(replace(plan, rows=tuple(rows[:2])))
    before = resident_megabytes()
    execute(replace(plan, rows=tuple(rows)))
    assert resident_megabytes() - before < 200


@pytest.fixture
def frozen(dataset, tiny_backbone, tmp_path) -> Plan:
    """Rows frozen up to the first pooling; two views an image."""
    profile = load_profile("quick", image_size=32, epochs=1, folds=2, feature_views=2)
    cache = CacheSettings(tmp_path / "features")
    return make_plan(dataset, tmp_path / "run", (FUSED,), profile=profile, cut="tiny_pool1", cache=cache)


def test_rows_folds_and_protocols_share_stored_features_and_models_are_whole(frozen, capsys):
    both = replace(frozen, rows=(FUSED, PLAIN), table=replace(frozen.table, rows=(FUSED, PLAIN)))
    assert execute(both)[0] == 0
    stored = [line for line in capsys.readouterr().out.splitlines() if "stored in" in line]
    assert len(stored) == 1 and "2 views of 48 images" in stored[0]  # of six trainings
    assert execute(replace(frozen, output=frozen.output.with_name("again"), protocols=("paper",)))[0] == 0
    assert "stored in" not in capsys.readouterr().out
    assert {read(frozen, one, "status.json")["frozen_features"] for one in (FOLD, "paper/fold0-seed3")} == {"stored"}
    assert read(frozen, FOLD, "config.json")["frozen_features"] is True
    model, names = keras.models.load_model(folder_of(frozen, FOLD) / "model.keras"), frozen.dataset.info.class_names
    assert [tensor.name for tensor in model.inputs] == ["image", "metadata"]
    test = select(frozen.dataset.table, tuple(read(frozen, FOLD, "split.json")["test"]))
    written = read(frozen, FOLD, "predictions.csv").set_index("sample_id").loc[test["sample_id"], COLUMNS]
    batches = evaluation_dataset(test, InputSettings("paper", 32, 8, names))
    np.testing.assert_allclose(model.predict(batches, verbose=0), written, atol=1e-5)


def test_a_row_of_two_views_is_trained_by_the_usual_loop(frozen, capsys):
    table = replace(frozen.table, rows=(TWO_VIEWS,))
    assert execute(replace(frozen, rows=(TWO_VIEWS,), table=table, protocols=("paper",)))[0] == 0
    assert "two is trained without stored features" in capsys.readouterr().out
    assert not frozen.cache.folder.exists() or not list(frozen.cache.folder.rglob("*.npy"))
    status = json.loads((frozen.folder / "two" / "paper" / "fold0-seed3" / "status.json").read_text())
    assert status["frozen_features"] is None


def test_mixed_precision_is_the_networks_own(frozen):
    assert execute(replace(frozen, protocols=("paper",), precision="mixed_bfloat16"))[0] == 0
    assert keras.config.dtype_policy().name == "float32"  # for whatever comes next in this process
    layer = keras.models.load_model(folder_of(frozen, "paper/fold0-seed3") / "model.keras").get_layer(
        "tiny_conv2_linear"
    )
    assert (layer.dtype_policy.name, layer.kernel.dtype) == ("mixed_bfloat16", "float32")
    written = read(frozen, "paper/fold0-seed3", "predictions.csv")[COLUMNS]
    np.testing.assert_allclose(written.sum(axis=1), 1, atol=1e-5)
