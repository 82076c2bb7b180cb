"""The same trainings on one device and on two, in a process of its own that has two logical processors.

TensorFlow divides a processor before its first use only, so that no test can do it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

NUMBERS, RUN = "numbers.json", "run"
SIZE = 32
BATCH = {"vit": 16, "mmdcnet": 4}
"""Of ``vit`` all images: their order, which differs on several devices, does not matter then."""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "vit": {"width": 16, "depth": 1, "heads": 2, "mlp": 16},  # has neither BatchNormalization nor dropout
    "mmdcnet": {"backbone": "tiny", "conv_filters": 8, "grid": 2},
}
BUILT: dict[tuple[str, bool], keras.Model] = {}
"""Networks are traced once, and start again for the next training."""


def main(output: Path) -> None:
    """Trains, and writes ``NUMBERS``: for each case, what came out; then a run of the command on all devices."""
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    from made_up_backbone import registered

    from mmdc_tf.datasets.phantom import phantom_mammograms
    from mmdc_tf.training.callbacks import Checkpoint
    from mmdc_tf.training.devices import strategy_for

    dataset = phantom_mammograms(output / "data", patients=12, height=64, seed=1)
    two, checkpoint = strategy_for("all", 4), Checkpoint(output / "state.npz", seconds=0)
    with registered():
        found = {
            "one": trained(dataset, None, "vit", 16, 9),
            "two": trained(dataset, two, "vit", 16, 9),
            "odd": trained(dataset, two, "mmdcnet", 17, 9),
        }
        try:
            trained(dataset, two, "mmdcnet", 17, 9, callbacks=[Cut()], checkpoint=checkpoint)
        except KeyboardInterrupt:
            found["kept"] = checkpoint.path.is_file()
        found["continued"] = trained(dataset, two, "mmdcnet", 17, 9, checkpoint=checkpoint)
        (output / NUMBERS).write_text(json.dumps(found))
        run(output)


def trained(dataset: Any, strategy: Any, name: str, images: int, validated: int, **options: Any) -> dict[str, Any]:
    """Two epochs with class weights; ``options`` are ``callbacks`` and ``checkpoint`` of ``train``."""
    from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
    from mmdc_tf.models import MODELS, ModelSettings, build_model
    from mmdc_tf.training.devices import on_one_device
    from mmdc_tf.training.recipe import load_profile
    from mmdc_tf.training.trainer import TrainingParts, make_deterministic, start_again, train

    make_deterministic(3)
    with nullcontext() if strategy is None else strategy.scope():
        fresh = build_model(name, ModelSettings(SIZE), **ARGUMENTS[name])
    if (model := BUILT.setdefault((name, strategy is None), fresh)) is not fresh:
        start_again(model, fresh)
    inputs = InputSettings("plain", SIZE, BATCH[name], dataset.info.class_names, MODELS[name].inputs)
    table = dataset.table.sort_values("view", kind="stable")
    parts = TrainingParts(table[:images], table[images : images + validated], inputs)
    recipe = load_profile("full", image_size=SIZE, epochs=2, batch_size=BATCH[name], learning_rate_random=0.002).recipe
    # each device clips its own gradient; without clipping they add up to that of one device
    recipe = dataclasses.replace(recipe, augmentation=None, clip_norm=1e6)
    history = train(model, parts, recipe, 3, pretrained=False, **options)
    batches = evaluation_dataset(table[:13], inputs)  # 3 · 4 + 1
    return {
        "history": history.to_dict("list"),
        "probabilities": on_one_device(model).predict(batches, verbose=0).tolist(),
        "variables": [np.asarray(variable).tolist() for variable in model.variables],
    }


class Cut(keras.callbacks.Callback):
    """Ends the training in its second epoch, as a kill would."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if epoch == 1:
            raise KeyboardInterrupt


def run(output: Path) -> None:
    """A row with a frozen part, on stored features that are mixed; its second fold starts the network again."""
    from mmdc_tf import cli
    from mmdc_tf.commands import run as command
    from mmdc_tf.models.backbones import BACKBONES

    command.PHANTOM_IMAGES = 24
    BACKBONES["mobilenet"] = BACKBONES["tiny"]
    row = ["--table", "1", "--rows", "bcdnet_mobilenet", "--cut", "tiny_pool1", "--protocol", "leak-free"]
    small = ["--image-size", "32", "--epochs", "1", "--folds", "2", "--batch-size", "5"]
    places = ["--output", str(output / RUN), "--cache-dir", str(output / "cache")]
    if cli.main(["run", *row, *small, *places, "--devices", "all"]):
        raise RuntimeError("the run failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
