"""Training: it learns, keeps the best epoch, sees no test data, and can be repeated to the bit."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import TrainingDivergedError
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.models import MODELS, ModelSettings, build_model, freeze_through
from mmdc_tf.preprocessing import steps
from mmdc_tf.preprocessing.recipes import RECIPES, Recipe
from mmdc_tf.preprocessing.steps import Step
from mmdc_tf.training.recipe import TrainingRecipe, load_profile
from mmdc_tf.training.trainer import (
    TrainingParts,
    class_weights,
    make_deterministic,
    start_again,
    train,
)

SIZE = 32
CLASSES = ("dark", "bright")
NAN = float("nan")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe without CLAHE, which would even out the brightness that the classes differ in."""
    recipe = Recipe("plain", (Step("resize", steps.resize), Step("rgb", steps.rgb)))
    monkeypatch.setitem(RECIPES, recipe.name, recipe)


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    """24 noisy images, every other one bright; ages and densities, some unknown."""
    rows = []
    for number in range(24):
        draw = np.random.default_rng(number)
        grey = draw.normal(170 if number % 2 else 80, 20, (SIZE, SIZE)).clip(0, 255).astype(np.uint8)
        path = tmp_path / f"{number}.png"
        assert cv2.imwrite(str(path), grey)
        age, density = 40.0 + number, NAN if number % 5 == 0 else 1.0 + number % 4
        rows.append((str(number), str(path), CLASSES[number % 2], age, density))
    return pd.DataFrame(rows, columns=["sample_id", "image_path", "label", "age", "density"])


def parts_of(table: pd.DataFrame, model: str = "backbone_classifier") -> TrainingParts:
    """16 images train, 8 validate."""
    return TrainingParts(table[:16], table[16:], InputSettings("plain", SIZE, 4, CLASSES, MODELS[model].inputs))


STILL = {"mirror": False, "shift": 0.0, "zoom": 0.0}


def recipe(**changes: object) -> TrainingRecipe:
    """Without augmentation, where a test does not ask for it: it takes longer to trace than a tiny model."""
    given = {"epochs": 2, "batch_size": 4, "learning_rate_random": 0.01, "augmentation": STILL, **changes}
    return load_profile("quick", image_size=SIZE, **given).recipe


def tiny(backbone: str, name: str = "backbone_classifier", **arguments: object) -> keras.Model:
    more = {"conv_filters": 16} if name == "mmdcnet" else {}
    return build_model(name, ModelSettings(SIZE, len(CLASSES)), backbone=backbone, **more, **arguments)


def predictions(model: keras.Model, table: pd.DataFrame, parts: TrainingParts) -> np.ndarray:
    return model.predict(evaluation_dataset(table, parts.inputs), verbose=0)


# --- learning ---


def test_bright_and_dark_are_told_apart(tiny_backbone, table):
    make_deterministic(0)
    model, parts = tiny(tiny_backbone), parts_of(table)
    augmentation = load_profile("full").recipe.augmentation
    history = train(model, parts, recipe(epochs=12, early_stopping_patience=12, augmentation=augmentation), 0, False)
    right = predictions(model, table, parts).argmax(1) == np.arange(24) % 2
    assert right[16:].mean() > 0.9
    assert right[:16].mean() > 0.9
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_after_a_few_steps_a_deep_network_answers_as_it_does_in_training(table):
    """Moving averages of eight steps are those of a network that is long gone: all images would get one answer."""
    make_deterministic(0)
    model, parts = tiny("mobilenet"), parts_of(table)
    history = train(model, parts, recipe(learning_rate_random=1e-3), 0, pretrained=False)
    images, _ = next(iter(evaluation_dataset(table[:16], dataclasses.replace(parts.inputs, batch_size=16))))
    answers, in_training = (np.asarray(model(images, training=mode))[:, 0] for mode in (False, True))
    np.testing.assert_allclose(answers, in_training, atol=0.05)
    assert answers.max() - answers.min() > 0.2
    assert history["val_loss"].max() < 3 * history["loss"].max()


def test_batch_normalization_is_fused_while_it_trains_and_only_then(tiny_backbone, table):
    seen: list[bool] = []
    model = tiny(tiny_backbone)
    norm = model.get_layer("tiny_bn1")
    watch = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append("fused" in norm.call.__module__))
    train(model, parts_of(table), recipe(epochs=1), 0, pretrained=False, callbacks=[watch])
    assert seen == [True]
    assert norm.call.__func__ is keras.layers.BatchNormalization.call


