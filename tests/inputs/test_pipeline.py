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
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset, preprocess_file, training_dataset
from mmdc_tf.preprocessing import steps
from mmdc_tf.preprocessing.recipes import RECIPES, Recipe, get_recipe
from mmdc_tf.preprocessing.steps import Step

SIZE = 16
COUNT = 7
CLASSES = ("benign", "cancer", "normal")
NAN = float("nan")


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe that only resizes, so that pixels can be predicted and colour stays."""
    recipe = Recipe("plain", "resize", "test", (Step("resize", steps.resize),))
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
        rows.append((f"s{number}", str(path), CLASSES[number % 3], 30.0 + number, NAN if number % 2 else 3.0))
    return pd.DataFrame(rows, columns=["sample_id", "image_path", "label", "age", "density"])


def settings(recipe: str, batch_size: int = 3, **more: object) -> InputSettings:
    return InputSettings(recipe, SIZE, batch_size, CLASSES, **more)


def collected(dataset: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All images, metadata and labels of one pass."""
    batches = list(dataset.as_numpy_iterator())
    images, metadata = (np.concatenate([batch[0][name] for batch in batches]) for name in ("image", "metadata"))
    return images, metadata, np.concatenate([batch[1] for batch in batches])


def passes(dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each pass: the order of the rows, and the images brought back into the table's order."""
    while True:
        images, metadata, _ = collected(dataset)
        order = metadata[:, 0].astype(int) - 30
        yield order, images[np.argsort(order)]


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_static_shapes_are_declared(table, plain, kind):
    given = settings(plain)
    dataset = (
        evaluation_dataset(table, given) if kind == "evaluation" else training_dataset(table, given, Augmentation(), 0)
    )
    inputs, label = dataset.element_spec
    assert inputs["image"] == tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)
    assert inputs["metadata"] == tf.TensorSpec((None, 2), tf.float32)
    assert label == tf.TensorSpec((None, 3), tf.float32)
    assert len(dataset) == 3  # 3 + 3 + 1


@pytest.mark.parametrize("recipe", ["paper", "ultrasound", "plain"])
def test_pixels_are_those_of_preprocess_file_as_float(table, plain, recipe):
    images, _, _ = collected(evaluation_dataset(table, settings(recipe)))
    assert images.dtype == np.float32
    expected = np.stack([preprocess_file(path, get_recipe(recipe), SIZE) for path in table["image_path"]])
    assert expected.dtype == np.uint8
    np.testing.assert_array_equal(images, expected)
    assert images.max() > 200  # not scaled: [0, 255]


def test_preprocess_file_is_the_recipe_on_the_file(table):
    path = table["image_path"][0]
    expected = RECIPES["paper"].apply(read_image(path), SIZE)
    np.testing.assert_array_equal(preprocess_file(path, get_recipe("paper"), SIZE), expected)
    np.testing.assert_array_equal(preprocess_file(path.encode(), get_recipe("paper"), SIZE), expected)


def test_channels_are_red_green_blue(tmp_path, plain):
    # OpenCV writes blue, green, red: this file is red 250, green 120, blue 10.
    path = tmp_path / "colour.png"
    assert cv2.imwrite(str(path), np.full((20, 20, 3), (10, 120, 250), np.uint8))
    row = pd.DataFrame({"image_path": [str(path)], "label": ["benign"], "age": [NAN], "density": [NAN]})
    images, _, _ = collected(evaluation_dataset(row, settings(plain)))
    np.testing.assert_array_equal(images[0, 5, 5], [250, 120, 10])


def test_evaluation_is_in_the_order_of_the_table_and_complete(table, plain):
    reordered = table.iloc[[4, 2, 6, 0, 1, 5, 3]]
    _, metadata, labels = collected(evaluation_dataset(reordered, settings(plain)))
    np.testing.assert_array_equal(metadata[:, 0], [34, 32, 36, 30, 31, 35, 33])
    np.testing.assert_array_equal(metadata[:, 1], [3, 3, 3, 3, NAN, NAN, NAN])
    # The class of row i is i modulo 3.
    np.testing.assert_array_equal(labels.argmax(1), [1, 2, 0, 0, 1, 2, 0])
    np.testing.assert_array_equal(labels.sum(1), np.ones(COUNT))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 20])
