"""Which trainings a table needs, where each stands, and what must not change between them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mmdc_tf.experiments.plan import Plan, make_trainings, row_inputs
from mmdc_tf.experiments.rows import Row, choose_rows, load_table
from mmdc_tf.training.recipe import load_profile


@pytest.fixture
def plan(dataset) -> Plan:
    table = load_table("table2")
    return Plan(
        table=table,
        rows=choose_rows(table, ["vgg16", "mmdcnet_beta"]),
        dataset=dataset,
        preprocessing="paper",
        profile=load_profile("quick", folds=3),
        weights="none",
        cut="auto",
        protocols=("paper", "leak-free"),
        seed=4,
        seeds=2,
        output=Path("runs/here"),
    )


def test_one_training_a_row_protocol_fold_and_seed_on_shared_splits(plan):
    """2 rows × (1 paper split + 3 folds) × 2 seeds, a row after the other."""
    trainings = make_trainings(plan)
    assert [str(one.folder.relative_to("runs/here/table2")) for one in trainings] == [
        f"{row}/{protocol}/fold{fold}-seed{seed}"
        for row in ("vgg16", "mmdcnet_beta")
        for protocol, folds in (("paper", 1), ("leak-free", 3))
        for fold in range(folds)
        for seed in (4, 5)
    ]
    assert len({one.split.hash for one in trainings}) == 4
    for one in trainings:
        config = json.loads(json.dumps(one.config(plan)))
        place = (config["row"], config["protocol"], f"fold{config['fold']}-seed{config['training_seed']}")
        assert place == one.folder.parts[-3:]
        assert (config["split_hash"], config["arguments"]) == (one.split.hash, one.row.arguments)


@pytest.mark.parametrize(
    ("weights", "cut", "expected"),
    [
        ("none", "auto", [None, None]),  # freezing random weights means nothing
        ("imagenet", "auto", ["block3_pool", "block4c_add"]),
        ("a/folder", "auto", ["block3_pool", "block4c_add"]),
        ("imagenet", "none", [None, None]),
        ("none", "block1_pool", ["block1_pool", "block1_pool"]),
        ("imagenet", "top", ["block5_pool", "top_activation"]),  # the last feature maps
    ],
)
def test_the_cut_follows_the_weights_unless_one_is_asked_for(plan, weights, cut, expected):
    trainings = make_trainings(replace(plan, weights=weights, cut=cut, protocols=("paper",), seeds=1))
    assert [one.cut for one in trainings] == [one.config(plan)["layer_cut"] for one in trainings] == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 5}, {"seed"}),
        ({"weights": "imagenet"}, {"weights"}),
        ({"cut": "none"}, {"cut"}),
        ({"preprocessing": "ultrasound"}, {"preprocessing", "preprocessing_steps"}),
        ({"profile": load_profile("quick", folds=4)}, {"folds"}),
        ({"profile": load_profile("quick", folds=3, epochs=5)}, {"training"}),
        ({"devices": "all"}, {"devices"}),
        # what may be added to a run
        ({"protocols": ("paper",), "seeds": 3, "output": Path("elsewhere"), "tensorboard": "full"}, set()),
    ],
)
def test_whatever_changes_the_numbers_changes_the_shared_configuration(plan, change, named):
    before, after = plan.shared_config(), replace(plan, **change).shared_config()
    assert {key for key in after if after[key] != before.get(key)} == named


@pytest.mark.parametrize(
    ("table", "row", "asked", "size"),
    [
        ("table1", "moon_vgg_like", 8, 16),
        ("table1", "swin", 33, 36),
        ("table1", "vit_b16", 100, 112),
        ("table2", "brint_custom_cnn", 8, 14),
        ("table2", "mmdcnet_beta", 16, 33),
        ("figure3", "mmdcnet", 16, 61),
        ("table2", "kacher_xception", 32, 71),
        ("table2", "mmdcnet_beta", 224, 224),
    ],
)
def test_a_size_that_the_network_does_not_take_is_raised_to_the_next(plan, table, row, asked, size):
    rows, profile = choose_rows(load_table(table), [row]), load_profile("quick", image_size=asked, folds=2)
    trainings = make_trainings(replace(plan, table=load_table(table), rows=rows, profile=profile))
    assert {one.image_size for one in trainings} == {size}


def test_rows_of_one_architecture_come_together(plan):
    vgg, other = plan.rows
    rows = (vgg, other, replace(vgg, name="twin"), replace(vgg, name="small", largest_image_size=40))
    rows = (*rows, replace(vgg, name="deeper", cut="block2_pool"))
    trainings = make_trainings(replace(plan, rows=rows, protocols=("paper",), seeds=1, weights="imagenet"))
    assert [one.row.name for one in trainings] == ["vgg16", "twin", "mmdcnet_beta", "small", "deeper"]
    assert len({one.architecture for one in trainings}) == 4


def test_the_tensors_of_each_kind_of_row(plan):
    mean = Row("mean", "Mean", "here", members=("vgg16", "metadata_only"))
    known = {row.name: row for row in plan.table.rows}
    expected = {"vgg16": ("image",), "mmdcnet_beta": ("image", "metadata"), "metadata_only": ("metadata",)}
    assert {name: row_inputs(known[name], plan.table) for name in expected} == expected
    assert row_inputs(mean, plan.table) == ("image", "metadata")
