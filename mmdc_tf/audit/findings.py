"""What each part of the audit found, in plain sentences, and whether it makes an image-level split unfit.

A sentence that makes it unfit says what to do; the others are remarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from mmdc_tf.audit.metadata import MetadataReport
from mmdc_tf.audit.near_twins import NearTwins
from mmdc_tf.audit.probe_scores import ProbeResult
from mmdc_tf.datasets.copies import CONFIRMED_SSIM
from mmdc_tf.datasets.schema import TWIN_UNIT, Dataset
from mmdc_tf.errors import counted

USE_LEAK_FREE = "Use --protocol leak-free"
WITHOUT_IMAGES = "Only the table was read: no image was looked at."


@dataclass(frozen=True)
class Section:
    """One part of the audit.

    Args:
        name: ``"near-twins"``, ``"leak-probes"``, ``"shortcut-probes"`` or ``"metadata"``.
        title: for people.
        looked_at: what was looked at, and how, in a sentence or two.
        numbers: what was counted, plain values.
        findings: one sentence each on what makes an image-level split unfit, with what to do.
        remarks: one sentence each on the rest.
    """

    name: str
    title: str
    looked_at: str
    numbers: dict[str, Any]
    findings: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def unfit(self) -> bool:
        """Whether an image-level split of this dataset would leak or measure a shortcut."""
        return bool(self.findings)


def near_twin_section(dataset: Dataset, twins: NearTwins | None) -> Section:
    """Copies on both sides of a split, and copies that carry different labels.

    Args:
        dataset: the one that was searched.
        twins: of ``find_near_twins``; None where only the table was read.
    """
    title = "Near-twins"
    if twins is None:
        return Section("near-twins", title, WITHOUT_IMAGES, {}, (), ("Near-twins were not searched for.",))
    confirmed = twins.pairs[twins.pairs["confirmed"]]
    alike = twins.images_in_confirmed_groups
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
        "images_in_confirmed_groups": alike,
        "conflicting_pairs": int(confirmed["conflicting"].sum()),
        "pairs_across_groups": int(confirmed["across_groups"].sum()),
        "identical_pairs": int(confirmed["identical_bytes"].sum()),
        "least_confirmed_ssim": float(confirmed["ssim"].min()) if len(confirmed) else None,
    }
    remarks = (*twins.notes, *_twin_remarks(twins, len(confirmed)))
    return Section("near-twins", title, looked_at, numbers, _twin_findings(dataset, twins, confirmed, alike), remarks)


def leak_section(dataset: Dataset, probes: list[ProbeResult]) -> Section:
    """What a model that cannot diagnose gains from images of one group on both sides.

    Unfit where a group holds several images and the interval of a probe's leak excludes 0; with one image a group the
    two kinds of split differ by chance alone.

    Args:
        dataset: its groups are counted.
        probes: of ``leak_probes``.
    """
    sizes = dataset.table["group_id"].value_counts()
    several = int((sizes > 1).sum())
    unit = dataset.info.group_unit
    leaking = [probe for probe in probes if several and _excludes_zero(probe)]
    advice = f"{USE_LEAK_FREE}, which keeps each {unit} on one side."
    numbers = {"groups": len(sizes), "groups_with_several_images": several, "largest_group": int(sizes.max())}
    looked_at = (
        "Two models that cannot diagnose, each under stratified image-level folds and under folds that keep each "
        f"{unit} together; {several:,} of {len(sizes):,} groups hold several images. The difference is what the leak "
        "is worth (95 % intervals by bootstrap over groups)."
    )
    findings = tuple(f"{_leak_text(probe)} {advice}" for probe in leaking)
    remarks = tuple(probe.sentence for probe in probes if probe not in leaking)
    if not several:
        remarks = ("Every group holds one image: no leak between images of a group is possible.", *remarks)
    return Section("leak-probes", "Leak probes", looked_at, numbers, findings, remarks)


def shortcut_section(probes: list[ProbeResult]) -> Section:
    """What the label can be guessed from without the breast.

    Args:
        probes: of ``shortcut_probes``.
    """
    advice = (
        "A leak-free split does not remove it: balance the classes over it, crop or mask it away, and report results "
        "within each of its values."
    )
    scored = [probe for probe in probes if not probe.skipped]
    looked_at = (
        "Simple models that see no tissue by design (except at the edges of ultrasound pictures), in folds that keep "
        "groups together, against the share of the commonest class. A finding needs an interval that lies above it by "
        "more than the margin."
    )
    numbers = {"probes": len(scored), "skipped": len(probes) - len(scored)}
    findings = tuple(f"{probe.sentence} {advice}" for probe in probes if probe.finding)
    remarks = tuple(probe.sentence for probe in probes if not probe.finding)
    return Section("shortcut-probes", "Shortcut probes", looked_at, numbers, findings, remarks)


def metadata_section(dataset: Dataset, metadata: MetadataReport) -> Section:
    """What the table says; files that are the same to the byte under two labels make an image-level split unfit.

    Args:
        dataset: the one that was read.
        metadata: of ``audit_metadata``.
    """
    across = sum(len(files["labels"]) > 1 for files in metadata.identical_files)
    one = across == 1
    findings = (
        (
            f"{counted(across, 'set')} of files that {'is' if one else 'are'} the same to the byte "
            f"{'has' if one else 'have'} more than one label. Use --near-twins drop-conflicts, or correct the labels.",
        )
        if across
        else ()
    )
    numbers = {
        "images": metadata.images,
        "patients": metadata.patients,
        "out_of_range": len(metadata.out_of_range),
        "disagreements": len(metadata.disagreements),
        "repeated_views": len(metadata.repeated_views),
        "identical_files": len(metadata.identical_files),
    }
    looked_at = f"The sample table of {metadata.images:,} images" + (
        ", and files of equal size byte by byte." if dataset.has_images else ". Files were not compared."
    )
    return Section("metadata", "Metadata", looked_at, numbers, findings, tuple(metadata.sentences))


def _twin_findings(dataset: Dataset, twins: NearTwins, confirmed: pd.DataFrame, alike: int) -> tuple[str, ...]:
    if confirmed.empty:
        return ()
    by_cluster = dataset.info.group_unit == TWIN_UNIT
    advice = (
        f"{USE_LEAK_FREE}, whose groups are these clusters, or --near-twins one-per-cluster."
        if by_cluster
        else "Use --near-twins one-per-cluster, or --protocol leak-free with copies in one group."
    )
    found = [
        f"{alike:,} of {len(dataset.table):,} images have a near-twin that is confirmed at full size: an "
        f"image-level split puts copies on both sides. {advice}"
    ]
    conflicting, across = int(confirmed["conflicting"].sum()), int(confirmed["across_groups"].sum())
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


def _twin_remarks(twins: NearTwins, confirmed: int) -> tuple[str, ...]:
    if not len(twins.pairs):
        return (f"No pair of images lies within {twins.max_bits} bits.",)
    refused = len(twins.pairs) - confirmed
    if not refused:
        return (f"Every pair within {twins.max_bits} bits that was compared was confirmed.",)
    return (
        f"{counted(refused, 'pair')} within {twins.max_bits} bits {'was' if refused == 1 else 'were'} not alike at "
        "full size; groups by the hash alone join them.",
    )


def _excludes_zero(probe: ProbeResult) -> bool:
    return probe.leak_interval is not None and probe.leak_interval[0] > 0.0


def _leak_text(probe: ProbeResult) -> str:
    if probe.finding:
        return probe.sentence
    return f"{probe.sentence} The difference is small, but its interval excludes 0 and groups hold several images."
