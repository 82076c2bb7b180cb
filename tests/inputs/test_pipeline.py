"""The tensors that models are given: shapes, order, pixels, and what happens once and what happens every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import DatasetError, UnreadableImageError
from mmdc_tf.inputs import pipeline
from mmdc_tf.inputs.augmentation import Augmentation
from mmdc_tf.inputs.pipeline import (
    InputSettings,
    evaluation_dataset,
    label_array,
    metadata_array,
    other_views,
    preprocess_file,
    training_dataset,
)
from mmdc_tf.preprocessing import steps
from mmdc_tf.preprocessing.recipes import RECIPES, Recipe, get_recipe
from mmdc_tf.preprocessing.steps import Step

SIZE = 16
COUNT = 7
CLASSES = ("benign", "cancer", "normal")
NAN = float("nan")
ALL = ("image", "other_view", "metadata")
Batches = list[tuple[dict[str, np.ndarray], np.ndarray]]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe that only resizes, so that pixels can be predicted and colour stays."""
    recipe = Recipe("plain", (Step("resize", steps.resize),))
    monkeypatch.setitem(RECIPES, recipe.name, recipe)
    return recipe.name


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """Seven textured colour images; the age of row i is 30 + i, so that a batch's rows can be told apart."""
    rows = []
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8)
        path = tmp_path / f"bild {number} ä.png"
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        breast = (f"p{number // 2}", "LEFT", ("CC", "MLO")[number % 2])  # the last one lacks its second view
        rows.append((f"s{number}", str(path), CLASSES[number % 3], 30.0 + number, NAN if number % 2 else 3.0, *breast))
    names = ["sample_id", "image_path", "label", "age", "density", "patient_id", "side", "view"]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were preprocessed."""
    seen: list[str] = []

    def counting(path: bytes, recipe: Recipe, image_size: int) -> np.ndarray:
        seen.append(path.decode())
        return preprocess_file(path, recipe, image_size)

    monkeypatch.setattr(pipeline, "preprocess_file", counting)
    return seen


def settings(recipe: str = "plain", batch_size: int = 3, **more: object) -> InputSettings:
    return InputSettings(recipe, SIZE, batch_size, CLASSES, **more)


def datasets(table: pd.DataFrame, given: InputSettings) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    return evaluation_dataset(table, given), training_dataset(table, given, Augmentation(), 0)


def epochs(dataset: tf.data.Dataset, count: int = 2) -> list[Batches]:
    return [list(dataset.as_numpy_iterator()) for _ in range(count)]


def whole(batches: Batches, name: str) -> np.ndarray:
    return np.concatenate([tensors[name] for tensors, _ in batches])


def collected(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All images, metadata and labels of one pass."""
    batches = list(dataset.as_numpy_iterator())
    return whole(batches, "image"), whole(batches, "metadata"), np.concatenate([label for _, label in batches])


def passes(dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each pass: the order of the rows, and the images brought back into the table's order."""
    while True:
        images, metadata, _ = collected(dataset)
        order = metadata[:, 0].astype(int) - 30
        yield order, images[np.argsort(order)]


def assert_same(one: Batches, other: Batches, but: tuple[str, ...] = ()) -> None:
    for (left, left_label), (right, right_label) in zip(one, other, strict=True):
        assert left.keys() == right.keys()
        for name in left.keys() - set(but):
            np.testing.assert_array_equal(left[name], right[name])
        np.testing.assert_array_equal(left_label, right_label)


# --- shapes and order ---


def test_static_shapes_are_declared(table):
    for dataset in datasets(table, settings(inputs=ALL)):
        inputs, label = dataset.element_spec
        assert inputs["image"] == inputs["other_view"] == tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)
        assert inputs["metadata"] == tf.TensorSpec((None, 2), tf.float32)
        assert label == tf.TensorSpec((None, 3), tf.float32)
        assert len(dataset) == 3  # 3 + 3 + 1


def test_evaluation_is_in_the_order_of_the_table_and_complete(table):
    reordered = table.iloc[[4, 2, 6, 0, 1, 5, 3]]
    _, metadata, labels = collected(evaluation_dataset(reordered, settings()))
    np.testing.assert_array_equal(metadata[:, 0], [34, 32, 36, 30, 31, 35, 33])
    np.testing.assert_array_equal(metadata[:, 1], [3, 3, 3, 3, NAN, NAN, NAN])
    # The class of row i is i modulo 3.
    np.testing.assert_array_equal(labels.argmax(1), [1, 2, 0, 0, 1, 2, 0])
    np.testing.assert_array_equal(labels.sum(1), np.ones(COUNT))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20])
