"""The ceiling that patients' labels set, and labels by breast: hand-counted tables, and Mini-DDSM's own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from mmdc_tf.datasets.mini_ddsm import MINI_DDSM, list_mini_ddsm
from mmdc_tf.datasets.outlines import label_ceiling, with_labels
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import ConfigurationError, DatasetError


def made_up(*images: tuple[str, str, str, int]) -> Dataset:
    """A dataset from (label, patient, side, number of outlines) of each image."""
    table = pd.DataFrame(images, columns=["label", "patient_id", "side", "outlines"])
    table["sample_id"] = [f"s{index}" for index in table.index]
    return Dataset(MINI_DDSM, table.assign(lesion_masks=[("m.png",) * n for n in table["outlines"]]), Path("made-up"))


@pytest.fixture
def dataset() -> Dataset:
    return made_up(
        ("cancer", "p1", "LEFT", 1),
        ("cancer", "p1", "LEFT", 0),  # the other view of an outlined breast: its label stands
        ("cancer", "p1", "RIGHT", 0),
        ("benign", "p2", "RIGHT", 2),
        ("benign", "p2", "LEFT", 0),
        ("benign", "p2", "LEFT", 0),
        ("benign", "p3", "LEFT", 0),  # nothing outlined in either breast
        ("normal", "p4", "LEFT", 0),
    )


def test_the_ceiling_counts_breasts_without_an_outline(dataset):
    ceiling = label_ceiling(dataset)
    assert ceiling.unmarked == {"benign": 3, "cancer": 1}
    assert (ceiling.images, ceiling.right, ceiling.patients, ceiling.marked_elsewhere) == (8, 4, 3, 2)
    assert ceiling.accuracy == 0.5


def test_by_breast_such_images_become_normal(dataset):
    changed = with_labels(dataset, "breast")
    labels = ["cancer", "cancer", "normal", "benign", "normal", "normal", "normal", "normal"]
    assert list(changed.table["label"]) == labels
    assert changed.notes[-1] == "labels by breast: 4 images of breasts without an outline now count as normal"
    assert label_ceiling(changed).accuracy == 1.0


def test_outlined_leaves_them_out(dataset):
    changed = with_labels(dataset, "outlined")
    assert list(changed.table["sample_id"]) == ["s0", "s1", "s3", "s7"]
    assert list(changed.table["label"]) == ["cancer", "cancer", "benign", "normal"]
    assert with_labels(dataset, "patient") is dataset


def test_what_cannot_be_relabelled_is_refused(dataset):
    with pytest.raises(ConfigurationError, match="patient, breast, outlined"):
        with_labels(dataset, "side")
    with pytest.raises(ConfigurationError, match="lacks one of them"):
        with_labels(made_up(("cancer", "p1", "", 1), ("normal", "p2", "LEFT", 0)), "breast")
    with pytest.raises(DatasetError, match="no benign"):
        with_labels(made_up(("cancer", "p1", "LEFT", 1), ("benign", "p2", "LEFT", 0)), "outlined")


def test_the_ceiling_of_the_whole_table_of_mini_ddsm(real_data):
    ceiling = label_ceiling(list_mini_ddsm(real_data / "mini-ddsm"))
    assert ceiling.unmarked == {"benign": 1244, "cancer": 1236}
    assert (ceiling.images, ceiling.patients, ceiling.marked_elsewhere) == (7808, 1240, 1240)
    assert ceiling.accuracy == pytest.approx(0.682, abs=5e-4)
