"""Trained models on a data set that they have never seen: predictions, scores and the files that hold them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from mmdc_tf.datasets.copies import near_twin_clusters
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, counted
from mmdc_tf.evaluation.external import (
    METRICS,
    SCORED,
    SharedClasses,
    external_scores,
    local_cases,
    restricted,
    shared_classes,
)
from mmdc_tf.evaluation.predictions import predictions_table
from mmdc_tf.evaluation.statistics import interval_columns, metric_intervals
from mmdc_tf.evaluation.subgroups import subgroup_results
from mmdc_tf.experiments.card import ModelCard
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.serving.card import MODEL, load_model, model_file
from mmdc_tf.serving.explanation import Explainer, pointing_game

BATCH = 32
ENSEMBLE, MEAN = "mean of their probabilities", "mean of the models' scores"


@dataclass(frozen=True)
class ExternalResult:
    """What was found.

    Args:
        scores: one line a model, then, of several, ``MEAN`` and ``ENSEMBLE``; columns as from ``external_scores``.
        predictions: of all models, on the shared classes, ``model`` naming each.
        subgroups: as from ``subgroup_results``, of the ensemble.
        notes: what was merged, left out and assumed.
    """

    scores: pd.DataFrame
    predictions: pd.DataFrame
    subgroups: pd.DataFrame
    notes: tuple[str, ...]


def trained_models(path: Path) -> list[Path]:
    """A model file; or those of all folds and seeds in a row's folder of one protocol (``RUN/TABLE/ROW/PROTOCOL``).

    Raises:
        ConfigurationError: there is none; names one that may be meant.
    """
    return sorted(path.glob(f"fold*-seed*/{MODEL}")) or [model_file(path)]


def without_copies(dataset: Dataset, training: Dataset) -> tuple[Dataset, str]:
    """The external set without images that look like one that the model was made from, and a line that counts them.

    The search is the audit's: by a perceptual hash, in ultrasound also by the correlation of shifted thumbnails.

    Args:
        dataset: the external set.
        training: all of the model's own data.

    Raises:
        ConfigurationError: nothing would be left.
        UnreadableImageError: an image cannot be decoded.
    """
    paths = [*dataset.table["image_path"], *training.table["image_path"]]
    clusters, notes = near_twin_clusters(paths, dataset.info.modality)
    count = len(dataset.table)
    copied = np.isin(clusters[:count], clusters[count:])
    if copied.all():
        raise ConfigurationError(
            f"Expected a data set that the model was not made from. Received: {dataset.root}, of which every image "
            f"looks like one of {training.root}. Choose another."
        )
    line = f"{counted(int(copied.sum()), 'image')} left out that look like one of the model's own data"
    table = dataset.table[~copied].reset_index(drop=True)
    return replace(dataset, table=table), "; ".join([line, *notes])


def evaluate_externally(
    files: Sequence[Path], dataset: Dataset, recalibrate: int = 0, seed: int = 0, say: Callable[[str], object] = print
) -> ExternalResult:
    """Scores models of one row on an external set: each alone, the mean of their scores, and their ensemble.

    Temperatures and thresholds are those that the models were stored with, and stay. All models are scored on the same
    images, so the intervals draw the same groups for all of them.

    Args:
        files: ``model.keras`` of each, as from ``trained_models``.
        dataset: the external set.
        recalibrate: about so many images (whole groups) on which temperature and threshold are fitted once more; both
            results are then of the other images. 0 for none.
        seed: of the choice of these images.
        say: takes a line a model.

    Raises:
        ConfigurationError: they share fewer than two classes; models or cards do not fit.
        UnreadableImageError: an image cannot be decoded.
    """
    predictions, cards, games = {}, [], {}
    for number, file in enumerate(files):
        keras.utils.clear_session()
        model, card = load_model(file)
        name = file.parent.name if len(files) > 1 else card.name
        say(f"{name}: {counted(len(dataset.table), 'image')}")
        predictions[name] = _predicted(model, card, dataset, number)
        cards.append(card)
        if "image" in card.inputs and (game := pointing_game(Explainer(model, card), dataset.table)):
            games[name] = game
    card = cards[0]
    classes = shared_classes(card.class_names, dataset.found_counts)
    everything = _with_ensemble(predictions, card)
    kept = {name: restricted(table, classes, card.positive_class) for name, table in everything.items()}
    parts = local_cases(next(iter(kept.values())), recalibrate, seed) if recalibrate else None
    thresholds = [one.threshold for one in cards]
    lines = []
    for place, (name, table) in enumerate(kept.items()):
        threshold = thresholds[place] if place < len(thresholds) else _mean(thresholds)
        positive = card.positive_class if card.positive_class in classes.names else None
        found = external_scores(table, positive, threshold, card.sensitivity or 0.9, parts)
        lines.append({"model": name, **found, **(games[name].columns if name in games else {})})
    scores = pd.DataFrame(lines)
    if len(files) > 1:
        mean: dict[Any, Any] = scores.iloc[: len(files)].drop(columns="model").mean().to_dict()
        both = pd.concat([table for name, table in kept.items() if name != ENSEMBLE])
        mean |= _mean_limits(both if parts is None else both[pd.concat([parts] * len(files)).to_numpy() == SCORED])
        line = pd.DataFrame([{"model": MEAN, **mean}])
        scores = pd.concat([scores.iloc[:-1], line, scores.iloc[-1:]])
    last = list(kept.values())[-1]
    site = "" if dataset.site is None else dataset.table["sample_id"].map(dataset.site)
    facts = dataset.table[["sample_id", "age", "density", "view", "side"]].assign(digitizer=site)
    return ExternalResult(
        scores.reset_index(drop=True),
        pd.concat([table.assign(model=name) for name, table in kept.items()], ignore_index=True),
        subgroup_results(last if parts is None else last[parts == SCORED], facts),
        (*(f"{name}: {game}" for name, game in games.items()), *_notes(classes, card, dataset, recalibrate)),
    )


def _predicted(model: keras.Model, card: ModelCard, dataset: Dataset, number: int) -> pd.DataFrame:
    """Calibrated, with the model's own classes; all of fold 0, so that the bootstrap draws the same groups for each."""
    settings = InputSettings(card.recipe.name, card.image_size, BATCH, dataset.info.class_names, card.inputs)
    raw = np.asarray(model.predict(evaluation_dataset(dataset.table, settings), verbose=0), dtype=float)
    return predictions_table(dataset.table, card.calibrated(raw), card.class_names, 0, number)