def test_no_sample_is_lost_or_repeated(table, batch_size):
    for dataset in datasets(table, settings(batch_size=batch_size)):
        order, _ = next(passes(dataset))
        assert sorted(order) == list(range(COUNT))


def test_images_metadata_and_labels_stay_together_when_shuffled(table):
    images, metadata, labels = collected(training_dataset(table, settings(), None, seed=5))
    rows = metadata[:, 0].astype(int) - 30
    np.testing.assert_array_equal(labels.argmax(1), rows % 3)
    np.testing.assert_array_equal(metadata[:, 1], table["density"].to_numpy("float32")[rows])
    np.testing.assert_array_equal(images, collected(evaluation_dataset(table, settings()))[0][rows])


# --- pixels ---


@pytest.mark.parametrize("recipe", ["paper", "ultrasound", "plain"])
def test_pixels_are_those_of_the_recipe_as_float(table, recipe):
    images, _, _ = collected(evaluation_dataset(table, settings(recipe)))
    assert images.dtype == np.float32
    expected = np.stack([get_recipe(recipe).apply(read_image(path), SIZE) for path in table["image_path"]])
    np.testing.assert_array_equal(images, expected)
    assert images.max() > 200  # not scaled: [0, 255]


def test_preprocessing_runs_once_a_file(table, prepared):
    """Whatever the dataset, as the folds of a row and its second views show the same images."""
    for part in (table, table[2:]):
        for dataset in datasets(part, settings(inputs=ALL)):
            epochs(dataset)
    assert sorted(prepared) == sorted(table["image_path"])


def test_a_file_that_has_changed_is_read_again(table):
    before, _, _ = collected(evaluation_dataset(table, settings()))
    Path(table["image_path"][0]).write_bytes(Path(table["image_path"][1]).read_bytes())
    after, _, _ = collected(evaluation_dataset(table, settings()))
    np.testing.assert_array_equal(after, before[[1, 1, 2, 3, 4, 5, 6]])


def test_the_first_batch_does_not_wait_for_all_images(table, prepared):
    many = pd.concat([table] * 100, ignore_index=True)
    paths = [Path(path).with_name(f"{row}.png") for row, path in enumerate(many["image_path"])]
    for path, source in zip(paths, many["image_path"], strict=True):
        path.hardlink_to(source)
    next(iter(training_dataset(many.assign(image_path=list(map(str, paths))), settings(), None, 0)))
    assert len(prepared) < len(many)


@pytest.mark.parametrize("content", [b"", b"this is text, not an image"])
def test_an_unreadable_image_is_named(table, content):
    broken = Path(table["image_path"][5])
    broken.write_bytes(content)
    with pytest.raises(tf.errors.OpError, match=r"bild 5 .*\.png"):
        collected(evaluation_dataset(table, settings()))
    with pytest.raises(UnreadableImageError, match=r"bild 5 .*\.png"):
        preprocess_file(str(broken), get_recipe("plain"), SIZE)


def test_each_row_comes_once_for_each_change_of_its_images(table):
    given = settings(inputs=ALL)
    as_it_is = list(evaluation_dataset(table, given).unbatch().as_numpy_iterator())
    changes = (lambda pixels: pixels, lambda pixels: 255 - pixels)
    changed = list(evaluation_dataset(table, given, changes).unbatch().as_numpy_iterator())
    assert_same(as_it_is, changed[::2])
    inverted = [
        ({**tensors, "image": 255 - tensors["image"], "other_view": 255 - tensors["other_view"]}, label)
        for tensors, label in as_it_is
    ]
    assert_same(inverted, changed[1::2])
    assert np.isnan(changed[-1][0]["other_view"]).all()  # missing stays missing


# --- what the seed decides ---


def test_order_and_movements_change_with_the_epoch_and_are_decided_by_the_seed(table):
    def drawn(seed: int) -> tuple[list[list[int]], list[np.ndarray]]:
        moved = passes(training_dataset(table, settings(), Augmentation(), seed))
        orders, images = zip(*(next(moved) for _ in range(3)), strict=True)
        return [order.tolist() for order in orders], list(images)

    (orders, images), (same_orders, same_images), (other_orders, other_images) = drawn(1), drawn(1), drawn(2)
    assert orders == same_orders and orders != other_orders
    assert len({tuple(order) for order in orders}) > 1
    np.testing.assert_array_equal(images, same_images)
    assert not np.array_equal(images[0], images[1]) and not np.array_equal(images[0], other_images[0])
    reference, _, _ = collected(evaluation_dataset(table, settings()))
    assert (np.abs(images[0] - reference).max(axis=(1, 2, 3)) > 1).all()


