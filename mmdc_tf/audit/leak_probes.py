"""What an image-level split is worth to a model that understands nothing.

Images of one patient, or near-twins, on both sides of a split let a model recognise instead of diagnose. Two models
that cannot diagnose show how much: the nearest neighbour of a thumbnail, and age and density alone.
"""

from __future__ import annotations

from mmdc_tf.audit.probe_images import ProbeImages
from mmdc_tf.audit.probe_scores import Probe, ProbeResult, boosted_trees, nearest_neighbour, score_probe
from mmdc_tf.datasets.schema import Dataset

UNKNOWN = -1.0
"""An unknown age or density, below every known one; scikit-learn's own trees fail on a column without a known value."""


def leak_probes(dataset: Dataset, images: ProbeImages | None, seed: int = 0) -> list[ProbeResult]:
    """Scores the nearest neighbour and the metadata under image-level and under group splits.

    Age and density are inputs of the models, so what they know of the label under group splits is no shortcut.

    Args:
        dataset: its whole table gives age and density.
        images: of ``read_probe_images``; None where the dataset has no images.
        seed: of folds, models and bootstrap.

    Returns:
        Two results of kind ``"leak"``: "nearest-neighbour" and "age-density". A finding is a leak whose interval lies
        above 0 by more than the margin.
    """
    shown = images.features["thumbnail"].astype("float32") if images else None
    reason = "" if images else "the table was read without images"
    neighbour = Probe(
        "nearest-neighbour", "leak", "The most similar 64×64 grey thumbnail", nearest_neighbour, shown, reason
    )
    known = dataset.table[["age", "density"]]
    shown_values = known.fillna(UNKNOWN).to_numpy(float)
    reason = "" if known.notna().any(axis=None) else "neither is known"
    metadata = Probe("age-density", "leak", "Age and density", boosted_trees, shown_values, reason)
    return [
        score_probe(neighbour, images.table if images else dataset.table, seed),
        score_probe(metadata, dataset.table, seed),
    ]