def _with_ensemble(predictions: dict[str, pd.DataFrame], card: ModelCard) -> dict[str, pd.DataFrame]:
    if len(predictions) == 1:
        return predictions
    first = next(iter(predictions.values()))
    columns = [f"p_{name}" for name in card.class_names]
    shares = np.mean([table[columns].to_numpy() for table in predictions.values()], axis=0)
    joined = first.assign(seed=len(predictions), **dict(zip(columns, shares.T, strict=True)))
    return {**predictions, ENSEMBLE: joined}


def _mean(thresholds: list[float | None]) -> float | None:
    known = [one for one in thresholds if one is not None]
    return float(np.mean(known)) if len(known) == len(thresholds) else None


def _mean_limits(predictions: pd.DataFrame) -> dict[str, float]:
    """The intervals of the mean over models: each draw of the groups scores all of them."""
    return interval_columns(metric_intervals(predictions, names=METRICS))


def _notes(classes: SharedClasses, card: ModelCard, dataset: Dataset, recalibrate: int) -> tuple[str, ...]:
    lines = [*dataset.notes, *classes.notes]
    if card.takes_metadata:
        unknown = dataset.table[["age", "density"]].isna().mean()
        lines += [f"{name} is unknown for {share:.0%} of the images" for name, share in unknown.items() if share]
    if recalibrate:
        lines.append("refitted: on local cases that are not scored; all columns are of the same images")
    if card.modality not in (None, dataset.info.modality):
        lines.append(f"the model was made from {card.modality}, the data set holds {dataset.info.modality}")
    return (*lines, RESEARCH_USE)
