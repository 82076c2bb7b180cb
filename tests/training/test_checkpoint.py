"""A training that was cut off between two epochs ends as one that was not: the same history, the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.inputs.pipeline import InputSettings
from mmdc_tf.models import MODELS, ModelSettings, build_model, freeze_through
from mmdc_tf.models.frozen_part import split_frozen
from mmdc_tf.training.callbacks import Checkpoint
from mmdc_tf.training.feature_cache import FeatureCache
from mmdc_tf.training.feature_store import CacheSettings
from mmdc_tf.training.recipe import TrainingRecipe, load_profile
from mmdc_tf.training.trainer import TrainingParts, make_deterministic, train

SIZE, EPOCHS, SEED = 32, 5, 3
PLAIN = {"augmentation": None, "metadata_dropout": 0.0}
"""For what has nothing to do with the batches: it is traced sooner."""


class CutOff(KeyboardInterrupt):
    """In the place of a kill; ``fit`` does not catch it."""


class Cut(keras.callbacks.Callback):
    """Ends the process's work in the middle of an epoch, counted from 0."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.now = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.now == self.epoch and batch == 1:
            raise CutOff


def recipe(**changes: object) -> TrainingRecipe:
    """The full one, with augmentation, dropout of metadata and mixing, for a few epochs."""
    full = load_profile("full", image_size=SIZE, epochs=EPOCHS, batch_size=8, feature_views=3).recipe
    return replace(full, **{"early_stopping_patience": EPOCHS, "learning_rate_random": 0.01, **changes})


class Training:
    """A small network on the phantom; each call is what a process does from its start."""

    def __init__(self, name: str, backbone: str, folder: Path, stored: bool = False) -> None:
        self.dataset = phantom_mammograms(folder / "data", patients=8, height=64, seed=1)
        self.name, self.stored, self.folder = name, stored, folder
        self.arguments = {"backbone": backbone} | ({"conv_filters": 8, "grid": 2} if name == "mmdcnet" else {})
        self.said: list[str] = []
        self.checkpoint = Checkpoint(folder / "checkpoint.npz", seconds=0, say=self.said.append)

    def __call__(self, given: TrainingRecipe, keep: bool = True, cut: int | None = None) -> tuple[pd.DataFrame, list]:
        keras.utils.clear_session()
        make_deterministic(SEED)
        model = trained = build_model(self.name, ModelSettings(SIZE), **self.arguments)
        classes = self.dataset.info.class_names
        inputs = InputSettings("plain", SIZE, given.batch_size, classes, MODELS[self.name].inputs)
        features, table = None, self.dataset.table
        if self.stored:
            freeze_through(model, "tiny_pool1")
            split = split_frozen(model, "tiny_pool1")
            assert split is not None
            trained, cache = split.tail, FeatureCache(CacheSettings(self.folder / "features"), self.dataset)
            features = cache.open(split, "tiny", inputs, given)
        parts, callbacks = TrainingParts(table[:24], table[24:], inputs), [] if cut is None else [Cut(cut)]
        checkpoint = self.checkpoint if keep else None
        history = train(trained, parts, given, SEED, False, callbacks, features, checkpoint)
        return history, [np.asarray(variable) for variable in model.variables]

    def cut_off(self, given: TrainingRecipe, epoch: int) -> None:
        with pytest.raises(CutOff):
            self(given, cut=epoch)


def assert_same(one: tuple[pd.DataFrame, list], two: tuple[pd.DataFrame, list]) -> None:
    pd.testing.assert_frame_equal(one[0], two[0], check_exact=True)
    for first, second in zip(one[1], two[1], strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("stored", [False, True], ids=["images", "stored features"])
def test_cut_off_twice_it_ends_as_without_a_break(stored: bool, tiny_backbone, tmp_path):
    training = Training("mmdcnet", tiny_backbone, tmp_path, stored)
    undisturbed = training(recipe(), keep=False)
    assert undisturbed[0]["loss"].is_unique
    training.cut_off(recipe(), epoch=2)
    training.cut_off(recipe(), epoch=3)  # in the second half, of which an epoch is kept
    assert_same(training(recipe(), cut=2), undisturbed)  # epoch 2 is done: it does not begin again, nor is cut off
    assert training.said == []


def test_early_stopping_goes_on_waiting(tiny_backbone, tmp_path):
    """A learning rate of nearly nothing turns few answers round: it stops before the last epoch."""
    given = recipe(epochs=12, early_stopping_patience=2, learning_rate_random=1e-9, **PLAIN)
    training = Training("backbone_classifier", tiny_backbone, tmp_path)
    undisturbed = training(given, keep=False)
    assert 6 < len(undisturbed[0]) < 12
    training.cut_off(given, epoch=len(undisturbed[0]) - 1)
    assert_same(training(given), undisturbed)
    assert_same(training(given), undisturbed)  # killed after it had stopped: trains no further


def test_what_does_not_fit_is_said_and_not_used(tiny_backbone, tmp_path):
    training = Training("backbone_classifier", tiny_backbone, tmp_path)
    given = recipe(epochs=2, **PLAIN)
    undisturbed = training(given, keep=False)
    training.cut_off(replace(given, clip_norm=0.2), epoch=1)
    whole = training.checkpoint.path.read_bytes()
    assert_same(training(given), undisturbed)
    training.checkpoint.path.write_bytes(whole[: len(whole) // 2])
    assert_same(training(given), undisturbed)
    assert ["is of another version" in line for line in training.said] == [True, False]
    assert all("the training starts from its beginning" in line for line in training.said)


def test_a_disk_that_is_full_costs_the_state_and_not_the_training(tiny_backbone, tmp_path, monkeypatch):
    def full(*_args: object, **_arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    training = Training("backbone_classifier", tiny_backbone, tmp_path)
    assert len(training(recipe(epochs=1, **PLAIN))[0]) == 1
    assert "No space left on device" in training.said[0]
    assert not list(tmp_path.glob("*.npz"))
