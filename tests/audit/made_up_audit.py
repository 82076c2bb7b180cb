"""A folder of noise images, and an audit of it with results written by hand, for the tests of report and pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mmdc_tf.audit.findings import leak_section, metadata_section, near_twin_section, shortcut_section
from mmdc_tf.audit.metadata import audit_metadata
from mmdc_tf.audit.near_twins import PAIR_COLUMNS, NearTwins
from mmdc_tf.audit.probe_scores import ProbeResult
from mmdc_tf.audit.report import AuditReport
from mmdc_tf.datasets.catalogue import load_dataset
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import Dataset


def noise_folder(root: Path, images: int, per_patient: int = 1, seed: int = 0, **columns: object) -> list[np.ndarray]:
    """Writes ``images`` noise images and ``samples.csv``; a patient's label is the parity of her number."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, 256, (40, 40), dtype=np.uint8) for _ in range(images)]
    names = [f"s{row:03d}.png" for row in range(images)]
    for name, image in zip(names, drawn, strict=True):
        assert cv2.imwrite(str(root / name), image)
    patients = np.arange(images) // per_patient
    table = {"sample_id": names, "image_path": names, "label": np.array(["benign", "malignant"])[patients % 2]}
    facts = {**table, "patient_id": [f"p{number}" for number in patients], **columns}
    pd.DataFrame(facts).to_csv(root / "samples.csv", index=False)
    return drawn


def probe(kind: str, low: float, finding: bool, name: str = "made-up") -> ProbeResult:
    """A scored probe whose interval of leak and of group-level accuracy starts at ``low``."""
    between = (low, low + 0.2)
    scores = (0.7, (0.6, 0.8), 0.5, between, 0.2, between, 0.5, 0.05, finding)
    return ProbeResult(name, kind, "It", 8, 4, 4, *scores, sentence=f"{name} was scored.")


def twins(dataset: Dataset, pairs: list[tuple[int, int, float, bool]]) -> NearTwins:
    """Near-twins by place in the table, with their SSIM, and whether they are confirmed."""
    rows = []
    for i, j, ssim, confirmed in pairs:
        one, other = dataset.table.iloc[i], dataset.table.iloc[j]
        row = {"distance": 3, "ssim": ssim, "confirmed": confirmed, "identical_bytes": False}
        row |= {"conflicting": one["label"] != other["label"], "across_groups": one["group_id"] != other["group_id"]}
        for letter, part in (("a", one), ("b", other)):
            row |= {f"{name}_{letter}": part[column] for name, column in NAMES.items()}
        rows.append(row)
    ids = dataset.table["sample_id"]
    clusters = pd.Series(ids.to_numpy(), index=pd.Index(ids), name="cluster")
    for i, j, *_ in pairs:
        clusters[clusters == clusters.iloc[j]] = clusters.iloc[i]
    sweep = {"bits": 40, "pairs": len(rows), "images_in_groups": 2, "groups": 1, "clusters": 3, "largest": 2}
    sweep = pd.DataFrame([{**sweep, "conflicting_pairs": 1}])
    table = pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).astype({"confirmed": bool, "conflicting": bool})
    return NearTwins(table.astype({"across_groups": bool}), clusters, sweep, len(rows), 40, ())


NAMES = {"sample": "sample_id", "label": "label", "group": "group_id"}


def audit_of(dataset: Dataset, found: NearTwins | None, leak: ProbeResult, shortcut: ProbeResult) -> AuditReport:
    """An audit whose probes were not run."""
    metadata = audit_metadata(dataset)
    sections = (
        near_twin_section(dataset, found),
        leak_section(dataset, [leak]),
        shortcut_section([shortcut]),
        metadata_section(dataset, metadata),
    )
    return AuditReport(dataset, False, 40, 0, found, [leak], [shortcut], metadata, sections)


def small_dataset(root: Path, per_patient: int = 1) -> Dataset:
    """Eight noise images."""
    noise_folder(root, 8, per_patient)
    return load_dataset("folder", root)