def test_no_sample_is_lost_or_repeated(table, plain, batch_size):
    given = settings(plain, batch_size)
    for dataset in (evaluation_dataset(table, given), training_dataset(table, given, None, 0)):
        order, _ = next(passes(dataset))
        assert sorted(order) == list(range(COUNT))


def test_images_metadata_and_labels_stay_together_when_shuffled(table, plain):
    images, metadata, labels = collected(training_dataset(table, settings(plain), None, seed=5))
    rows = metadata[:, 0].astype(int) - 30
    np.testing.assert_array_equal(labels.argmax(1), rows % 3)
    reference, _, _ = collected(evaluation_dataset(table, settings(plain)))
    np.testing.assert_array_equal(images, reference[rows])


def test_training_order_changes_with_the_epoch_and_is_decided_by_the_seed(table, plain):
    def orders(seed: int) -> list[list[int]]:
        epochs = passes(training_dataset(table, settings(plain), None, seed))
        return [next(epochs)[0].tolist() for _ in range(3)]

    first = orders(1)
    assert len({tuple(order) for order in first}) > 1
    assert first == orders(1)
    assert first != orders(2)


def test_models_without_metadata_are_given_none(table, plain):
    for dataset in (
        evaluation_dataset(table, settings(plain, inputs=("image",))),
        training_dataset(table, settings(plain, inputs=("image",)), Augmentation(), 0),
    ):
        assert set(dataset.element_spec[0]) == {"image"}
        assert set(next(dataset.as_numpy_iterator())[0]) == {"image"}


def test_models_without_images_are_given_none(table, plain):
    given = settings(plain, inputs=("metadata",))
    for dataset in (evaluation_dataset(table, given), training_dataset(table, given, Augmentation(), 0)):
        assert set(next(dataset.as_numpy_iterator())[0]) == {"metadata"}


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_preprocessing_runs_once_a_file(table, plain, kind, monkeypatch):
    calls: list[str] = []

    def counting(path: bytes, recipe: Recipe, image_size: int) -> np.ndarray:
        calls.append(path.decode())
        return preprocess_file(path, recipe, image_size)

    monkeypatch.setattr(pipeline, "preprocess_file", counting)
    given = settings(plain)
    dataset = (
        evaluation_dataset(table, given) if kind == "evaluation" else training_dataset(table, given, Augmentation(), 0)
    )
    for _ in range(3):
        collected(dataset)
    assert sorted(calls) == sorted(table["image_path"])


def test_augmentation_moves_training_images_and_only_them(table, plain):
    given = settings(plain)
    reference, _, _ = collected(evaluation_dataset(table, given))
    _, unmoved = next(passes(training_dataset(table, given, None, 0)))
    np.testing.assert_array_equal(unmoved, reference)
    _, moved = next(passes(training_dataset(table, given, Augmentation(), 0)))
    assert (np.abs(moved - reference).max(axis=(1, 2, 3)) > 1).all()
    assert moved.min() >= 0
    assert moved.max() <= 255


def test_augmentation_changes_with_the_epoch_and_is_decided_by_the_seed(table, plain):
    def epochs(seed: int) -> list[np.ndarray]:
        drawn = passes(training_dataset(table, settings(plain), Augmentation(), seed))
        return [next(drawn)[1] for _ in range(2)]

    first, again, other = epochs(1), epochs(1), epochs(2)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


def test_augmentation_leaves_metadata_alone(table, plain):
    _, metadata, labels = collected(training_dataset(table, settings(plain), Augmentation(), 0))
    rows = metadata[:, 0].astype(int) - 30
    np.testing.assert_array_equal(metadata[:, 1], table["density"].to_numpy("float32")[rows])
    np.testing.assert_array_equal(labels.argmax(1), rows % 3)


@pytest.mark.parametrize("content", [b"", b"this is text, not an image"])
def test_an_unreadable_image_is_named(table, plain, content):
    broken = Path(table["image_path"][5])
    broken.write_bytes(content)
    with pytest.raises(tf.errors.OpError, match=r"bild 5 .*\.png"):
        collected(evaluation_dataset(table, settings(plain)))
    with pytest.raises(UnreadableImageError, match=r"bild 5 .*\.png"):
        preprocess_file(str(broken), get_recipe(plain), SIZE)


def test_a_label_that_is_no_class_raises_before_anything_is_read(table, plain):
    with pytest.raises(DatasetError, match="label='malignant'"):
        evaluation_dataset(table.assign(label="malignant"), settings(plain))
