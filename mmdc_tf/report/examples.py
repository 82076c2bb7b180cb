"""Test images that a network of a run got right and wrong, with its heatmaps."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image

from mmdc_tf.datasets.splits import LEAK_FREE
from mmdc_tf.errors import ConfigurationError, InputError
from mmdc_tf.evaluation.predictions import choose_examples, class_names, read_predictions
from mmdc_tf.experiments.rows import PaperTable, Row
from mmdc_tf.experiments.run_folder import OK, PREDICTIONS, finished_trainings, read_samples, trainings_of
from mmdc_tf.explain.drawing import COLOUR_MAP, OPACITY, UNIFORM, is_uniform
from mmdc_tf.io import picture_address
from mmdc_tf.preprocessing.scan_folder import masks_in
from mmdc_tf.serving.card import CARD, ModelCard, model_file, read_card
from mmdc_tf.serving.explanation import Explainer, load_explainer, pointing_game

SHOWN_SIDE = 224
"""Longest side of a picture on the page, in pixels."""


def find_examples(
    table: PaperTable, results: pd.DataFrame, folder: Path, paths: Callable[[], Mapping[str, str]], count: int
) -> dict[str, Any]:
    """Images that the best finished network predicted rightly and wrongly in its first leak-free test fold.

    The best network is the one with the highest leak-free accuracy among those that take an image; which of its images
    are shown, ``mmdc_tf.evaluation.predictions.choose_examples`` says: one right and one wrong of a group at most.

    Args:
        paths: gives the image file of each ``sample_id``; called once a network is found.
        count: of right ones, and of wrong ones.

    Returns:
        What the page shows: ``row`` and ``training``, how many of its ``test_images`` are right (``rights``), the
        ``right`` and ``wrong`` examples, and ``notes``, a sentence each.

    Raises:
        ConfigurationError: no network is finished, or a model cannot be used.
        InputError: an image is not there or cannot be read.
    """
    row, place, card = _best_network(table, results, folder)
    predictions = read_predictions([place / PREDICTIONS])
    is_right = predictions["y_true"] == predictions["y_pred"]
    # the surest right and the surest wrong one of each group: the views of a patient would say the same four times
    sure = predictions[[f"p_{name}" for name in class_names(predictions)]].max(axis=1)
    surest = sure.groupby([predictions["group_id"], is_right]).idxmax().sort_values()
    chosen = choose_examples(predictions.loc[surest], wrong=count, right=count)
    files, samples, explainer = paths(), read_samples(folder), load_explainer(place, card)
    shown = [_example(line, explainer, samples, files) for line in chosen.to_dict("records")]
    views = ["The network was scored on two views; its heatmaps are of the first one alone."]
    temperature = card.temperature
    kind = "not calibrated" if temperature is None else f"calibrated, temperature {temperature:.3g}"
    return {
        "row": row,
        "training": f"{LEAK_FREE}/{place.name}",
        "test_images": len(predictions),
        "rights": int(is_right.sum()),
        "right": [one for one in shown if one["truth"] == one["predicted"]],
        "wrong": [one for one in shown if one["truth"] != one["predicted"]],
        "notes": [
            f"Probabilities: {kind}.",
            *(views if "other_view" in card.inputs else []),
            *_pointing_game(predictions["sample_id"].tolist(), explainer, samples, files),
        ],
    }


def _best_network(table: PaperTable, results: pd.DataFrame, folder: Path) -> tuple[Row, Path, ModelCard]:
    finished = results[(results["protocol"] == LEAK_FREE) & (results["status"] == OK)]
    rows = {row.name: row for row in table.rows if row.model is not None}
    for name in finished.sort_values("accuracy", ascending=False, kind="stable")["row"]:
        cells = finished_trainings(trainings_of(folder / name / LEAK_FREE)) if name in rows else []
        if cells and (place := cells[0]["folder"]).joinpath(CARD).is_file():
            card = read_card(model_file(place))
            if "image" in card.inputs:
                return rows[name], place, card
    raise ConfigurationError(
        f"Expected a finished network that takes images, under {LEAK_FREE}. Received: none in {folder}. "
        "Train one into this run."
    )


def _example(
    line: dict[Any, Any], explainer: Explainer, samples: pd.DataFrame | None, paths: Mapping[str, str]
) -> dict[str, Any]:
    """One image: the probability of the predicted class, calibrated where the model has a temperature; age and density
    as the model was given them; and, by name, the address of the preprocessed image and of each heatmap over it."""
    card, name, predicted = explainer.card, line["sample_id"], line["y_pred"]
    path = paths.get(name)
    if path is None or not Path(path).is_file():
        raise InputError(
            f"Expected the image of {name}. Received: {path or 'no such sample'} (absent). Put the dataset back."
        )
    known = _metadata(name, samples)
    texts = [f"{kind} {f'{value:g}' if np.isfinite(value) else 'unknown'}" for kind, value in known.items()]
    explanation = explainer.explain(path, predicted, **known)
    stored = np.array([[line[f"p_{one}"] for one in card.class_names]])
    image = explanation.scan.image[..., 0]  # of every recipe the grey image
    pictures = {"preprocessed image": _address(image)}
    for kind, heat in explanation.heats.items():
        if is_uniform(heat):
            pictures[f"{kind}: {UNIFORM}"] = _address(image)
        else:
            colours = 255.0 * matplotlib.colormaps[COLOUR_MAP](heat)[..., :3]
            pictures[kind] = _address(np.rint((1 - OPACITY) * image[..., None] + OPACITY * colours))
    return {
        "sample_id": name,
        "truth": line["y_true"],
        "predicted": predicted,
        "probability": float(card.calibrated(stored)[0, card.class_names.index(predicted)]),
        "metadata": ", ".join(texts) if card.takes_metadata else "",
        "pictures": pictures,
    }


def _pointing_game(
    names: list[str], explainer: Explainer, samples: pd.DataFrame | None, files: Mapping[str, str]
) -> list[str]:
    """How often the map of the class finds the lesion of a test image, where masks lie beside the images."""
    known = [
        {"image_path": files[name], "lesion_masks": masks_in(Path(files[name]).parent).get(Path(files[name]).name, [])}
        | _metadata(name, samples)
        for name in names
        if name in files
    ]
    found = pointing_game(explainer, pd.DataFrame(known)) if known else None
    return [] if found is None else [str(found)]


def _metadata(name: str, samples: pd.DataFrame | None) -> dict[str, float]:
    """Age and density of a sample, NaN where unknown."""
    known = pd.DataFrame() if samples is None else samples[samples["sample_id"] == name]
    return {kind: np.nan if known.empty else float(known[kind].iloc[0]) for kind in ("age", "density")}


def _address(image: np.ndarray) -> str:
    """A picture, grey or RGB in [0, 255], of at most ``SHOWN_SIDE`` pixels as a ``data:`` address."""
    small, buffer = Image.fromarray(image.astype("uint8")), io.BytesIO()
    small.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BOX)
    small.save(buffer, "JPEG", quality=92)
    return picture_address(buffer.getvalue(), "jpeg")
