"""Predictions as a table to be read, as CSV and as JSON; each says that it is for research use only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.datasets.catalogue import FORMULA_STARTS
from mmdc_tf.io import write_with
from mmdc_tf.serving.card import ModelCard
from mmdc_tf.serving.metadata import MetadataValue
from mmdc_tf.serving.prediction import Prediction


def introduction(card: ModelCard, file: Path) -> str:
    """What the model is, in a few lines."""
    lines = [f"model: {file} ({card.name}, recipe {card.recipe.name}, {card.image_size} pixels)"]
    if card.temperature is None:
        lines.append("probabilities: not calibrated, as the model gives them")
    else:
        lines.append(f"probabilities: calibrated, temperature {card.temperature:.3g}")
    if card.threshold is None:
        why = "it was not calibrated" if card.temperature is None else "no class was named with --positive-class"
        lines.append(f"decision: none, since {why} when it was trained")
    else:
        sensitivity = (
            "" if card.sensitivity is None else f" (sensitivity {card.sensitivity:g}, fitted on: {card.fitted_on})"
        )
        lines.append(f"decision: {card.positive_class} at or above {card.threshold:.3f}{sensitivity}")
    return "\n".join(map(printable, [*lines, card.notice]))


def text_table(predictions: Sequence[Prediction]) -> str:
    """One line an image; probabilities are calibrated. "cancer, age unknown" is what the age is worth."""
    return pd.DataFrame([_line(one) for one in predictions]).fillna("").to_string(index=False)


def _line(one: Prediction) -> dict[str, str]:
    line = {"image": one.path, **{name: f"{value:.3f}" for name, value in one.probabilities.items()}}
    line["class"] = one.predicted_class
    if one.decision is not None:
        line[f"{one.positive_class}?"] = "yes" if one.decision else "no"
    line |= {"age": _told(one.age), "density": _told(one.density)}
    shown = one.positive_class or one.predicted_class
    for name, probabilities in one.with_unknown.items():
        line[f"{name} unknown"] = f"{shown} {probabilities[shown]:.3f}"
    line["flags"] = ", ".join(one.flags)
    return {printable(name): printable(text) for name, text in line.items()}


def _told(value: MetadataValue) -> str:
    return value.source if value.value is None else f"{value.value:g} ({value.source})"


def printable(text: str) -> str:
    """Text for a terminal: what could move its cursor or break a line becomes a question mark."""
    return "".join(character if character.isprintable() else "?" for character in text)


def write_csv(path: Path, predictions: Sequence[Prediction], failed: dict[str, str], notice: str) -> None:
    """Writes one line an image. No text cell is a formula to a spreadsheet: "'" stands before what would be one.

    Args:
        path: the file.
        predictions: one line each.
        failed: images without a prediction and the reason, which stand below, with the reason in the column "error".
        notice: as in ``ModelCard``.

    Raises:
        OSError: the file cannot be written.
    """
    without = [{"image_path": name, "notice": notice, "error": reason} for name, reason in failed.items()]
    lines = [*map(_cells, predictions), *without]
    table = pd.DataFrame([{name: _safe(value) for name, value in line.items()} for line in lines])
    content = table.to_csv(index=False).encode("utf-8", errors="surrogateescape")
    write_with(path, lambda temporary: temporary.write_bytes(content))


def _cells(one: Prediction) -> dict[str, Any]:
    cells: dict[str, Any] = {"image_path": one.path, "predicted_class": one.predicted_class}
    cells |= {f"p_{name}": value for name, value in one.probabilities.items()}
    cells |= {f"raw_{name}": value for name, value in one.raw_probabilities.items()}
    cells |= {"positive_class": one.positive_class, "threshold": one.threshold, "decision": one.decision}
    for name, value in (("age", one.age), ("density", one.density)):
        cells |= {name: value.value, f"{name}_source": value.source, f"{name}_in_header": value.in_header}
        without = one.with_unknown.get(name, {})
        cells |= {f"p_{label}_{name}_unknown": without.get(label) for label in one.probabilities}
    return {
        **cells,
        "laterality": one.laterality,
        "view": one.view,
        "flags": ";".join(one.flags),
        "notice": one.notice,
        "error": "",
    }


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def json_text(card: ModelCard, file: Path, predictions: Sequence[Prediction], failed: dict[str, str]) -> str:
    """Strict JSON: the model, the predictions as ``Prediction.to_dict`` gives them, and the images that failed."""
    content = {
        "research_use_only": True,
        "notice": card.notice,
        "model": str(file),
        "class_names": list(card.class_names),
        "positive_class": card.positive_class,
        "threshold": card.threshold,
        "predictions": [one.to_dict() for one in predictions],
        "failed": [{"path": path, "error": error} for path, error in failed.items()],
    }
    return json.dumps(content, indent=1, allow_nan=False)
