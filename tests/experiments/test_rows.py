"""The two tables of the paper as data: every number, every row, and what each row is built from."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
import tensorflow as tf
from small_run import FUSED, make_plan

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.rows import TABLES, Row, choose_rows, load_table, tables_in
from mmdc_tf.models import ModelSettings, build_model
from mmdc_tf.report.formatting import made_from

# Table I and Table II as printed: row, reference, accuracy, precision, recall, F1. No reference: the paper's own.
PRINTED = {
    1: """
        moon_densenet121    [25] 88.46 77.50 83.78 80.52
        moon_densenet40     [25] 90.77 80.00 88.89 84.21
        moon_vgg_like       [25] 85.38 75.00 76.92 75.95
        moon_densenet161    [25] 94.62 90.00 92.31 91.14
        sw_forknet          [10] 93.12 92.27 92.27 92.27
        swin                [10] 52.45 50.13 51.46 50.79
        convmixer           [10] 83.42 81.72 80.65 81.18
        uzen_densenet121    [10] 88.02 86.84 86.80 86.82
        uzen_resnet101      [10] 91.22 90.25 90.62 90.43
        uzen_efficientnetb0 [10] 86.14 83.50 84.51 84.00
        uzen_xception       [10] 90.19 89.31 89.29 89.30
        uzen_vgg16          [10] 87.23 86.65 85.05 85.84
        bcdnet_alpha        paper 97.05 96.91 96.49 96.66
        bcdnet_beta         paper 96.67 95.87 97.26 96.53
        bcdnet_gamma        paper 92.56 94.44 89.93 91.79
    """,
    2: """
        kacher_densenet201  [26] 86.51 86.53 86.54 86.54
        kacher_xception     [26] 82.99 83.08 83.04 83.06
        kacher_resnet50     [26] 82.70 82.70 82.71 82.70
        kacher_mobilenet    [26] 81.23 81.23 82.24 81.23
        kacher_inception    [26] 78.30 78.53 78.39 78.46
        brint_vgg16         [20] 90.26 90.53 89.98 90.25
        brint_mobilenetv2   [20] 78.03 78.78 77.34 78.05
        brint_custom_cnn    [20] 71.22 72.71 69.11 70.87
        brint_resnet50      [20] 58.85 93.93 26.26 41.05
        brint_vgg19         [20] 39.00 98.50  5.38 10.20
        densenet201         paper 79.38 79.35 79.98 79.25
        efficientnetb0      paper 70.00 70.32 70.31 70.31
        vgg16               paper 55.00 55.99 55.98 55.98
        vgg16_atten         paper 62.00 63.03 63.02 63.02
        mmdcnet_alpha       paper 90.87 91.55 91.61 91.58
        mmdcnet_beta        paper 84.73 85.33 85.50 85.37
        mmdcnet_gamma       paper 78.46 79.68 79.28 79.44
    """,
}

# What each row is: the registered model or classifier and its backbone, as the tables' captions, section II-B, the
# text on Fig. 3 and the comparators' publications name them.
PLAIN = "backbone_classifier"
BUILT = {
    "table1": {
        "moon_densenet121": (PLAIN, "densenet121"),
        "moon_densenet40": ("densenet40", None),
        "moon_vgg_like": ("vgg_like", None),
        "moon_densenet161": ("densenet161", None),
        "sw_forknet": ("sw_forknet", "densenet121"),
        "swin": ("swin", None),
        "convmixer": ("convmixer", None),
        "uzen_densenet121": (PLAIN, "densenet121"),
        "uzen_resnet101": (PLAIN, "resnet101"),
        "uzen_efficientnetb0": (PLAIN, "efficientnetb0"),
        "uzen_xception": (PLAIN, "xception"),
        "uzen_vgg16": (PLAIN, "vgg16"),
        "bcdnet_alpha": ("bcdnet", "densenet121"),
        "bcdnet_beta": ("bcdnet", "efficientnetb0"),
        "bcdnet_gamma": ("bcdnet", "vgg16"),
    },
    "table2": {
        "kacher_densenet201": (PLAIN, "densenet201"),
        "kacher_xception": (PLAIN, "xception"),
        "kacher_resnet50": (PLAIN, "resnet50"),
        "kacher_mobilenet": (PLAIN, "mobilenet"),
        "kacher_inception": (PLAIN, "inceptionv3"),
        "brint_vgg16": ("brint_classifier", "vgg16"),
        "brint_mobilenetv2": ("brint_classifier", "mobilenetv2"),
        "brint_custom_cnn": ("brint_custom_cnn", None),
        "brint_resnet50": ("brint_classifier", "resnet50"),
        "brint_vgg19": ("brint_classifier", "vgg19"),
        "densenet201": (PLAIN, "densenet201"),
        "efficientnetb0": (PLAIN, "efficientnetb0"),
        "vgg16": (PLAIN, "vgg16"),
        "vgg16_atten": ("bcdnet", "vgg16"),
        "mmdcnet_alpha": ("mmdcnet", "densenet201"),
        "mmdcnet_beta": ("mmdcnet", "efficientnetb0"),
        "mmdcnet_gamma": ("mmdcnet", "vgg16"),
    },
    "figure3": {
        "m1": ("ablation", "densenet201"),
        "m2": ("ablation", "vgg16"),
        "m3": ("ablation", "densenet201"),
        "m4": ("ablation", "efficientnetb0"),
        "m5": ("ablation_image_only", "densenet201"),
        "mmdcnet": ("mmdcnet", "densenet201"),
    },
}
EXTRA = {
    "table1": {"moon_ensemble", "bcdnet_mobilenet", "image_nearest_neighbour", "hog_svm", "vit_b16"},
    "table2": {
        "mmdcnet_mobilenet",
        "two_view_densenet201",
        "mmdcnet_medfuse",
        "metadata_only",
        "image_nearest_neighbour",
        "hog_svm",
        "vit_b16",
    },
    "figure3": set(),
}


KNOWN = {
    1: ("busi", "ultrasound", "phantom-ultrasound"),
    2: ("mini-ddsm", "mammography", "phantom-mammogram"),
}


def of_the_paper(number: int) -> list[Row]:
    return [row for row in load_table(f"table{number}").rows if not row.extra]


def printed(number: int) -> list[tuple[str, str, tuple[float, ...]]]:
    lines = [line.split() for line in PRINTED[number].split("\n") if line.strip()]
    return [(name, source, tuple(map(float, values))) for name, source, *values in lines]


@pytest.mark.parametrize(("number", "count"), [(1, 15), (2, 17)])
def test_every_row_in_order_with_the_printed_numbers(number, count):
    rows = of_the_paper(number)
    assert len(rows) == count
    assert [(row.name, row.paper) for row in rows] == [(name, values) for name, _, values in printed(number)]
    for row, (_, source, _) in zip(rows, printed(number), strict=True):
        assert row.citation.endswith(source)
    table = load_table(f"table{number}")
    assert (table.dataset, table.modality, table.phantom) == KNOWN[number]


@pytest.mark.parametrize("name", TABLES)
def test_each_row_of_the_paper_is_the_network_that_its_publication_names(name):
    rows = [row for row in load_table(name).rows if not row.extra]
    assert {row.name: (row.model, row.arguments.get("backbone")) for row in rows} == BUILT[name]


@pytest.mark.parametrize("name", TABLES)
def test_the_extra_rows_come_last_and_only_where_they_are_named(name):
    rows = load_table(name).rows
    assert {row.name for row in rows if row.extra} == EXTRA[name]
    assert [row.extra for row in rows] == sorted(row.extra for row in rows)
    assert all(re.fullmatch(r"[a-z0-9_]+", row.name) for row in rows) and len({row.name for row in rows}) == len(rows)
    for asked in (None, ["all"]):
        assert [row.name for row in choose_rows(load_table(name), asked)] == list(BUILT[name])


@pytest.mark.parametrize("name", TABLES)
def test_rows_name_registered_models_and_recipes_and_cuts_of_their_network(name):
    from mmdc_tf.models import BACKBONES, MODELS
    from mmdc_tf.models.classifiers import CLASSIFIERS
    from mmdc_tf.preprocessing.recipes import RECIPES

    for row in load_table(name).rows:
        assert row.model is None or row.model in MODELS
        assert row.classifier is None or row.classifier in CLASSIFIERS
        assert row.preprocessing is None or row.preprocessing in RECIPES
        if row.cut and "backbone" in row.arguments:
            backbone = BACKBONES[row.arguments["backbone"]]
            assert row.cut in (*backbone.cuts, backbone.gradcam_layer, row.arguments.get("layer"))


@pytest.mark.parametrize("name", TABLES)
def test_what_is_not_published_is_said_of_every_row_and_table(name):
    table = load_table(name)
    assert table.notes
    assert [row.name for row in table.rows if not row.notes] == []


def test_an_ensemble_brings_its_members_before_it():
    chosen = [row.name for row in choose_rows(load_table("table1"), ["moon_ensemble", "moon_vgg_like", "swin"])]
    members = ["moon_densenet121", "moon_densenet40", "moon_vgg_like", "moon_densenet161"]
    assert chosen == [*members, "moon_ensemble", "swin"]


def test_named_rows_are_chosen_in_the_order_given_and_once():
    chosen = choose_rows(load_table("table2"), ["vgg16", "mmdcnet_beta", "vgg16"])
    assert [row.name for row in chosen] == ["vgg16", "mmdcnet_beta"]
    with pytest.raises(ConfigurationError, match="rows=''"):
        choose_rows(load_table("table1"), [])


@pytest.mark.parametrize("given", [{}, {"model": "swin", "classifier": "hog_svm"}])
def test_a_row_is_exactly_one_thing(given):
    with pytest.raises(ConfigurationError, match=r"one of model, classifier, members\. Received: row='odd'"):
        Row("odd", "Odd", "here", **given)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mmdcnet_alfa", r"Did you mean 'mmdcnet_alpha'\?"),
        ("VGG16", r"Did you mean 'vgg16'\?"),
        ("?", "See --list"),
        ("bcdnet_alpha", "It is a row of Table I: --table 1"),
    ],
)
def test_an_unknown_row_suggests_the_nearest(name, hint):
    with pytest.raises(ConfigurationError, match=rf"rows of table2: .*Received: rows='{re.escape(name)}'. {hint}"):
        choose_rows(load_table("table2"), ["vgg16", name])


@pytest.mark.parametrize(
    ("table", "row"),
    [("table1", "moon_vgg_like"), ("table1", "swin"), ("table1", "vit_b16"), ("table1", "convmixer")]
    + [("table1", "moon_densenet40"), ("table2", "brint_custom_cnn")]
    + [("table2", name) for name in ("mmdcnet_beta", "mmdcnet_gamma")],
)
def test_the_declared_smallest_size_is_the_smallest_that_the_network_takes(table, row):
    """At it the network predicts in a graph, as in training; one pixel less is refused by name."""
    (one,) = choose_rows(load_table(table), [row])
    size = max(one.smallest_image_size, one.image_size_step)
    with pytest.raises(ConfigurationError, match=f"image_size={size - 1}|Received: 1 by 1"):
        build_model(str(one.model), ModelSettings(size - 1), **one.arguments)
    model = build_model(str(one.model), ModelSettings(size), **one.arguments)
    specs = {tensor.name: tf.TensorSpec(tensor.shape, "float32") for tensor in model.inputs}
    graph = tf.function(lambda given: model(given, training=True)).get_concrete_function(specs)
    assert graph.outputs[0].shape == (None, 3)


@pytest.mark.parametrize(
    ("run", "title"),
    [
        ({"dataset": "mini-ddsm"}, "Table II: performance on Mini-DDSM"),
        ({"dataset": "busi"}, "Table II: performance on busi"),
        ({"dataset": "phantom-mammogram"}, "Table II: performance on phantom-mammogram"),
        ({"dataset": "folder", "dataset_title": "our scans"}, "Table II: performance on our scans"),
    ],
)
def test_a_title_names_the_dataset_that_was_used(run, title, tmp_path):
    assert load_table("table2").made_from(run).title == title
    (tmp_path / "table2").mkdir()
    (tmp_path / "table2" / "run.json").write_text(json.dumps(run))
    assert [table.title for table in tables_in(tmp_path)] == [title]


def test_a_users_own_folder_is_named_in_the_run(dataset, tmp_path):
    own = replace(dataset, info=replace(dataset.info, name="folder", title="our\x1bscans"))
    shared = make_plan(own, tmp_path, (FUSED,)).shared_config()
    assert shared["dataset_title"] == "our?scans"
    assert "Made from our?scans (" in " ".join(made_from(shared))
    assert "dataset_title" not in make_plan(dataset, tmp_path, (FUSED,)).shared_config()
