"""Modality dropout in training batches, and images read once for several rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.inputs import pipeline
from mmdc_tf.inputs.augmentation import Augmentation
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset, preprocess_file, training_dataset
from mmdc_tf.training.recipe import load_profile

SIZE = 8
COUNT = 40
CLASSES = ("benign", "normal")
SETTINGS = InputSettings("plain", SIZE, 6, CLASSES)
Batches = list[tuple[dict[str, np.ndarray], np.ndarray]]


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Age and density tell the row: 30 + i and 1 + i / 20; those of row 0 are unknown."""
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8))
    numbers = np.arange(COUNT)
    ages, densities = 30.0 + numbers, 1.0 + numbers / 20
    ages[0] = densities[0] = np.nan
    return pd.DataFrame(
        {
            "sample_id": [str(number) for number in numbers],
            "image_path": [str(tmp_path / f"{number}.png") for number in numbers],
            "label": [CLASSES[number % 2] for number in numbers],
            "patient_id": [f"p{number // 2}" for number in numbers],
            "side": "LEFT",
            "view": [("CC", "MLO")[number % 2] for number in numbers],
            "age": ages,
            "density": densities,
        }
    )


def epochs(dataset: tf.data.Dataset, count: int = 2) -> list[Batches]:
    return [list(dataset.as_numpy_iterator()) for _ in range(count)]


def metadata(batches: Batches) -> np.ndarray:
    return np.concatenate([tensors["metadata"] for tensors, _ in batches])


def assert_same(one: Batches, other: Batches, but: tuple[str, ...] = ()) -> None:
    for (left, left_label), (right, right_label) in zip(one, other, strict=True):
        assert left.keys() == right.keys()
        for name in left.keys() - set(but):
            np.testing.assert_array_equal(left[name], right[name])
        np.testing.assert_array_equal(left_label, right_label)


def test_each_value_is_unknown_at_the_rate_and_independently(table):
    dataset = training_dataset(table, SETTINGS, None, seed=0, metadata_dropout=0.2)
    values = np.concatenate([metadata(epoch) for epoch in epochs(dataset, 20)])
    unknown = np.isnan(values)
    known_row = 20 * (COUNT - 1)
    # row 0 is unknown anyway: 20 of the rows; binomial, four standard deviations
    for count, rate in ((unknown[:, 0].sum(), 0.2), (unknown[:, 1].sum(), 0.2), (unknown.all(axis=1).sum(), 0.04)):
        assert abs(count - 20 - rate * known_row) < 4 * np.sqrt(known_row * rate * (1 - rate))


def test_what_is_not_dropped_is_as_it_was_and_nothing_else_changes(table):
    off = epochs(training_dataset(table, SETTINGS, Augmentation(), seed=3))
    on = epochs(training_dataset(table, SETTINGS, Augmentation(), seed=3, metadata_dropout=0.5))
    for left, right in zip(off, on, strict=True):
        assert_same(left, right, but=("metadata",))
        before, after = metadata(left), metadata(right)
        kept = ~np.isnan(after)
        assert 0 < kept.sum() < kept.size
        np.testing.assert_array_equal(after[kept], before[kept])
        assert after.dtype == np.float32


def test_the_seed_decides_what_is_dropped_and_every_epoch_is_another_draw(table):
    def drawn(seed: int) -> list[np.ndarray]:
        batches = epochs(training_dataset(table, SETTINGS, None, seed=seed, metadata_dropout=0.3))
        return [np.isnan(metadata(epoch)) for epoch in batches]

    first, again, other = drawn(1), drawn(1), drawn(2)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[0] != other[0]).any()


def test_a_rate_of_zero_is_off(table):
    off = epochs(training_dataset(table, SETTINGS, Augmentation(), seed=5))
    zero = epochs(training_dataset(table, SETTINGS, Augmentation(), seed=5, metadata_dropout=0.0))
    for left, right in zip(off, zero, strict=True):
        assert_same(left, right)
        assert np.isnan(metadata(right)).sum() == 2  # row 0