def test_the_history_has_one_line_an_epoch(tiny_backbone, table):
    seen: list[dict] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    history = train(tiny(tiny_backbone), parts_of(table), recipe(epochs=3), 0, pretrained=False, callbacks=[watch])
    assert list(history.columns) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
    assert history["epoch"].tolist() == [1, 2, 3]
    assert np.isfinite(history.to_numpy(float)).all()
    # 12 steps, one of them warm-up; after 4 and 8 steps the cosine is at 3/11 and 7/11.
    expected = [0.01 * (1 + np.cos(np.pi * k / 11)) / 2 for k in (3, 7, 11)]
    np.testing.assert_allclose(history["learning_rate"], expected, atol=1e-8)
    # The given callbacks are told the same.
    for name in ("loss", "val_loss", "val_accuracy", "learning_rate"):
        assert [logs[name] for logs in seen] == history[name].tolist()


def test_pretrained_weights_have_their_own_learning_rate(tiny_backbone, table):
    given = recipe(epochs=1, learning_rate=0.002, warmup_share=0.9)  # 4 steps, all of them warm-up
    history = train(tiny(tiny_backbone), parts_of(table), given, seed=0, pretrained=True)
    assert history["learning_rate"].tolist() == [pytest.approx(0.002)]


class Spoil(keras.callbacks.Callback):
    """From an epoch on (counted from 0), turns the head round: what was right is now wrong."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_test_begin(self, logs: dict | None = None) -> None:
        if self.now >= self.epoch:
            kernel, bias = self.model.get_layer("probabilities").get_weights()
            self.model.get_layer("probabilities").set_weights([-100 * np.abs(kernel) * np.array([1, -1]), bias])

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.now = epoch


@pytest.mark.parametrize(("monitor", "spoiled"), [("val_accuracy", 6), ("val_loss", 6), ("val_loss", 4)])
def test_the_weights_of_the_second_halfs_best_epoch_are_kept(tiny_backbone, table, monitor, spoiled):
    make_deterministic(0)
    model, parts = tiny(tiny_backbone), parts_of(table)
    history = train(model, parts, recipe(epochs=8, monitor=monitor), 0, False, callbacks=[Spoil(epoch=spoiled)])
    values = history[monitor] if monitor == "val_accuracy" else -history[monitor]
    kept = values.iloc[4:].idxmax()  # of the second half
    if spoiled <= 4:
        assert values.iloc[:spoiled].max() > values[kept]  # an early epoch would have been better
    score = model.evaluate(evaluation_dataset(parts.validation, parts.inputs), verbose=0, return_dict=True)
    assert score["accuracy"] == pytest.approx(history["val_accuracy"][kept], abs=1e-6)
    assert score["loss"] == pytest.approx(history["val_loss"][kept], rel=1e-5)


def test_training_stops_when_nothing_gets_better_in_the_second_half(tiny_backbone, table):
    given = recipe(epochs=9, learning_rate_random=1e-12, early_stopping_patience=2)
    # A whole epoch in one batch: nothing changes between the epochs, the fifth is the best, two more are waited for.
    parts = dataclasses.replace(parts_of(table), inputs=InputSettings("plain", SIZE, 16, CLASSES, ("image",)))
    history = train(tiny(tiny_backbone), parts, given, 0, False)
    assert len(history) == 7


# --- what it is given ---


def test_training_is_given_no_test_data():
    given = ["model", "parts", "recipe", "seed", "pretrained", "callbacks", "features", "checkpoint"]
    assert list(inspect.signature(train).parameters) == given
    assert [field.name for field in dataclasses.fields(TrainingParts)] == ["train", "validation", "inputs"]


def test_metadata_are_standardised_by_the_training_part(tiny_backbone, table):
    table = table.assign(age=[20.0, 40.0] * 8 + [119.0] * 8, density=[1.0, NAN, 3.0, NAN] * 4 + [4.0] * 8)
    model = tiny(tiny_backbone, "mmdcnet")
    train(model, parts_of(table, "mmdcnet"), recipe(epochs=1), seed=0, pretrained=False)
    embedding = model.get_layer("metadata_embedding")
    np.testing.assert_allclose(embedding.mean, [30.0, 2.0])
    np.testing.assert_allclose(embedding.standard_deviation, [10.0, 1.0])
    assert all(np.isfinite(weight).all() for weight in model.get_weights())  # in spite of the unknown densities


def test_class_weights_by_hand():
    train_part = pd.DataFrame({"label": ["a"] * 6 + ["b"] * 3 + ["c"]})
    # 10 / (3 · 6), 10 / (3 · 3), 10 / (3 · 1), in the order of the class names.
    assert class_weights(train_part, ("c", "a", "b")) == {
        0: pytest.approx(10 / 3),
        1: pytest.approx(5 / 9),
        2: pytest.approx(10 / 9),
    }


def test_an_absent_class_weighs_nothing_and_the_others_still_average_one():
    weights = class_weights(pd.DataFrame({"label": ["a"] * 6 + ["c"] * 4}), ("a", "b", "c"))
    assert weights == {0: pytest.approx(10 / 12), 1: 0.0, 2: pytest.approx(10 / 8)}


def test_class_weights_are_used_where_the_recipe_asks(tiny_backbone, table):
    """12 dark and 4 bright images: with weights, the first epoch's loss is that of balanced classes."""
    uneven = pd.concat([table[::2], table[1::2][:4], table[1::2][4:]])  # 12 dark, 4 bright | 8 bright
    losses = {}
    for wanted in (True, False):
        make_deterministic(0)
        given = recipe(epochs=1, class_weights=wanted, learning_rate_random=1e-12, label_smoothing=0.0)
        model = tiny(tiny_backbone)
        # Always 0.9 for dark: a dark image costs −log 0.9, a bright one −log 0.1.
        model.get_layer("probabilities").set_weights([np.zeros((8, 2)), np.log([0.9, 0.1])])
        losses[wanted] = train(model, parts_of(uneven), given, seed=0, pretrained=False)["loss"].iloc[0]
    dark, bright = -np.log(0.9), -np.log(0.1)
    assert losses[False] == pytest.approx((12 * dark + 4 * bright) / 16, rel=1e-4)
    assert losses[True] == pytest.approx((dark + bright) / 2, rel=1e-4)


