"""A finished training as a run leaves it, with an untrained network: enough for what reads run folders."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.datasets.splits import Split, make_splits, select
from mmdc_tf.evaluation.predictions import predictions_table
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.io import write_json
from mmdc_tf.models import MODELS, ModelSettings, build_model
from mmdc_tf.preprocessing import get_recipe
from mmdc_tf.training.recipe import load_profile

SIZE = 32
BATCH = 5


def write_saved_training(
    folder: Path, dataset: Dataset, row: str, model: str, protocol: str = "paper", **arguments: Any
) -> Path:
    """Writes ``run.json`` and a row's finished trainings under one protocol; returns the folder of the first.

    Args:
        folder: the table's, as ``OUT/table2``.
        dataset: what is scored.
        row, model: the row's name and its registered network.
        protocol: ``"paper"``, one training, or ``"leak-free"``, two.
        **arguments: of the network's builder.
    """
    keras.utils.set_random_seed(1)
    network = build_model(model, ModelSettings(SIZE, len(dataset.info.class_names)), **arguments)
    places = [
        _write_training(folder / row / protocol / f"fold{split.fold}-seed0", dataset, model, network, split)
        for split in make_splits(dataset, protocol, 2, 0)
    ]
    write_json(folder / "run.json", run_facts(dataset, folder.name))
    return places[0]


def _write_training(place: Path, dataset: Dataset, model: str, network: keras.Model, split: Split) -> Path:
    place.mkdir(parents=True)
    network.save(place / "model.keras")
    test = select(dataset.table, split.test)
    probabilities = network.predict(evaluation_dataset(test, settings(dataset, model)), verbose=0)
    predictions = predictions_table(test, probabilities, dataset.info.class_names, split.fold, 0)
    predictions.to_csv(place / "predictions.csv", index=False)
    (place / "split.json").write_text(split.to_json(), encoding="utf-8")
    write_json(place / "status.json", {"status": "ok", "epochs": 1, "seconds": 1.0})
    write_json(place / "model.json", _card(dataset, model))
    cell = {"image_size": SIZE, "row_preprocessing": "plain", "training_seed": 0}
    cell |= {"protocol": split.protocol, "fold": split.fold}
    write_json(place / "config.json", {**run_facts(dataset, place.parents[2].name), **cell})
    return place


def _card(dataset: Dataset, model: str) -> dict[str, Any]:
    return {
        "class_names": list(dataset.info.class_names),
        "inputs": list(MODELS[model].inputs),
        "image_size": SIZE,
        "preprocessing": get_recipe("plain").to_config(),
    }


def settings(dataset: Dataset, model: str) -> InputSettings:
    return InputSettings("plain", SIZE, BATCH, dataset.info.class_names, MODELS[model].inputs)


def run_facts(dataset: Dataset, table: str) -> dict[str, Any]:
    """What stands in ``run.json``, as far as it is read."""
    return {
        "table": table,
        "dataset": dataset.info.name,
        "dataset_fingerprint": dataset.fingerprint,
        "near_twins": "keep",
        "synthetic": dataset.info.synthetic,
        "group_unit": dataset.info.group_unit,
        "class_names": list(dataset.info.class_names),
        "preprocessing": "plain",
        "profile": "quick",
        "folds": 2,
        "training": {**asdict(load_profile("quick").recipe), "image_size": SIZE, "epochs": 1, "batch_size": BATCH},
        "weights": "none",
        "seed": 0,
    }


def shift_probabilities(place: Path, amount: float) -> None:
    """Moves the stored probabilities of the first sample, as if data or code had changed since."""
    path = place / "predictions.csv"
    table = pd.read_csv(path)
    columns = [name for name in table.columns if name.startswith("p_")]
    table.loc[0, columns] += amount * np.array([1.0, -1.0, 0.0])
    table.to_csv(path, index=False)
