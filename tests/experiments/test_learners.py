"""Networks, classifiers without one, and ensembles go through the same splits, files and tables."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_run import DOCUMENTED, NUMBERS, PLAIN, WITH_METADATA, execute, make_plan

from mmdc_tf.datasets.splits import Split, select
from mmdc_tf.experiments.grid import Plan, make_cells, row_inputs
from mmdc_tf.experiments.results import table_results
from mmdc_tf.experiments.rows import Row
from mmdc_tf.training import trainer
from mmdc_tf.training.recipe import load_profile

TWIN = replace(PLAIN, name="twin")
WIDE = Row("wide", "Wide", "here", NUMBERS, model="brint_classifier", arguments={"backbone": "tiny", "head": [4]})
MEAN = Row("mean", "Mean", "here", None, members=("plain", "wide"), extra=True)
NEIGHBOUR = Row(
    "image_nearest_neighbour",
    "1-NN",
    "probe",
    classifier="image_nearest_neighbour",
    preprocessing="plain",
    extra=True,
)
METADATA = Row("metadata_only", "Metadata", "probe", classifier="metadata_only", extra=True)
PROFILE = load_profile("quick", image_size=32, epochs=1, folds=2)


@pytest.fixture
def plan(dataset, tiny_backbone, tmp_path) -> Plan:
    return make_plan(dataset, tmp_path, (PLAIN, WIDE, MEAN, NEIGHBOUR, METADATA), profile=PROFILE)


def statuses(plan: Plan) -> dict[str, set[str]]:
    results = table_results(plan.table, plan.folder)
    return {row: set(part["status"]) for row, part in results.groupby("row")}


def predictions(plan: Plan, row: str, place: str) -> pd.DataFrame:
    return pd.read_csv(plan.folder / row / place / "predictions.csv")


def test_all_kinds_of_rows_finish_and_stand_in_the_table(plan):
    assert execute(plan) == (0, 15)
    assert statuses(plan) == {row.name: {"ok"} for row in plan.rows}
    networks = {"plain", "wide"}
    for row in plan.rows:
        folder = plan.folder / row.name / "leak-free" / "fold1-seed3"
        files = WITH_METADATA if row is METADATA else DOCUMENTED
        files = files if row.name in networks else files - {"model.keras", "model_card.md", "tb"}
        assert {path.name for path in folder.iterdir()} == files
        assert json.loads((folder / "model.json").read_text())[row.kind] == json.loads(
            json.dumps(getattr(row, row.kind))
        )
    results = table_results(plan.table, plan.folder).set_index(["row", "protocol"])
    assert results.loc[("image_nearest_neighbour", "paper"), ["image_size", "preprocessing"]].tolist() == [64, "plain"]
    assert results.loc[("plain", "paper"), ["image_size", "preprocessing"]].tolist() == [32, "paper"]
    assert np.isnan(results.loc[("mean", "paper"), "paper_accuracy"])
    _check_mean(plan)
    _check_neighbour(plan)


def _check_mean(plan: Plan) -> None:
    """The ensemble's probabilities are the members' mean, its guess the largest of them."""
    for place in ("paper/fold0-seed3", "leak-free/fold0-seed3"):
        members = [predictions(plan, row, place) for row in ("plain", "wide")]
        mean = predictions(plan, "mean", place)
        columns = ["p_benign", "p_cancer", "p_normal"]
        expected = (members[0][columns] + members[1][columns]) / 2
        np.testing.assert_allclose(mean[columns], expected, atol=1e-12)
        assert mean["sample_id"].tolist() == members[0]["sample_id"].tolist()
        assert mean["y_pred"].tolist() == [columns[index][2:] for index in expected.to_numpy().argmax(axis=1)]


def _check_neighbour(plan: Plan) -> None:
    """A probe is scored on exactly the test part of its split."""
    folder = plan.folder / "image_nearest_neighbour" / "leak-free" / "fold0-seed3"
    split = Split.from_json((folder / "split.json").read_text())
    table = select(plan.dataset.table, split.test)
    lines = pd.read_csv(folder / "predictions.csv")
    assert lines["sample_id"].tolist() == table["sample_id"].tolist()
    assert lines["y_true"].tolist() == table["label"].tolist()
    assert set(lines[["p_benign", "p_cancer", "p_normal"]].to_numpy().ravel()) == {0.0, 1.0}


def test_an_ensemble_whose_member_failed_says_which_and_the_others_finish(plan, monkeypatch):
    broken = replace(WIDE, arguments={**WIDE.arguments, "head": [0.5]})

    def train(model, *arguments):
        if "brint" in model.name:
            raise RuntimeError("no")
        return trainer.train(model, *arguments)

    monkeypatch.setattr("mmdc_tf.experiments.learners.train", train)
    plan = replace(plan, rows=(PLAIN, broken, MEAN), protocols=("paper",))
    assert execute(plan)[0] == 2
    error = json.loads((plan.folder / "mean/paper/fold0-seed3/status.json").read_text())["error"]
    assert "Expected all members to be finished. Received:" in error
    assert f"wide{os.sep}paper" in error


def test_rows_of_one_architecture_come_together_and_share_one_compiled_network(plan, monkeypatch):
    compiled: list[str] = []
    original = trainer._compile
    monkeypatch.setattr(trainer, "_compile", lambda model, *how: (compiled.append(model.name), original(model, *how)))
    plan = replace(plan, rows=(PLAIN, WIDE, TWIN), protocols=("paper",))
    assert [cell.row.name for cell in make_cells(plan)] == ["plain", "twin", "wide"]
    assert execute(plan) == (0, 3)
    assert compiled == ["tiny_classifier", "brint_tiny"]
    one, other = (plan.folder / row / "paper/fold0-seed3" for row in ("plain", "twin"))
    assert (one / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()


def test_another_size_or_cut_is_another_network(plan):
    rows = (PLAIN, replace(TWIN, largest_image_size=40))
    profile = load_profile("quick", image_size=64, folds=2)
    cells = make_cells(replace(plan, rows=rows, protocols=("paper",), profile=profile))
    assert [cell.image_size for cell in cells] == [64, 40]
    assert cells[0].architecture != cells[1].architecture
    cut = make_cells(replace(plan, rows=(PLAIN, replace(TWIN, cut="tiny_pool1")), weights="x", protocols=("paper",)))
    assert cut[0].architecture != cut[1].architecture


@pytest.mark.parametrize(("asked", "expected"), [(32, 71), (96, 96)])
def test_a_size_that_a_network_does_not_take_is_raised(plan, asked, expected):
    """Xception takes no image below 71 pixels."""
    row = replace(PLAIN, arguments={"backbone": "xception"})
    profile = load_profile("quick", image_size=asked, folds=2)
    assert make_cells(replace(plan, rows=(row,), profile=profile))[0].image_size == expected


def test_the_tensors_of_each_kind_of_row(plan):
    table = replace(plan.table, rows=(*plan.rows, replace(MEAN, name="both", members=("plain", "metadata_only"))))
    inputs = {row.name: row_inputs(row, table) for row in table.rows}
    assert inputs["plain"] == inputs["mean"] == inputs["image_nearest_neighbour"] == ("image",)
    assert inputs["metadata_only"] == ("metadata",)
    assert inputs["both"] == ("image", "metadata")


def test_age_and_density_alone_need_no_image(plan):
    table = plan.dataset.table.assign(image_path=[f"nowhere/{name}.jpg" for name in plan.dataset.table["sample_id"]])
    dataset = replace(plan.dataset, table=table, has_images=False)
    assert execute(replace(plan, rows=(METADATA,), dataset=dataset)) == (0, 3)


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' process memory")
def test_rows_in_one_process_do_not_grow(plan):
    """A network of 50 MB with its optimiser's 100: the four after the first three would be 600 MB if they stayed."""
    big = {"backbone": "tiny", "head": [6000]}
    rows = [replace(WIDE, name=f"row{number}", arguments={**big, "head": [6000 + number]}) for number in range(7)]
    plan = replace(plan, protocols=("paper",))
    execute(replace(plan, rows=tuple(rows[:3])))
    before = resident_megabytes()
    execute(replace(plan, rows=tuple(rows)))
    assert resident_megabytes() - before < 300
