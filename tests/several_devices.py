"""The same trainings on one device and on two, in a process of its own that has two logical processors.

TensorFlow divides a processor before its first use only, so that no test can do it.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

NUMBERS, RUN = "numbers.json", "run"
SIZE, BATCH = 32, 4


def main(output: Path) -> None:
    """Trains, and writes ``NUMBERS``: for each case, what came out; and a run of the command on all devices."""
    processor = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    from made_up_backbone import registered

    from mmdc_tf.datasets.phantom import phantom_mammograms
    from mmdc_tf.training.trainer import strategy_for

    dataset = phantom_mammograms(output / "data", patients=12, height=64, seed=1)
    two = strategy_for("all", BATCH)
    with registered():
        found = {
            "plain": [_trained(dataset, strategy, "vgg_like", 16, 8) for strategy in (None, two)],
            "usual": [_trained(dataset, strategy, "mmdcnet", 17, 9) for strategy in (None, two)],
            "again": [_trained(dataset, two, "mmdcnet", 17, 9), _cut_off(dataset, two, output / "state.npz")],
        }
    (output / NUMBERS).write_text(json.dumps(found))
    _run(output)


def _trained(dataset: Any, strategy: Any, name: str, images: int, validated: int, **options: Any) -> dict[str, Any]:
    """Two epochs; ``vgg_like`` has neither BatchNormalization nor, as it is called here, dropout."""
    from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
    from mmdc_tf.models import MODELS, ModelSettings, build_model
    from mmdc_tf.training.recipe import load_profile
    from mmdc_tf.training.trainer import TrainingParts, make_deterministic, on_one_device, train

    arguments: dict[str, dict[str, Any]] = {
        "vgg_like": {"width": 4, "dense_width": 8},
        "mmdcnet": {"backbone": "tiny", "conv_filters": 8, "grid": 2},
    }
    make_deterministic(3)
    with nullcontext() if strategy is None else strategy.scope():
        model = build_model(name, ModelSettings(SIZE), **arguments[name])
    for layer in model.layers:
        if name == "vgg_like" and isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    inputs = InputSettings("plain", SIZE, BATCH, dataset.info.class_names, MODELS[name].inputs)
    table = dataset.table.sort_values("view", kind="stable")
    parts = TrainingParts(table[:images], table[images : images + validated], inputs)
    recipe = load_profile("full", image_size=SIZE, epochs=2, batch_size=BATCH, monitor="val_loss").recipe
    history = train(model, parts, replace(recipe, learning_rate_random=0.002, augmentation=None), 3, False, **options)
    probabilities = on_one_device(model).predict(evaluation_dataset(table[:13], inputs), verbose=0)  # 3 · 4 + 1
    return {
        "history": history.to_dict("list"),
        "probabilities": probabilities.tolist(),
        "variables": [np.asarray(variable).tolist() for variable in model.variables],
    }


def _cut_off(dataset: Any, strategy: Any, state: Path) -> dict[str, Any]:
    """The state is kept after the first epoch, the training ends, another goes on with it."""
    from mmdc_tf.training.callbacks import Checkpoint

    checkpoint = Checkpoint(state, seconds=0)
    try:
        _trained(dataset, strategy, "mmdcnet", 17, 9, callbacks=[Cut()], checkpoint=checkpoint)
    except KeyboardInterrupt:
        return {"kept": state.is_file(), **_trained(dataset, strategy, "mmdcnet", 17, 9, checkpoint=checkpoint)}
    raise RuntimeError("the training was not cut off")


class Cut(keras.callbacks.Callback):
    """Ends the training in its second epoch, as a kill would."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if epoch == 1:
            raise KeyboardInterrupt


def _run(output: Path) -> None:
    """The command: a row with a frozen part, on stored features that are mixed; the second fold starts again."""
    from mmdc_tf import cli
    from mmdc_tf.commands import run

    run.PHANTOM_IMAGES = 24
    row = ["--table", "1", "--rows", "bcdnet_mobilenet", "--cut", "conv_pw_5_relu", "--protocol", "leak-free"]
    small = ["--image-size", "32", "--epochs", "1", "--folds", "2", "--batch-size", "5", "--feature-views", "2"]
    places = ["--output", str(output / RUN), "--cache-dir", str(output / "cache")]
    if cli.main(["run", *row, *small, *places, "--devices", "all"]):
        raise RuntimeError("the run failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
