"""Scores finished trainings on their test images with noise (the paper claims robustness to noisy data, shows none)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from mmdc_tf.datasets.splits import Split, select
from mmdc_tf.errors import kind_and_line
from mmdc_tf.evaluation.predictions import predictions_table, read_predictions
from mmdc_tf.experiments.rows import Row
from mmdc_tf.experiments.run_folder import OK, PREDICTIONS, trainings_of
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.io import is_disk_error, require_json, write_table
from mmdc_tf.models.saved_model import load_saved_model
from mmdc_tf.preprocessing.noise import CLEAN, NOISES, add_noise

NOISE_PREDICTIONS = "predictions-noise.csv"
CONDITIONS = ((CLEAN, 0), *((name, step) for name, noise in NOISES.items() for step in range(1, len(noise.levels) + 1)))
TOLERANCE = 1e-4


def saved_trainings(folder: Path, rows: tuple[Row, ...], protocols: tuple[str, ...]) -> list[Path]:
    """The folders of all finished trainings in a table's folder that kept a model which takes images."""
    places = [folder / row.name / protocol for row in rows for protocol in protocols]
    finished = [one["folder"] for place in places for one in trainings_of(place) if one["status"] == OK]
    kept = [place for place in finished if (place / "model.keras").is_file()]
    return [place for place in kept if "image" in require_json(place / "model.json")["inputs"]]


def score_trainings(places: list[Path], table: pd.DataFrame, say: Callable[[str], object]) -> int:
    """Writes ``predictions-noise.csv`` into each folder that has none yet which fits its predictions.

    Args:
        places: as from ``saved_trainings``.
        table: the sample table of the whole dataset.
        say: takes a line a training.

    Returns:
        The number of trainings that could not be scored; the others are not stopped by them.
    """
    failures = 0
    for place in places:
        name = " ".join(place.parts[-3:])
        try:
            before = noise_predictions(place)
            predictions = score_with_noise(place, table) if before is None else before
            say(f"{name}: {_summary(predictions)}" + ("" if before is None else " (scored before)"))
        except Exception as error:  # whatever stops one training must not stop the table, but a disk that stops all
            if is_disk_error(error):
                raise
            failures += 1
            say(f"{name}: failed: {kind_and_line(error, 500)}")
    return failures


def noise_predictions(place: Path) -> pd.DataFrame | None:
    """What ``score_with_noise`` wrote; None where it is absent, lacks a condition, or is of another training."""
    path = place / NOISE_PREDICTIONS
    if not path.is_file():
        return None
    scored = read_predictions([path])
    conditions = list(scored[["noise", "step"]].drop_duplicates().itertuples(index=False, name=None))
    fits = conditions == list(CONDITIONS) and _distance(scored[scored["noise"] == CLEAN], place) <= TOLERANCE
    return scored if fits else None


def score_with_noise(place: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Scores a training's test part clean and with each noise of ``CONDITIONS``, and writes the result.

    Noise lands on both views where the model takes two. Each image is read and preprocessed once.

    Raises:
        RuntimeError: the clean images do not give the stored predictions (within 1e-4): data or code changed.
    """
    config = require_json(place / "config.json")
    split = Split.from_json((place / "split.json").read_text(encoding="utf-8"))
    test, names = select(table, split.test), tuple(config["class_names"])
    inputs, batch = tuple(require_json(place / "model.json")["inputs"]), config["training"]["batch_size"]
    settings = InputSettings(config["row_preprocessing"], config["image_size"], batch, names, inputs)
    changes = [functools.partial(add_noise, noise=noise, step=step) for noise, step in CONDITIONS]
    keras.utils.clear_session()  # the model of the training before
    model = load_saved_model(place / "model.keras")
    scores = model.predict(evaluation_dataset(test, settings, changes), verbose=0).reshape(len(test), len(changes), -1)
    tables = [
        predictions_table(test, part, names, split.fold, config["training_seed"]).assign(noise=noise, step=step)
        for (noise, step), part in zip(CONDITIONS, np.swapaxes(scores, 0, 1), strict=True)
    ]
    distance = _distance(tables[0], place)
    if not distance <= TOLERANCE:
        raise RuntimeError(
            f"Expected the stored predictions from the clean images. Received: probabilities that differ by "
            f"{distance:.2g} from {place / PREDICTIONS}. The data or the code changed since the training: use "
            "those that it was made with, or train again."
        )
    predictions = pd.concat(tables, ignore_index=True)
    write_table(place / NOISE_PREDICTIONS, predictions)
    return predictions


def _distance(predictions: pd.DataFrame, place: Path) -> float:
    """The largest difference of a probability from the stored; infinite where samples, labels or classes differ."""
    stored, names = read_predictions([place / PREDICTIONS]), ["sample_id", "y_true"]
    columns = [name for name in stored.columns if name.startswith("p_")]
    if not set(columns) <= set(predictions.columns) or not np.array_equal(predictions[names], stored[names]):
        return np.inf
    return float(np.abs(predictions[columns].to_numpy() - stored[columns].to_numpy()).max())


def _summary(predictions: pd.DataFrame) -> str:
    """The accuracy of the clean images and of each noise at its strongest."""
    right = (predictions["y_pred"] == predictions["y_true"]).groupby([predictions["noise"], predictions["step"]]).mean()
    shares = {name: right[name, step] for name, step in dict(CONDITIONS).items()}  # of each noise the last step
    texts = [f"{name} {100 * share:.2f} %" for name, share in shares.items()]
    return f"{texts[0]}; at the strongest {', '.join(texts[1:])}"
