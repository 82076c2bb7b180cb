"""Test images that a network of a run got right and wrong, with its heatmaps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError, InputError, counted
from mmdc_tf.evaluation.predictions import choose_examples, class_names, read_predictions
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import OK, PREDICTIONS, cells_of, finished_cells
from mmdc_tf.experiments.samples import read_samples
from mmdc_tf.explain.drawing import COLOUR_MAP, OPACITY, UNIFORM, is_uniform
from mmdc_tf.explain.heat_scores import heat_score, read_lesion
from mmdc_tf.io import picture_address
from mmdc_tf.preprocessing.scan_folder import masks_in
from mmdc_tf.serving.card import ModelCard, read_card
from mmdc_tf.serving.explanation import GRAD_CAM, LAYER_CAM, Explainer, load_explainer
from mmdc_tf.serving.model_place import CARD, model_file

PROTOCOL = "leak-free"
JPEG_QUALITY = 92
POINTED = 60
"""Test images at most on which the place of the heat is scored."""
SHOWN_SIDE = 224
"""Longest side of a picture on the page, in pixels."""


@dataclass(frozen=True)
class Example:
    """One test image.

    Args:
        sample_id: its name.
        truth, predicted: classes.
        probability: of the predicted class, calibrated where the model has a temperature.
        metadata: age and density as the model was given them; "" for a model that takes none.
        pictures: name to ``data:`` address: the preprocessed image, then each heatmap over it.
    """

    sample_id: str
    truth: str
    predicted: str
    probability: float
    metadata: str
    pictures: dict[str, str]


@dataclass(frozen=True)
class Examples:
    """Images of one test fold.

    Args:
        row: the network.
        training: which one of its trainings: ``leak-free/fold0-seed0``.
        test_images: in its test fold; ``rights`` of them it got right.
        right, wrong: the examples.
        notes: what a reader must know besides, a sentence each.
    """

    row: Row
    training: str
    test_images: int
    rights: int
    right: tuple[Example, ...]
    wrong: tuple[Example, ...]
    notes: tuple[str, ...]


def find_examples(
    table: PaperTable, results: pd.DataFrame, folder: Path, paths: Callable[[], Mapping[str, str]], count: int
) -> Examples:
    """Images that the best finished network predicted rightly and wrongly in its first leak-free test fold.

    The best network is the one with the highest leak-free accuracy among those that take an image; which of its images
    are shown, ``mmdc_tf.evaluation.examples.choose_examples`` says: one right and one wrong of a group at most.

    Args:
        table: the paper's table.
        results: as from ``mmdc_tf.experiments.results.table_results``.
        folder: the table's, as ``OUT/table1``.
        paths: gives the image file of each ``sample_id``; called once a network is found.
        count: of right ones, and of wrong ones.

    Raises:
        ConfigurationError: no network is finished, or a model cannot be used.
        InputError: an image is not there or cannot be read.
    """
    row, place, card = _best_network(table, results, folder)
    predictions = read_predictions([place / PREDICTIONS])
    chosen = choose_examples(_one_a_group(predictions), wrong=count, right=count)
    is_right = chosen["y_true"] == chosen["y_pred"]
    files, samples, explainer = paths(), read_samples(folder), load_explainer(place, card)
    right, wrong = (
        tuple(_example(line, explainer, samples, files) for line in part.to_dict("records"))
        for part in (chosen[is_right], chosen[~is_right])
    )
    return Examples(
        row=row,
        training=f"{PROTOCOL}/{place.name}",
        test_images=len(predictions),
        rights=int((predictions["y_true"] == predictions["y_pred"]).sum()),
        right=right,
        wrong=wrong,
        notes=(*_notes(card), *_pointing_game(predictions["sample_id"].tolist(), explainer, samples, files)),
    )


def _pointing_game(
    names: list[str], explainer: Explainer, samples: pd.DataFrame | None, files: Mapping[str, str]
) -> tuple[str, ...]:
    """How often the finest map of the class finds the lesion of a test image, where masks lie beside the images."""
    kind = GRAD_CAM if explainer.fine_layer is None else LAYER_CAM
    masks = {name: masks_in(Path(path).parent).get(Path(path).name, []) for name in names if (path := files.get(name))}
    outlined = [name for name in masks if masks[name]]
    scores, lost = [], 0
    for name in outlined[:: math.ceil(len(outlined) / POINTED)] if outlined else []:
        explanation = explainer.explain(files[name], None, *_metadata(name, samples))
        try:
            lesion = read_lesion(masks[name], explanation.scan, explainer.card.recipe)
        except InputError:
            lost += 1
            continue
        if lesion is not None:
            scores.append((heat_score(explanation.heats[kind], lesion), float(lesion.mean())))
    if not scores:
        return ()
    hits, area = sum(bool(score and score.hit) for score, _ in scores), np.mean([area for _, area in scores])
    missed = f" The crop left no lesion of {counted(lost, 'other image')}." if lost else ""
    return (
        f"Of {counted(len(scores), 'test image')} with an outlined lesion, {kind} has its maximum in the lesion on "
        f"{hits} ({100 * hits / len(scores):.0f} %; a point drawn evenly: {100 * area:.0f} %).{missed}",
    )


def _best_network(table: PaperTable, results: pd.DataFrame, folder: Path) -> tuple[Row, Path, ModelCard]:
    finished = results[(results["protocol"] == PROTOCOL) & (results["status"] == OK)]
    rows = {row.name: row for row in table.rows if row.model is not None}
    for name in finished.sort_values("accuracy", ascending=False, kind="stable")["row"]:
        cells = finished_cells(cells_of(folder / name / PROTOCOL)) if name in rows else []
        if cells and (place := cells[0]["folder"]).joinpath(CARD).is_file():
            card = read_card(model_file(place))
            if "image" in card.inputs:
                return rows[name], place, card
    raise ConfigurationError(
        f"Expected a finished network that takes images, under {PROTOCOL}. Received: none in {folder}. "
        "Train one into this run."
    )


def _one_a_group(predictions: pd.DataFrame) -> pd.DataFrame:
    """The surest right and the surest wrong line of each group: views of a patient would say the same four times."""
    columns = [f"p_{name}" for name in class_names(predictions)]
    is_right = predictions["y_true"] == predictions["y_pred"]
    surest = predictions[columns].max(axis=1).groupby([predictions["group_id"], is_right]).idxmax()
    return predictions.loc[surest.sort_values()]


def _example(
    line: dict[Any, Any], explainer: Explainer, samples: pd.DataFrame | None, paths: Mapping[str, str]
) -> Example:
    card, name, predicted = explainer.card, line["sample_id"], line["y_pred"]
    path = paths.get(name)
    if path is None or not Path(path).is_file():
        raise InputError(
            f"Expected the image of {name}. Received: {path or 'no such sample'} (absent). Put the dataset back."
        )
    age, density = _metadata(name, samples)
    explanation = explainer.explain(path, predicted, age, density)
    stored = np.array([[line[f"p_{one}"] for one in card.class_names]])
    image = explanation.scan.image[..., 0]  # of every recipe the grey image
    heats = dict(_heat_picture(image, kind, heat) for kind, heat in explanation.heats.items())
    return Example(
        sample_id=name,
        truth=line["y_true"],
        predicted=predicted,
        probability=float(card.calibrated(stored)[0, card.class_names.index(predicted)]),
        metadata=_metadata_text(age, density) if card.takes_metadata else "",
        pictures={"preprocessed image": _address(image), **heats},
    )


def _metadata(name: str, samples: pd.DataFrame | None) -> tuple[float, float]:
    """Age and density of a sample, NaN where unknown."""
    if samples is None:
        return np.nan, np.nan
    line = samples[samples["sample_id"] == name].iloc[0]
    return float(line["age"]), float(line["density"])


def _metadata_text(age: float, density: float) -> str:
    known = {"age": age, "density": density}
    return ", ".join(f"{name} {f'{value:g}' if np.isfinite(value) else 'unknown'}" for name, value in known.items())


def _heat_picture(image: np.ndarray, kind: str, heat: np.ndarray) -> tuple[str, str]:
    """Caption and address of a heatmap over the image."""
    if is_uniform(heat):
        return f"{kind}: {UNIFORM}", _address(image)
    return kind, _address(_over(image, heat))


def _over(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """uint8 RGB (S, S, 3): the grey image (S, S) under the colours of the heat (S, S) in [0, 1]."""
    colours = 255.0 * matplotlib.colormaps[COLOUR_MAP](heat)[..., :3]
    return np.rint((1 - OPACITY) * image[..., None] + OPACITY * colours).astype("uint8")


def _address(image: np.ndarray) -> str:
    """A picture of at most ``SHOWN_SIDE`` pixels as a ``data:`` address."""
    share = min(1.0, SHOWN_SIDE / max(image.shape[:2]))
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    small = cv2.resize(image.astype("uint8"), (width, height), interpolation=cv2.INTER_AREA)
    pixels = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return picture_address(content, "jpeg")


def _notes(card: ModelCard) -> tuple[str, ...]:
    kind = "not calibrated" if card.temperature is None else f"calibrated, temperature {card.temperature:.3g}"
    views = "The network was scored on two views; its heatmaps are of the first one alone."
    return (f"Probabilities: {kind}.", *([views] if "other_view" in card.inputs else []))
