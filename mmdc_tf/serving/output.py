"""What a model says of an image, as a table to be read, as CSV and as JSON; each says that it is for research only."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.datasets.catalogue import FORMULA_STARTS
from mmdc_tf.errors import printable
from mmdc_tf.io import write_with
from mmdc_tf.serving.card import ModelCard

GIVEN, HEADER, UNKNOWN, NOT_USED = "given", "header", "unknown", "not used"


@dataclass(frozen=True)
class MetadataValue:
    """An age or density as a model was given it.

    Args:
        value: years, or BI-RADS density 1 to 4; None where the model was told that it is unknown, or takes no metadata.
        source: "given", "header", "unknown" or, for a model that takes no metadata, "not used".
        in_header: what the DICOM header says, as text where that cannot be read; None where it says nothing.
    """

    value: float | None
    source: str
    in_header: float | str | None = None

    @property
    def number(self) -> float:
        """The value, NaN where it is None."""
        return math.nan if self.value is None else self.value


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image.

    Args:
        path: the image, as it was named.
        probabilities: of each class, calibrated (temperature scaling), in [0, 1], sum 1.
        raw_probabilities: the same before calibration.
        predicted_class: the one with the highest probability.
        positive_class: the class that the decision is about; None where the model has none.
        threshold: of its calibrated probability, stored with the model; None where there is none.
        decision: whether the probability is at or above the threshold; None without a threshold.
        age, density: in years, and BI-RADS 1 to 4, and where they come from.
        with_unknown: for each value that the model was given, "age" or "density", the calibrated probabilities with
            that value alone unknown; empty for a model that takes no metadata.
        laterality, view: of the DICOM header, "" where unknown; noted, not used.
        flags: what speaks against the prediction: those of ``PreprocessedScan``, "unusual_intensity", "wrong_modality",
            "age_differs_from_header", "age_not_read", "other_view_missing", "not_calibrated".
        notice: that it is for research use only and, for a model trained on phantoms, that.
    """

    path: str
    probabilities: dict[str, float]
    raw_probabilities: dict[str, float]
    predicted_class: str
    positive_class: str | None
    threshold: float | None
    decision: bool | None
    age: MetadataValue
    density: MetadataValue
    with_unknown: dict[str, dict[str, float]]
    laterality: str
    view: str
    flags: tuple[str, ...]
    notice: str

    def to_dict(self) -> dict[str, Any]:
        """The same as strict JSON can hold it: no NaN, tuples as lists."""
        return {**asdict(self), "flags": list(self.flags)}


class Predictions(list[Prediction]):
    """What a model says of several images, in order."""

    def to_table(self) -> pd.DataFrame:
        """One line an image: path, predicted_class, decision, age, density, flags and p_<class> (calibrated)."""
        lines = [
            {
                "path": one.path,
                "predicted_class": one.predicted_class,
                "decision": one.decision,
                "age": one.age.value,
                "density": one.density.value,
                "flags": "; ".join(one.flags),
                **{f"p_{name}": value for name, value in one.probabilities.items()},
            }
            for one in self
        ]
        return pd.DataFrame(lines)


def measure(card: ModelCard) -> str:
    """What the model's numbers are."""
    return "probability" if card.temperature is None else "calibrated probability"


def introduction(card: ModelCard, file: Path) -> str:
    """What the model is, in a few lines; the last is the card's notice."""
    kind = "not calibrated, as the model gives them"
    if card.temperature is not None:
        kind = f"calibrated, temperature {card.temperature:.3g}"
    if card.threshold is None:
        why = "it was not calibrated" if card.temperature is None else "no class was named with --positive-class"
        decision = f"none, since {why} when it was trained"
    else:
        asked = f" (sensitivity {card.sensitivity:g}, fitted on: {card.fitted_on})" if card.sensitivity else ""
        decision = f"{card.positive_class} at or above {card.threshold:.3f}{asked}"
    model = f"{file} ({card.name}, recipe {card.recipe.name}, {card.image_size} pixels)"
    lines = (f"model: {model}", f"probabilities: {kind}", f"decision: {decision}", card.notice)
    return "\n".join(map(printable, lines))


def text_table(predictions: Sequence[Prediction]) -> str:
    """One line an image; probabilities are calibrated. "cancer, age unknown" is what the age is worth."""
    return pd.DataFrame([_line(one) for one in predictions]).fillna("").to_string(index=False)


def _line(one: Prediction) -> dict[str, str]:
    line = {"image": one.path, **{name: f"{value:.3f}" for name, value in one.probabilities.items()}}
    line["class"] = one.predicted_class
    if one.decision is not None:
        line[f"{one.positive_class}?"] = "yes" if one.decision else "no"
    for name, given in (("age", one.age), ("density", one.density)):
        line[name] = given.source if given.value is None else f"{given.value:g} ({given.source})"
    shown = one.positive_class or one.predicted_class
    line |= {f"{name} unknown": f"{shown} {other[shown]:.3f}" for name, other in one.with_unknown.items()}
    line["flags"] = ", ".join(one.flags)
    return {printable(name): printable(text) for name, text in line.items()}


def write_csv(path: Path, predictions: Sequence[Prediction], failed: dict[str, str], notice: str) -> None:
    """Writes a line an image, below them those that ``failed``, with the reason in the column "error".

    No text cell is a formula to a spreadsheet: "'" stands before what would be one.
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
    cells |= {"laterality": one.laterality, "view": one.view, "flags": ";".join(one.flags)}
    return {**cells, "notice": one.notice, "error": ""}


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
