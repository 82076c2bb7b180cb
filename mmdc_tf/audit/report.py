"""The whole audit of a dataset: near-twins, leak probes, shortcut probes, metadata, and a verdict."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmdc_tf.audit.findings import Section, leak_section, metadata_section, near_twin_section, shortcut_section
from mmdc_tf.audit.leak_probes import leak_probes
from mmdc_tf.audit.metadata import MetadataReport, audit_metadata
from mmdc_tf.audit.near_twins import NearTwins, find_near_twins
from mmdc_tf.audit.probe_images import read_probe_images
from mmdc_tf.audit.probe_scores import ProbeResult
from mmdc_tf.audit.shortcut_probes import shortcut_probes
from mmdc_tf.datasets.integrity import NEAR_TWIN_BITS, require_bits
from mmdc_tf.datasets.schema import NOTICE, Dataset
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, counted

TABLE_ALONE = "Only the table was read: nothing is known of copies and of shortcuts in the pixels."


@dataclass(frozen=True)
class AuditReport:
    """What the audit of a dataset found.

    Args:
        dataset: the one that was audited.
        synthetic: True for a phantom.
        max_bits, seed: as given to ``run_audit``.
        near_twins: None where only the table was read.
        leaks, shortcuts: the probes' results.
        metadata: of the table.
        sections: what each part found, in this order: near-twins, leak probes, shortcut probes, metadata.
    """

    dataset: Dataset
    synthetic: bool
    max_bits: int
    seed: int
    near_twins: NearTwins | None
    leaks: list[ProbeResult]
    shortcuts: list[ProbeResult]
    metadata: MetadataReport
    sections: tuple[Section, ...]

    @property
    def unfit(self) -> bool:
        """Whether an image-level split of this dataset would leak or measure a shortcut."""
        return any(section.unfit for section in self.sections)

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings of all sections."""
        return tuple(text for section in self.sections for text in section.findings)

    @property
    def verdict(self) -> str:
        """One sentence, and a second where only the table was read."""
        count = len(self.findings)
        where = ", ".join(section.title.lower() for section in self.sections if section.unfit)
        result = (
            f"Unfit for an image-level split: {counted(count, 'finding')} ({where})."
            if count
            else "Nothing was found that would make an image-level split unfit."
        )
        return result if self.dataset.has_images else f"{result} {TABLE_ALONE}"

    @property
    def notes(self) -> tuple[str, ...]:
        """The dataset's notes; of a phantom, first that it is one."""
        notes = self.dataset.notes
        return (NOTICE, *(note for note in notes if note != NOTICE)) if self.synthetic else notes

    def to_dict(self) -> dict[str, Any]:
        """Plain values for strict JSON (no NaN): each pair and cluster, sweep, probes, metadata and sections."""
        facts = {
            **_facts(self),
            "sections": [{**asdict(section), "unfit": section.unfit} for section in self.sections],
            "near_twins": None if self.near_twins is None else _twins(self.near_twins),
            "leak_probes": [probe.to_dict() for probe in self.leaks],
            "shortcut_probes": [probe.to_dict() for probe in self.shortcuts],
            "metadata": self.metadata.to_dict(),
        }
        return _plain(facts)


def run_audit(
    dataset: Dataset, max_bits: int = NEAR_TWIN_BITS, seed: int = 0, show_progress: bool = False
) -> AuditReport:
    """Audits a dataset.

    Args:
        dataset: with images, or its table alone (``load_table_alone``): then near-twins and pixels are not looked at.
        max_bits: the largest hash distance of a near-twin candidate, of 256.
        seed: of folds, models and bootstrap; at least 0.
        show_progress: progress bars on stderr.

    Raises:
        ConfigurationError: ``max_bits`` or ``seed`` is out of range.
        UnreadableImageError: an image cannot be decoded.
    """
    require_bits(max_bits)
    if seed < 0:
        raise ConfigurationError(f"Expected a seed of at least 0. Received: seed={seed}. 0 is the default.")
    twins = find_near_twins(dataset, max_bits, show_progress=show_progress) if dataset.has_images else None
    images = read_probe_images(dataset, seed=seed, show_progress=show_progress) if dataset.has_images else None
    leaks, shortcuts = leak_probes(dataset, images, seed), shortcut_probes(dataset, images, seed)
    metadata = audit_metadata(dataset)
    sections = (
        near_twin_section(dataset, twins),
        leak_section(dataset, leaks),
        shortcut_section(shortcuts),
        metadata_section(dataset, metadata),
    )
    return AuditReport(dataset, dataset.is_phantom, max_bits, seed, twins, leaks, shortcuts, metadata, sections)


def _facts(report: AuditReport) -> dict[str, Any]:
    info = report.dataset.info
    return {
        "title": info.title,
        "dataset": info.name,
        "root": str(report.dataset.root),
        "fingerprint": report.dataset.fingerprint,
        "images": len(report.dataset.table),
        "labels": report.dataset.found_counts,
        "group_unit": info.group_unit,
        "groups": report.dataset.table["group_id"].nunique(),
        "table_alone": not report.dataset.has_images,
        "synthetic": report.synthetic,
        "max_bits": report.max_bits,
        "seed": report.seed,
        "verdict": report.verdict,
        "unfit": report.unfit,
        "notes": report.notes,
        "research_use": RESEARCH_USE,
    }


def _twins(twins: NearTwins) -> dict[str, Any]:
    """The clusters are those of several images, the largest first."""
    return {
        "max_bits": twins.max_bits,
        "candidates": twins.candidates,
        "sweep": twins.sweep.to_dict("records"),
        "pairs": twins.pairs.to_dict("records"),
        "clusters": list(large_clusters(twins).values()),
        "notes": twins.notes,
    }


def large_clusters(twins: NearTwins) -> dict[str, list[str]]:
    """The clusters of several images: name → sample ids, the largest first."""
    clusters = twins.clusters[twins.clusters.duplicated(keep=False)]
    members = {str(name): list(part.index) for name, part in clusters.groupby(clusters)}
    return dict(sorted(members.items(), key=lambda item: (-len(item[1]), item[0])))


def _plain(value: Any) -> Any:
    """Plain values: numbers of numpy as Python's, what is not finite as None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
