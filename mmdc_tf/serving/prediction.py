"""What a model says of one image, with all that is needed to judge it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mmdc_tf.serving.metadata import MetadataValue


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
        age: in years, and where it comes from.
        density: BI-RADS 1 to 4, and where it comes from.
        with_unknown: for each value that the model was given, "age" or "density", the calibrated probabilities with
            that value alone unknown; empty for a model that takes no metadata.
        laterality: of the DICOM header, "" where unknown; noted, not used.
        view: of the DICOM header, "" where unknown; noted, not used.
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
