"""The same trainings on one device and on two, in a process of its own that has two logical processors.

TensorFlow divides a processor before its first use only, so that no test can do it.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).with_name("experiments")))

NUMBERS = "numbers.json"
SIZE, BATCH = 32, 4


def main(output: Path) -> None:
    """Trains, and writes ``NUMBERS``: for each case, what came out on one device and on two."""
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    from mmdc_tf.datasets.phantom import phantom_mammograms

    register_backbone()
    dataset = phantom_mammograms(output / "data", patients=12, height=64, seed=1)
    on_one, on_two = Trainings(dataset, output, "one"), Trainings(dataset, output, "all")
    found: dict[str, Any] = {
        "one is left": [trainings.one("fused", 17, 9) for trainings in (on_one, on_two)],
        "odd batches": [trainings.one("fused", 17, 8, batch=3) for trainings in (on_one, on_two)],
        "again": [on_two.one("fused", 17, 9), on_two.cut_off("fused", 17, 9)],
        "two views": [trainings.one("two", 17, 9) for trainings in (on_one, on_two)],
    }
    (output / NUMBERS).write_text(json.dumps(found))
    on_one.run("curves")
    on_two.run("full")


def register_backbone() -> None:
    """A small one with all that needs to know the whole batch: BatchNormalization, and dropout of whole images."""
    from mmdc_tf.models import backbones

    def tiny(include_top: bool, weights: None, input_tensor: keras.KerasTensor) -> keras.Model:
        x = keras.layers.Rescaling(1 / 255)(input_tensor)
        x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="tiny_conv1")(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.MaxPooling2D(2, name="tiny_pool1")(x)
        x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Dropout(0.3, noise_shape=(None, 1, 1, 1))(x)  # as EfficientNet's
        x = keras.layers.ReLU(name="tiny_conv2")(x)
        return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="tiny")

    backbones.register_backbone(
        backbones.Backbone("tiny", tiny, "none", ("tiny_pool1",), "tiny_conv2", "nowhere/", "tiny_notop.h5", "0" * 32)
    )


class Trainings:
    """All on one device, or all on two.

    Args:
        dataset: the phantom.
        output: a folder.
        devices: as the command's option.
    """

    def __init__(self, dataset: Any, output: Path, devices: str) -> None:
        from mmdc_tf.experiments.workshop import Workshop
        from small_run import FUSED, make_plan

        from mmdc_tf.experiments.plan import make_trainings
        from mmdc_tf.experiments.rows import Row
        from mmdc_tf.training.recipe import load_profile

        two_views = Row("two", "Two", "here", model="two_view_classifier", arguments={"backbone": "tiny"})
        profile = load_profile("quick", image_size=SIZE, epochs=2, folds=2, feature_views=2, batch_size=5)
        self.plan = make_plan(dataset, output / devices, (FUSED, two_views), profile=profile, devices=devices)
        self.cells = {cell.row.name: cell for cell in make_trainings(self.plan)}
        self.workshop = Workshop(self.plan, {}, print)
        self.checkpoint = output / f"{devices}.npz"

    def one(self, row: str, images: int, validated: int, batch: int = BATCH, **options: Any) -> dict[str, Any]:
        """Three epochs with class weights, of which the last cannot be the best.

        Args:
            row: the row's name.
            images, validated: of the training and of the validation part.
            batch: images a step.
            **options: ``callbacks`` and ``checkpoint`` of ``train``.
        """
        from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
        from mmdc_tf.training.recipe import load_profile
        from mmdc_tf.training.trainer import TrainingParts, make_deterministic, train

        began = time.monotonic()
        cell, table = self.cells[row], self.plan.dataset.table.sort_values("view", kind="stable")
        make_deterministic(cell.seed)
        network = self.workshop.network(cell).trained
        inputs = InputSettings("plain", SIZE, batch, self.plan.dataset.info.class_names, cell.inputs)
        parts = TrainingParts(table[:images], table[images : images + validated], inputs)
        recipe = load_profile("full", image_size=SIZE, epochs=3, batch_size=batch, monitor="val_loss").recipe
        recipe = replace(recipe, learning_rate_random=0.002, clip_norm=0.5, augmentation=None)
        options["callbacks"] = [Spoil(), *options.get("callbacks", ())]
        history = train(network, parts, recipe, cell.seed, False, **options)
        print(f"{row} on {self.workshop.devices} devices: {time.monotonic() - began:.1f} s", flush=True)
        return {
            "history": history.to_dict("list"),
            "probabilities": network.predict(evaluation_dataset(table[:13], inputs), verbose=0).tolist(),
            "statistics": [value.numpy().tolist() for value in network.variables if "moving" in value.name],
            "seeds": [value.numpy().tolist() for value in network.variables if "seed" in value.name],
            "velocities": [float(value.numpy().sum()) for value in network.optimizer.variables if "velo" in value.path],
        }

    def cut_off(self, row: str, images: int, validated: int) -> dict[str, Any]:
        """The state is kept after the first epoch, the training ends, another goes on with it."""
        from mmdc_tf.training.checkpoint import Checkpoint

        checkpoint = Checkpoint(self.checkpoint, seconds=0)
        try:
            self.one(row, images, validated, callbacks=[Cut()], checkpoint=checkpoint)
        except KeyboardInterrupt:
            return {"kept": self.checkpoint.is_file(), **self.one(row, images, validated, checkpoint=checkpoint)}
        raise RuntimeError("the training was not cut off")

    def run(self, tensorboard: str) -> None:
        """Two folds of a row with stored and mixed features."""
        from small_run import execute

        from mmdc_tf.training.feature_store import CacheSettings

        cache = CacheSettings(self.plan.output / "features")
        plan = replace(self.plan, protocols=("leak-free",), cache=cache, cut="tiny_pool1", tensorboard=tensorboard)
        plan = replace(plan, rows=plan.rows[:1], table=replace(plan.table, rows=plan.rows[:1]))
        began = time.monotonic()
        if execute(plan)[0]:
            raise RuntimeError(f"trainings failed in {plan.output}")
        print(f"run on {self.workshop.devices} devices: {time.monotonic() - began:.1f} s", flush=True)


class Spoil(keras.callbacks.Callback):
    """Turns the head round before the third validation: that epoch cannot be the best."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_test_begin(self, logs: dict | None = None) -> None:
        if self.epoch == 2:
            head = self.model.get_layer("probabilities")
            head.set_weights([-50 * value for value in head.get_weights()])


class Cut(keras.callbacks.Callback):
    """Ends the training in its second epoch, as a kill would."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if epoch == 1:
            raise KeyboardInterrupt


if __name__ == "__main__":
    main(Path(sys.argv[1]))
