"""The two tables of the paper as data: every number, every row, and what each row is built from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.rows import choose_rows, load_table

PAPER = Path(__file__).parents[3] / "shared" / "paper.txt"

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

# The rows that train so far, and the backbones that the tables' captions give them.
BUILT = {
    "bcdnet_alpha": ("bcdnet", "densenet121"),
    "bcdnet_beta": ("bcdnet", "efficientnetb0"),
    "bcdnet_gamma": ("bcdnet", "vgg16"),
    "densenet201": ("backbone_classifier", "densenet201"),
    "efficientnetb0": ("backbone_classifier", "efficientnetb0"),
    "vgg16": ("backbone_classifier", "vgg16"),
    "vgg16_atten": ("bcdnet", "vgg16"),
    "mmdcnet_alpha": ("mmdcnet", "densenet201"),
    "mmdcnet_beta": ("mmdcnet", "efficientnetb0"),
    "mmdcnet_gamma": ("mmdcnet", "vgg16"),
}


def printed(number: int) -> list[tuple[str, str, tuple[float, ...]]]:
    lines = [line.split() for line in PRINTED[number].split("\n") if line.strip()]
    return [(name, source, tuple(map(float, values))) for name, source, *values in lines]


def lines_of_the_paper(number: int) -> list[tuple[str, tuple[float, ...]]]:
    """The method and the four numbers of each line of a table in the paper's text."""
    table = PAPER.read_text(encoding="utf-8").split("Method\tAccuracy\tPrecision\tRecall\tF1 Score\n")[number]
    lines = [re.sub("</?b>", "", line).split("\t") for line in table.split("\n\n")[0].split("\n")]
    return [(method, tuple(map(float, values))) for method, *values in lines]


@pytest.mark.parametrize(("number", "count"), [(1, 15), (2, 17)])
def test_every_row_in_order_with_the_printed_numbers(number, count):
    rows = load_table(number).rows
    assert len(rows) == count
    assert [(row.name, row.paper) for row in rows] == [(name, values) for name, _, values in printed(number)]


@pytest.mark.parametrize("number", [1, 2])
def test_every_row_cites_its_source(number):
    for row, (_, source, _) in zip(load_table(number).rows, printed(number), strict=True):
        assert row.citation.endswith(source)


@pytest.mark.skipif(not PAPER.is_file(), reason=f"the paper's text is not at {PAPER}")
@pytest.mark.parametrize("number", [1, 2])
def test_the_papers_own_text_has_the_same_lines(number):
    rows = load_table(number).rows
    lines = lines_of_the_paper(number)
    assert [row.paper for row in rows] == [values for _, values in lines]
    for row, (method, _) in zip(rows, lines, strict=True):
        reference = re.search(r"\[\d+\]", method)
        assert row.citation.endswith(reference[0] if reference else "the paper")
        greek = re.search(r"alpha|beta|gamma", method)
        assert greek is None or row.name.endswith(greek[0])
        # "MMCDNet" and "MobilNetV2" are slips of the tables: the text says MMDCNet, and the network is MobileNetV2
        name = method.split(" [")[0].split(" $")[0].replace("MMCDNet", "MMDCNet").replace("MobilNet", "MobileNet")
        assert row.label.startswith(name)


@pytest.mark.parametrize(
    ("number", "dataset", "modality"), [(1, "busi", "ultrasound"), (2, "mini-ddsm", "mammography")]
)
def test_each_table_knows_its_data(number, dataset, modality):
    table = load_table(number)
    assert (table.name, table.dataset, table.modality) == (f"table{number}", dataset, modality)
    assert table.phantom == {"ultrasound": "phantom-ultrasound", "mammography": "phantom-mammogram"}[modality]


@pytest.mark.parametrize("number", [1, 2])
def test_names_are_unique_and_good_for_folders(number):
    names = [row.name for row in load_table(number).rows]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)


def test_exactly_the_ten_rows_of_the_first_release_are_built():
    rows = {row.name: row for number in (1, 2) for row in load_table(number).rows if row.model is not None}
    assert {name: (row.model, row.arguments["backbone"]) for name, row in rows.items()} == BUILT


@pytest.mark.parametrize("number", [1, 2])
def test_built_rows_name_registered_models_and_cuts_of_their_backbone(number):
    from mmdc_tf.models import BACKBONES, MODELS

    for row in choose_rows(load_table(number), None):
        assert row.model in MODELS
        assert row.cut in BACKBONES[row.arguments["backbone"]].cuts


def test_without_names_all_built_rows_are_chosen_in_order():
    assert [row.name for row in choose_rows(load_table(2), None)] == [name for name in BUILT if "bcdnet" not in name]


def test_named_rows_are_chosen_in_the_order_given_and_once():
    chosen = choose_rows(load_table(2), ["vgg16", "mmdcnet_beta", "vgg16"])
    assert [row.name for row in chosen] == ["vgg16", "mmdcnet_beta"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mmdcnet_alfa", r"Did you mean 'mmdcnet_alpha'\?"),
        ("VGG16", r"Did you mean 'vgg16'\?"),
        ("?", "See --list"),
    ],
)
def test_an_unknown_row_suggests_the_nearest(name, hint):
    with pytest.raises(ConfigurationError, match=rf"rows of table2: .*Received: rows='{re.escape(name)}'. {hint}"):
        choose_rows(load_table(2), ["vgg16", name])


def test_a_row_of_the_other_table_is_unknown():
    with pytest.raises(ConfigurationError, match="rows='bcdnet_alpha'"):
        choose_rows(load_table(2), ["bcdnet_alpha"])


def test_a_row_that_is_not_built_is_refused_with_those_that_are():
    with pytest.raises(ConfigurationError, match=r"rows='swin', not built yet\. Built: bcdnet_alpha, bcdnet_beta"):
        choose_rows(load_table(1), ["swin"])


def test_an_empty_choice_is_refused():
    with pytest.raises(ConfigurationError, match="rows=''"):
        choose_rows(load_table(1), [])


@pytest.mark.parametrize("number", [0, 3])
def test_the_paper_has_two_tables(number):
    with pytest.raises(ConfigurationError, match=f"table of 1, 2. Received: table={number}"):
        load_table(number)
