"""Which trainings a table needs, where each stands, and what must not change between them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.errors import SplitError
from mmdc_tf.experiments.grid import Plan, make_cells
from mmdc_tf.experiments.rows import choose_rows, load_table
from mmdc_tf.training.recipe import load_profile


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    table = load_table("table2")
    return Plan(
        table=table,
        rows=choose_rows(table, ["vgg16", "mmdcnet_beta"]),
        dataset=phantom_mammograms(tmp_path_factory.mktemp("phantom") / "data", patients=12, height=64),
        preprocessing="paper",
        profile=load_profile("quick", folds=3),
        weights="none",
        cut="auto",
        protocols=("paper", "leak-free"),
        seed=4,
        seeds=2,
        output=Path("runs/here"),
    )


def test_one_training_a_row_protocol_fold_and_seed(plan):
    """2 rows × (1 paper split + 3 folds) × 2 seeds, a row after the other."""
    places = [str(cell.folder.relative_to("runs/here/table2")) for cell in make_cells(plan)]
    assert places == [
        f"{row}/{protocol}/fold{fold}-seed{seed}"
        for row in ("vgg16", "mmdcnet_beta")
        for protocol, folds in (("paper", 1), ("leak-free", 3))
        for fold in range(folds)
        for seed in (4, 5)
    ]


def test_a_cell_says_what_its_folder_says(plan):
    for cell in make_cells(plan):
        assert cell.folder.parts[-3:] == (
            cell.row.name,
            cell.split.protocol,
            f"fold{cell.split.fold}-seed{cell.seed}",
        )
        config = cell.config(plan)
        assert (config["row"], config["protocol"], config["fold"]) == (
            cell.row.name,
            cell.split.protocol,
            cell.split.fold,
        )
        assert (config["training_seed"], config["split_hash"]) == (cell.seed, cell.split.hash)
        assert json.loads(json.dumps(config))["arguments"] == cell.row.arguments


def test_all_rows_and_seeds_share_the_splits(plan):
    hashes: dict[tuple[str, int], set[str]] = {}
    for cell in make_cells(plan):
        hashes.setdefault((cell.split.protocol, cell.split.fold), set()).add(cell.split.hash)
    assert len(hashes) == 4
    assert all(len(found) == 1 for found in hashes.values())
    assert len(set.union(*hashes.values())) == 4


def test_one_protocol_alone(plan):
    cells = make_cells(replace(plan, protocols=("leak-free",), seeds=1))
    assert [(cell.row.name, cell.split.fold) for cell in cells] == [
        (row, fold) for row in ("vgg16", "mmdcnet_beta") for fold in range(3)
    ]


def test_more_folds_than_patients_of_a_class_are_refused(plan):
    with pytest.raises(SplitError, match="fewer --folds"):
        make_cells(replace(plan, profile=load_profile("quick", folds=9)))


@pytest.mark.parametrize(
    ("weights", "cut", "expected"),
    [
        ("none", "auto", [None, None]),  # freezing random weights means nothing
        ("imagenet", "auto", ["block3_pool", "block4c_add"]),
        ("a/folder", "auto", ["block3_pool", "block4c_add"]),
        ("imagenet", "none", [None, None]),
        ("none", "block1_pool", ["block1_pool", "block1_pool"]),
    ],
)
def test_the_cut_follows_the_weights_unless_one_is_asked_for(plan, weights, cut, expected):
    cells = make_cells(replace(plan, weights=weights, cut=cut, protocols=("paper",), seeds=1))
    assert [cell.cut for cell in cells] == expected
    assert [cell.config(plan)["layer_cut"] for cell in cells] == expected


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 5},
        {"weights": "imagenet"},
        {"cut": "none"},
        {"preprocessing": "ultrasound"},
        {"profile": load_profile("quick", folds=4)},
        {"profile": load_profile("quick", folds=3, epochs=5)},
        {"profile": load_profile("quick", folds=3, batch_size=8)},
        {"profile": load_profile("quick", folds=3, image_size=32)},
    ],
    ids=str,
)
def test_whatever_changes_the_numbers_changes_the_shared_configuration(plan, change):
    assert replace(plan, **change).shared_config() != plan.shared_config()


def test_another_dataset_changes_the_shared_configuration(plan):
    table = plan.dataset.table.copy()
    table.loc[3, "age"] = 77.5
    other = replace(plan, dataset=replace(plan.dataset, table=table))
    changed = {key for key, value in other.shared_config().items() if value != plan.shared_config()[key]}
    assert changed == {"dataset_fingerprint"}


def test_rows_protocols_and_seeds_can_be_added_to_a_run(plan):
    other = replace(plan, rows=plan.rows[:1], protocols=("paper",), seeds=3, output=Path("elsewhere"))
    assert other.shared_config() == plan.shared_config()
    assert json.loads(json.dumps(plan.shared_config()))["training"]["epochs"] == plan.profile.recipe.epochs
