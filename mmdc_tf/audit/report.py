"""The whole audit of a dataset: what each part found, in plain sentences, and a verdict on an image-level split."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmdc_tf.audit.metadata import audit_metadata
from mmdc_tf.audit.near_twins import NearTwins, find_near_twins
from mmdc_tf.audit.probe_features import leak_probes, read_probe_images, shortcut_probes
from mmdc_tf.audit.probes import ProbeResult
from mmdc_tf.datasets.copies import CONFIRMED_SSIM
from mmdc_tf.datasets.integrity import NEAR_TWIN_BITS, require_bits
from mmdc_tf.datasets.schema import NOTICE, TWIN_UNIT, Dataset
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, counted

TABLE_ALONE = "Only the table was read: nothing is known of copies and of shortcuts in the pixels."
USE_LEAK_FREE = "Use --protocol leak-free"


@dataclass(frozen=True)
class Section:
    """One part of the audit: what was looked at and counted, and a sentence on each thing found.

    Its ``findings`` make an image-level split unfit, and say what to do; ``remarks`` do not.
    """

    name: str
    title: str
    looked_at: str
    numbers: dict[str, Any]
    findings: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def unfit(self) -> bool:
        return bool(self.findings)


@dataclass(frozen=True)
class AuditReport:
    """What the audit of a dataset found; of a table alone there are no near-twins.

    ``synthetic`` is True for a phantom. ``sections`` say in sentences what near-twins, leak probes, shortcut probes and
    metadata have shown, in this order.
    """

    dataset: Dataset
    synthetic: bool
    max_bits: int
    seed: int
    near_twins: NearTwins | None
    leaks: list[ProbeResult]
    shortcuts: list[ProbeResult]
    metadata: dict[str, Any]
    sections: tuple[Section, ...]

    @property
    def unfit(self) -> bool:
        """Whether an image-level split of this dataset would leak or measure a shortcut."""
        return any(section.unfit for section in self.sections)

    @property
    def verdict(self) -> str:
        """One sentence, and a second where only the table was read."""
        count = sum(len(section.findings) for section in self.sections)
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
        info, twins = self.dataset.info, self.near_twins
        facts = {
            "title": info.title,
            "dataset": info.name,
            "root": str(self.dataset.root),
            "fingerprint": self.dataset.fingerprint,
            "images": len(self.dataset.table),
            "labels": self.dataset.found_counts,
            "group_unit": info.group_unit,
            "groups": self.dataset.table["group_id"].nunique(),
            "table_alone": not self.dataset.has_images,
            "synthetic": self.synthetic,
            "max_bits": self.max_bits,
            "seed": self.seed,
            "verdict": self.verdict,
            "unfit": self.unfit,
            "notes": self.notes,
            "research_use": RESEARCH_USE,
            "sections": [{**asdict(section), "unfit": section.unfit} for section in self.sections],
            "near_twins": twins
            and {
                "max_bits": twins.max_bits,
                "candidates": twins.candidates,
                "sweep": twins.sweep.to_dict("records"),
                "pairs": twins.pairs.to_dict("records"),
                "clusters": twins.large_clusters,
                "notes": twins.notes,
            },
            "leak_probes": [asdict(probe) for probe in self.leaks],
            "shortcut_probes": [asdict(probe) for probe in self.shortcuts],
            "metadata": self.metadata,
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
    sections = sections_of(dataset, twins, leaks, shortcuts, metadata)
    return AuditReport(dataset, dataset.is_phantom, max_bits, seed, twins, leaks, shortcuts, metadata, sections)


def sections_of(
    dataset: Dataset,
    twins: NearTwins | None,
    leaks: list[ProbeResult],
    shortcuts: list[ProbeResult],
    metadata: dict[str, Any],
) -> tuple[Section, ...]:
    """What each part found, in sentences. One that makes an image-level split unfit says what to do."""
    return (
        _near_twin_section(dataset, twins),
        _leak_section(dataset, leaks),
        _shortcut_section(shortcuts),
        _metadata_section(dataset, metadata),
    )


def _near_twin_section(dataset: Dataset, twins: NearTwins | None) -> Section:
    """Copies on both sides of a split, and copies that carry different labels."""
    if twins is None:
        looked_at = "Only the table was read: no image was looked at."
        return Section("near-twins", "Near-twins", looked_at, {}, (), ("Near-twins were not searched for.",))
    confirmed = twins.pairs[twins.pairs["confirmed"]]
    looked_at = (
        f"All pairs of {len(dataset.table):,} images by a perceptual hash of 256 bits (candidates: at most "
        f"{twins.max_bits} bits apart), in ultrasound also by the correlation of thumbnails once one is shifted; "
        f"candidates then at full size by structural similarity after alignment (confirmed from {CONFIRMED_SSIM:g} on)."
    )
    numbers = {
        "candidate_pairs": twins.candidates,
        "compared_pairs": len(twins.pairs),
        "confirmed_pairs": len(confirmed),
        "images_in_groups": twins.images_in_groups,
        "images_in_confirmed_groups": twins.images_in_confirmed_groups,
        "conflicting_pairs": int(confirmed["conflicting"].sum()),
        "pairs_across_groups": int(confirmed["across_groups"].sum()),
        "identical_pairs": int(confirmed["identical_bytes"].sum()),
        "least_confirmed_ssim": float(confirmed["ssim"].min()) if len(confirmed) else None,
    }
    refused = len(twins.pairs) - len(confirmed)
    if not len(twins.pairs):
        remark = f"No pair of images lies within {twins.max_bits} bits."
    elif refused:
        remark = (
            f"{counted(refused, 'pair')} within {twins.max_bits} bits {'was' if refused == 1 else 'were'} not alike at "
            "full size; groups by the hash alone join them."
        )
    else:
        remark = f"Every pair within {twins.max_bits} bits that was compared was confirmed."
    findings = _twin_findings(dataset, numbers)
    return Section("near-twins", "Near-twins", looked_at, numbers, findings, (*twins.notes, remark))


def _twin_findings(dataset: Dataset, numbers: dict[str, Any]) -> tuple[str, ...]:
    if not numbers["confirmed_pairs"]:
        return ()
    advice = (
        f"{USE_LEAK_FREE}, whose groups are these clusters, or --near-twins one-per-cluster."
        if dataset.info.group_unit == TWIN_UNIT
        else "Use --near-twins one-per-cluster, or --protocol leak-free with copies in one group."
    )
    found = [
        f"{numbers['images_in_confirmed_groups']:,} of {len(dataset.table):,} images have a near-twin that is "
        f"confirmed at full size: an image-level split puts copies on both sides. {advice}"
    ]
    conflicting, across = numbers["conflicting_pairs"], numbers["pairs_across_groups"]
    if conflicting:
        found.append(
            f"{counted(conflicting, 'pair')} of near-twins {'has' if conflicting == 1 else 'have'} conflicting labels: "
            "at least one of the two is wrong. Use --near-twins drop-conflicts, or have the labels checked."
        )
    if across:
        found.append(
            f"{counted(across, 'pair')} of near-twins {'lies' if across == 1 else 'lie'} in different groups "
            f"({dataset.info.group_unit}s): leak-free does not keep {'it' if across == 1 else 'them'} together. Give "
            "both images one group_id, or use --near-twins one-per-cluster."
        )
    return tuple(found)


def _leak_section(dataset: Dataset, probes: list[ProbeResult]) -> Section:
    """What a model that cannot diagnose gains from images of one group on both sides.

    Unfit where a group holds several images and the interval of a probe's leak excludes 0; with one image a group the
    two kinds of split differ by chance alone.
    """
    sizes, unit = dataset.table["group_id"].value_counts(), dataset.info.group_unit
    several = int((sizes > 1).sum())
    findings, remarks = (
        [],
        [] if several else ["Every group holds one image: no leak between images of a group is possible."],
    )
    for probe in probes:
        if not several or probe.leak_interval is None or probe.leak_interval[0] <= 0.0:
            remarks.append(probe.sentence)
            continue
        small = (
            ""
            if probe.finding
            else " The difference is small, but its interval excludes 0 and groups hold several images."
        )
        findings.append(f"{probe.sentence}{small} {USE_LEAK_FREE}, which keeps each {unit} on one side.")
    numbers = {"groups": len(sizes), "groups_with_several_images": several, "largest_group": int(sizes.max())}
    looked_at = (
        "Two models that cannot diagnose, each under stratified image-level folds and under folds that keep each "
        f"{unit} together; {several:,} of {len(sizes):,} groups hold several images. The difference is what the leak "
        "is worth (95 % intervals by bootstrap over groups)."
    )
    return Section("leak-probes", "Leak probes", looked_at, numbers, tuple(findings), tuple(remarks))


def _shortcut_section(probes: list[ProbeResult]) -> Section:
    """What the label can be guessed from without the breast."""
    advice = (
        "A leak-free split does not remove it: balance the classes over it, crop or mask it away, and report results "
        "within each of its values."
    )
    looked_at = (
        "Simple models that see no tissue by design (except at the edges of ultrasound pictures), in folds that keep "
        "groups together, against the share of the commonest class. A finding needs an interval that lies above it by "
        "more than the margin."
    )
    skipped = sum(bool(probe.skipped) for probe in probes)
    findings = tuple(f"{probe.sentence} {advice}" for probe in probes if probe.finding)
    remarks = tuple(probe.sentence for probe in probes if not probe.finding)
    numbers = {"probes": len(probes) - skipped, "skipped": skipped}
    return Section("shortcut-probes", "Shortcut probes", looked_at, numbers, findings, remarks)


def _metadata_section(dataset: Dataset, metadata: dict[str, Any]) -> Section:
    """What the table says; files that are the same to the byte under two labels make an image-level split unfit."""
    across = sum(len(files["labels"]) > 1 for files in metadata["identical_files"])
    one = across == 1
    finding = (
        f"{counted(across, 'set')} of files that {'is' if one else 'are'} the same to the byte "
        f"{'has' if one else 'have'} more than one label. Use --near-twins drop-conflicts, or correct the labels."
    )
    lists = ("out_of_range", "disagreements", "repeated_views", "identical_files")
    numbers = {name: metadata[name] for name in ("images", "patients")}
    numbers |= {name: len(metadata[name]) for name in lists}
    looked_at = f"The sample table of {metadata['images']:,} images" + (
        ", and files of equal size byte by byte." if dataset.has_images else ". Files were not compared."
    )
    findings = [finding] if across else []
    findings += [
        f"The {one['column']} is unknown for {one['share']:.0%} of the images of site {one['site']} and for "
        f'{one["other_share"]:.0%} of site {one["other"]}: a model\'s learned "unknown" would tell the site. Leave the '
        f"{one['column']} out, or train and report within each site."
        for one in metadata["missing_by_site"]
    ]
    return Section("metadata", "Metadata", looked_at, numbers, tuple(findings), tuple(metadata["sentences"]))


def _plain(value: Any) -> Any:
    """Plain values: numbers of numpy as Python's, what is not finite as None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