def test_a_row_without_metadata_is_given_the_same_batches(table):
    images = InputSettings("plain", SIZE, 6, CLASSES, inputs=("image",))
    off = epochs(training_dataset(table, images, Augmentation(), seed=5))
    on = epochs(training_dataset(table, images, Augmentation(), seed=5, metadata_dropout=0.5))
    for left, right in zip(off, on, strict=True):
        assert_same(left, right)


def test_the_number_of_batches_stays_known(table):
    assert len(training_dataset(table, SETTINGS, None, seed=0, metadata_dropout=0.2)) == 7  # 6 · 6 + 4


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(ConfigurationError, match="Expected metadata_dropout of at least 0 and below 1"):
        load_profile("quick", metadata_dropout=rate)


def test_both_profiles_drop_metadata_and_it_can_be_switched_off():
    for name in ("quick", "full"):
        assert 0 < load_profile(name).recipe.metadata_dropout < 0.5
    assert load_profile("quick", metadata_dropout=0.0).recipe.metadata_dropout == 0.0


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """The files that are preprocessed."""
    seen: list[str] = []

    def counting(path, recipe, image_size):
        seen.append(path.decode())
        return preprocess_file(path, recipe, image_size)

    monkeypatch.setattr(pipeline, "preprocess_file", counting)
    return seen


@pytest.mark.parametrize("inputs", [("image", "metadata"), ("image", "other_view", "metadata")])
def test_rows_of_one_image_are_those_of_one_table_after_another(table, calls, inputs):
    settings = InputSettings("plain", SIZE, 6, CLASSES, inputs=inputs)
    part = table[:-1]  # the last breast lacks its second view
    other = part.assign(age=part["age"] + 100, label=part["label"].iloc[::-1].to_numpy())
    singly = [list(evaluation_dataset(one, settings).unbatch().as_numpy_iterator()) for one in (part, other)]
    before = len(calls)
    mixed = pd.concat([part, other]).iloc[np.arange(2 * len(part)).reshape(2, -1).T.ravel()]
    together = list(evaluation_dataset(mixed, settings).unbatch().as_numpy_iterator())
    assert len(calls) - before == before / 2
    for start, rows in enumerate(singly):
        assert_same(rows, together[start::2])


def test_images_that_are_repeated_unequally_stay_in_order(table):
    mixed = table.iloc[[1, 1, 2, 3, 3]].assign(age=[1.0, 2.0, 3.0, 4.0, 5.0])
    batches = list(evaluation_dataset(mixed, SETTINGS).as_numpy_iterator())
    assert metadata(batches)[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    single = next(evaluation_dataset(table[1:4], SETTINGS).as_numpy_iterator())[0]["image"]
    np.testing.assert_array_equal(batches[0][0]["image"], single[[0, 0, 1, 2, 2]])


def test_each_row_comes_once_for_each_change_of_its_images(table, calls):
    settings = InputSettings("plain", SIZE, 6, CLASSES, inputs=("image", "other_view", "metadata"))
    part = table[:-1]
    plain = list(evaluation_dataset(part, settings).unbatch().as_numpy_iterator())
    before = len(calls)
    changes = (lambda pixels: pixels, lambda pixels: 255 - pixels, lambda pixels: pixels // 2)
    changed = list(evaluation_dataset(part, settings, changes).unbatch().as_numpy_iterator())
    assert len(calls) - before == before  # once a file, not once a change
    assert_same(plain, changed[::3])
    for start, change in ((1, lambda pixels: 255 - pixels), (2, lambda pixels: np.floor(pixels / 2))):
        expected = [
            ({**tensors, **{name: change(tensors[name]) for name in ("image", "other_view")}}, label)
            for tensors, label in plain
        ]
        assert_same(expected, changed[start::3])
    assert np.isnan(changed[-1][0]["other_view"]).all()  # missing stays missing