# --- metadata and labels ---


def test_metadata_are_raw_age_and_density_in_this_order():
    table = pd.DataFrame({"density": [2.0, NAN, 4.0], "label": "a", "age": [61.0, 47.5, NAN]})
    array = metadata_array(table)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [[61.0, 2.0], [47.5, NAN], [NAN, 4.0]])


def test_labels_are_one_hot_in_the_order_of_the_class_names():
    table = pd.DataFrame({"label": ["normal", "benign", "benign"]})
    array = label_array(table, ("benign", "cancer", "normal"))  # an absent class keeps its column
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [[0, 0, 1], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(label_array(table, ("normal", "cancer", "benign")), array[:, ::-1])
    with pytest.raises(DatasetError, match=r"benign, cancer, normal\. Received: label='malignant'"):
        label_array(table.assign(label="malignant"), CLASSES)


def test_each_value_is_unknown_at_the_rate_and_independently(table):
    """70 rows, of which row 0 is unknown anyway, over 20 epochs."""
    many = pd.concat([table] * 10, ignore_index=True)
    many = many.assign(age=30.0, density=1.0)
    many.loc[0, ["age", "density"]] = NAN
    batches = epochs(training_dataset(many, settings(inputs=("metadata",)), None, 0, metadata_dropout=0.2), 20)
    unknown = np.concatenate([np.isnan(whole(epoch, "metadata")) for epoch in batches])
    rows = 20 * (len(many) - 1)
    # binomial, four standard deviations
    for count, rate in ((unknown[:, 0].sum(), 0.2), (unknown[:, 1].sum(), 0.2), (unknown.all(axis=1).sum(), 0.04)):
        assert abs(count - 20 - rate * rows) < 4 * np.sqrt(rows * rate * (1 - rate))


def test_dropout_changes_metadata_alone_and_what_it_keeps_is_as_it_was(table):
    off, on = (
        epochs(training_dataset(table, settings(), Augmentation(), seed=3, metadata_dropout=rate))
        for rate in (0.0, 0.5)
    )
    for left, right in zip(off, on, strict=True):
        assert_same(left, right, but=("metadata",))
        before, after = whole(left, "metadata"), whole(right, "metadata")
        kept = ~np.isnan(after)
        assert 0 < kept.sum() < (~np.isnan(before)).sum()
        np.testing.assert_array_equal(after[kept], before[kept])


# --- the other view ---


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
VIEWS = pd.DataFrame(SAMPLES, columns=["image_path", "patient_id", "side", "view", "expected"])
VIEWS["sample_id"] = VIEWS["image_path"]


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_each_image_finds_the_other_view_of_its_breast(order):
    assert other_views(VIEWS[order]).tolist() == VIEWS["expected"][order].tolist()


def test_a_part_of_a_split_never_sees_another_part():
    assert other_views(VIEWS.query("sample_id in ['a1', 'a3', 'b2', 'b1']")).tolist() == ["", "", "b2", "b1"]


def test_tensors_hold_both_views_and_nan_for_a_missing_one(table):
    """Also in training, where the movements of a missing view must not smear its NaN over others."""
    own = collected(evaluation_dataset(table, settings()))[0]
    expected = [*own[[1, 0, 3, 2, 5, 4]], np.full_like(own[0], NAN)]
    given = settings(inputs=ALL)
    np.testing.assert_array_equal(whole(epochs(evaluation_dataset(table, given))[0], "other_view"), expected)
    brighter = Augmentation(mirror=False, shift=0.0, zoom=0.0, brightness=4.0)
    batches = epochs(training_dataset(table, given, brighter, seed=3))[0]
    rows = whole(batches, "metadata")[:, 0].astype(int) - 30
    moved = whole(batches, "other_view") - np.stack(expected)[rows]
    assert np.isnan(moved).all(axis=(1, 2, 3)).tolist() == (rows == 6).tolist()
    assert 0 < np.nanmax(np.abs(moved)) <= 4.01