# --- divergence ---


def test_a_loss_that_is_not_finite_raises(tiny_backbone, table):
    with pytest.raises(TrainingDivergedError, match=r"(?s)finite loss.*Received: .*in epoch 1\..*Lower the learning"):
        train(tiny(tiny_backbone), parts_of(table), recipe(learning_rate_random=float("inf")), 0, False)


def test_a_validation_loss_that_is_not_finite_raises(tiny_backbone, table):
    class Break(keras.callbacks.Callback):
        def on_test_begin(self, logs: dict | None = None) -> None:
            statistics = self.model.get_layer("tiny_bn2").moving_mean
            statistics.assign(statistics * np.nan)

    with pytest.raises(TrainingDivergedError, match="'val_loss': nan"):
        train(tiny(tiny_backbone), parts_of(table), recipe(epochs=1), 0, False, callbacks=[Break()])


# --- the same again ---


def trained(backbone: str, table: pd.DataFrame, seed: int) -> keras.Model:
    """A partly frozen model with dropout, metadata and augmentation, trained from a seed."""
    make_deterministic(seed)
    model = tiny(backbone, "mmdcnet")
    freeze_through(model, "tiny_pool1")
    train(model, parts_of(table, "mmdcnet"), repeated(), seed, pretrained=False)
    return model


def repeated() -> TrainingRecipe:
    return recipe(augmentation=load_profile("full").recipe.augmentation)


def test_the_seed_decides_everything_and_a_model_started_again_is_a_new_one(tiny_backbone, table):
    first, again, other = (trained(tiny_backbone, table, seed) for seed in (1, 1, 5))
    for one, two in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    parts = parts_of(table, "mmdcnet")
    expected = predictions(first, table, parts)
    assert not np.array_equal(predictions(other, table, parts), expected)

    traced = other.train_function
    make_deterministic(1)
    start_again(other, tiny(tiny_backbone, "mmdcnet"))
    train(other, parts, repeated(), 1, pretrained=False)
    np.testing.assert_array_equal(predictions(other, table, parts), expected)
    assert other.train_function is traced  # not traced again, which is what it is for
    assert not other.get_layer("tiny_conv1").trainable


def test_starting_again_needs_the_same_architecture(tiny_backbone):
    used = tiny(tiny_backbone)
    with pytest.raises(ValueError, match=r"zip\(\)|shape"):
        start_again(used, tiny(tiny_backbone, "mmdcnet"))
