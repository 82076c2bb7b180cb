"""The other view of a breast: found within the given part only, and NaN where it is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.inputs.augmentation import Augmentation
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset, training_dataset
from mmdc_tf.inputs.views import other_views

CLASSES = ("benign", "normal")
# sample, patient, side, view, and the sample that shows the same breast in the other view
SAMPLES = [
    ("a1", "p1", "LEFT", "CC", "a2"),
    ("a2", "p1", "LEFT", "MLO", "a1"),
    ("a3", "p1", "RIGHT", "CC", ""),  # its MLO is absent
    ("b1", "p2", "LEFT", "MLO", "b2"),
    ("b2", "p2", "LEFT", "CC", "b1"),
    ("b3", "p2", "LEFT", "CC", "b1"),  # a second CC: the MLO belongs to both
    ("c1", "p3", "", "CC", ""),  # side unknown
    ("c2", "p3", "", "MLO", ""),
    ("d1", "", "LEFT", "CC", ""),  # patient unknown
    ("d2", "", "LEFT", "MLO", ""),
    ("e1", "p4", "LEFT", "", ""),  # view unknown
]


def sample_table(folder: str = "images") -> pd.DataFrame:
    table = pd.DataFrame(SAMPLES, columns=["sample_id", "patient_id", "side", "view", "expected"])
    return table.assign(
        image_path=[f"{folder}/{name}.png" for name in table["sample_id"]],
        label=[CLASSES[number % 2] for number in range(len(table))],
        age=np.nan,
        density=np.nan,
    )


def names(paths: np.ndarray) -> list[str]:
    return [path.rpartition("/")[2].removesuffix(".png") for path in paths]


def test_each_image_finds_the_other_view_of_its_breast():
    table = sample_table()
    assert names(other_views(table)) == table["expected"].tolist()


def test_the_order_of_the_lines_does_not_matter():
    table = sample_table().sample(frac=1.0, random_state=5)
    assert names(other_views(table)) == table["expected"].tolist()


def test_a_part_of_a_split_never_sees_another_part():
    part = sample_table().query("sample_id in ['a1', 'a3', 'b2', 'b1']")
    assert names(other_views(part)) == ["", "", "b2", "b1"]


@pytest.fixture
def on_disk(tmp_path) -> pd.DataFrame:
    """Each image is one grey level: ten times its place in the table, and ten."""
    table = sample_table(str(tmp_path))
    for number, path in enumerate(table["image_path"]):
        assert cv2.imwrite(path, np.full((20, 20), 10 * number + 10, np.uint8))
    return table


def level_of(table: pd.DataFrame, sample: str) -> float:
    return 10.0 * table["sample_id"].tolist().index(sample) + 10.0 if sample else np.nan


def test_tensors_hold_both_views_and_nan_for_a_missing_one(on_disk):
    settings = InputSettings("plain", 16, 4, CLASSES, ("image", "other_view"))
    batches = list(evaluation_dataset(on_disk, settings).as_numpy_iterator())
    assert set(batches[0][0]) == {"image", "other_view"}
    own, other = (np.concatenate([batch[0][name] for batch in batches]) for name in ("image", "other_view"))
    assert own.shape == other.shape == (len(SAMPLES), 16, 16, 3)
    for line, image, view in zip(on_disk.itertuples(), own, other, strict=True):
        np.testing.assert_array_equal(image, level_of(on_disk, line.sample_id))
        np.testing.assert_array_equal(view, level_of(on_disk, line.expected))


def test_augmentation_moves_both_views_and_leaves_missing_ones_missing(on_disk):
    settings = InputSettings("plain", 16, 4, CLASSES, ("image", "other_view"))
    # darker or brighter by up to 4 grey levels, so that each sample is still told apart
    batches = training_dataset(on_disk, settings, Augmentation(shift=0.0, zoom=0.0, brightness=4.0), seed=3)
    changed, missing = 0, 0
    for tensors, _ in batches.as_numpy_iterator():
        for image, view in zip(tensors["image"], tensors["other_view"], strict=True):
            sample = round(float(image[0, 0, 0]) / 10.0) - 1
            expected = level_of(on_disk, SAMPLES[sample][4])
            assert np.isnan(view).all() == np.isnan(expected)
            missing += np.isnan(expected)
            if not np.isnan(expected):
                assert abs(view[0, 0, 0] - expected) <= 4.01
                changed += view[0, 0, 0] != expected
    assert missing == 6
    assert changed > 0
