"""Runs whose rows have a frozen part: its features are stored once, and the models are whole."""

from __future__ import annotations

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from small_run import FUSED, PLAIN, execute, folder_of, make_plan, read

from mmdc_tf.datasets.splits import select
from mmdc_tf.experiments.rows import Row
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.training.feature_store import CacheSettings, list_entries
from mmdc_tf.training.recipe import load_profile

CELL = "leak-free/fold0-seed3"
TWO_VIEWS = Row("two", "Two views", "here", model="two_view_classifier", arguments={"backbone": "tiny"})


@pytest.fixture
def plan(dataset, tiny_backbone, tmp_path):
    """Rows frozen up to the first pooling; two views an image."""
    profile = load_profile("quick", image_size=32, epochs=1, folds=2, feature_views=2)
    cache = CacheSettings(tmp_path / "features")
    return make_plan(dataset, tmp_path / "run", (FUSED,), profile=profile, cut="tiny_pool1", cache=cache)


def test_rows_folds_and_protocols_share_the_features(plan, capsys):
    both = replace(plan, rows=(FUSED, PLAIN), table=replace(plan.table, rows=(FUSED, PLAIN)))
    assert execute(both)[0] == 0
    stored = [line for line in capsys.readouterr().out.splitlines() if "stored in" in line]
    assert len(stored) == 1 and "2 views of 48 images" in stored[0]  # of six trainings
    assert len(list_entries(plan.cache.folder)) == 2
    again = replace(plan, output=plan.output.with_name("again"), protocols=("paper",))
    assert execute(again)[0] == 0
    assert "stored in" not in capsys.readouterr().out
    assert {read(plan, cell, "status.json")["frozen_features"] for cell in (CELL, "paper/fold0-seed3")} == {"stored"}
    config = read(plan, CELL, "config.json")
    assert (config["frozen_features"], config["training"]["feature_views"], config["precision"]) == (True, 2, "float32")


def test_the_saved_model_is_whole_and_gives_the_predictions_of_the_run(plan):
    assert execute(replace(plan, protocols=("leak-free",)))[0] == 0
    folder, names = folder_of(plan, CELL), plan.dataset.info.class_names
    model = keras.models.load_model(folder / "model.keras")
    assert [tensor.name for tensor in model.inputs] == ["image", "metadata"]
    test = select(plan.dataset.table, json.loads((folder / "split.json").read_text())["test"])
    batches = evaluation_dataset(test, InputSettings("paper", 32, 8, names))
    written = read(plan, CELL, "predictions.csv").set_index("sample_id").loc[test["sample_id"]]
    expected = written[[f"p_{name}" for name in names]]
    np.testing.assert_allclose(model.predict(batches, verbose=0), expected, atol=1e-5)


def test_a_row_of_two_views_is_trained_by_the_usual_loop(plan, capsys):
    rows = {"rows": (TWO_VIEWS,), "table": replace(plan.table, rows=(TWO_VIEWS,)), "protocols": ("paper",)}
    assert execute(replace(plan, **rows))[0] == 0
    assert "two is trained without stored features" in capsys.readouterr().out
    assert list_entries(plan.cache.folder) == []
    status = json.loads((plan.folder / "two" / "paper" / "fold0-seed3" / "status.json").read_text())
    assert status["frozen_features"] is None


def test_another_precision_trains_and_saves_alike(plan):
    changed = replace(plan, protocols=("paper",), precision="mixed_bfloat16")
    assert execute(changed)[0] == 0
    assert keras.config.dtype_policy().name == "float32"  # for whatever comes next in this process
    model = keras.models.load_model(folder_of(plan, "paper/fold0-seed3") / "model.keras")
    assert model.get_layer("tiny_conv2_linear").dtype_policy.name == "mixed_bfloat16"
    assert model.get_layer("tiny_conv2_linear").kernel.dtype == "float32"
    written = read(plan, "paper/fold0-seed3", "predictions.csv").filter(regex="^p_")
    np.testing.assert_allclose(written.sum(axis=1), 1, atol=1e-5)
