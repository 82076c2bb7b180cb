"""The whole audit of a dataset: what each part found, in plain sentences, a verdict on an image-level split, and files.

The page holds pictures of the dataset: it is as confidential as the dataset itself.
"""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mmdc_tf.audit.metadata import audit_metadata
from mmdc_tf.audit.near_twins import NearTwins, find_near_twins
from mmdc_tf.audit.probe_features import leak_probes, read_probe_images, shortcut_probes
from mmdc_tf.datasets.copies import CONFIRMED_SSIM
from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.integrity import NEAR_TWIN_BITS, require_bits
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import NOTICE, TWIN_UNIT, Dataset
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, counted
from mmdc_tf.evaluation.text import FILTERS
from mmdc_tf.io import page_templates, picture_address, write_text
from mmdc_tf.version import __version__

USE_LEAK_FREE = "Use --protocol leak-free"
MOST_PAIRS, MOST_CLUSTERS = 24, 6
LIMITS = {"most_in_strip": 8, "most_rows": 20, "pair_side": 240, "strip_side": 120}
"""Of the page: how many of what, and the longest side of a picture in pixels."""


def run_audit(
    dataset: Dataset, max_bits: int = NEAR_TWIN_BITS, seed: int = 0, show_progress: bool = False
) -> dict[str, Any]:
    """Audits a dataset.

    Args:
        dataset: with images, or its table alone (``load_table_alone``): then near-twins and pixels are not looked at.
        max_bits: the largest hash distance of a near-twin candidate, of 256.
        seed: of folds, models and bootstrap; at least 0.
        show_progress: progress bars on stderr.

    Returns:
        As ``audit_facts``.

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
    return {"max_bits": max_bits, "seed": seed, **audit_facts(dataset, twins, leaks, shortcuts)}


def audit_facts(
    dataset: Dataset, twins: NearTwins | None, leaks: list[dict[str, Any]], shortcuts: list[dict[str, Any]]
) -> dict[str, Any]:
    """What was found, in plain values for strict JSON (NaN is None).

    Args:
        dataset: the one audited.
        twins: of ``find_near_twins``; None where only the table was read.
        leaks, shortcuts: of ``leak_probes`` and ``shortcut_probes``.

    Returns:
        ``verdict`` and ``unfit``; ``sections``, each with ``name``, ``title``, ``looked_at``, ``numbers``, ``findings``
        (sentences on what makes an image-level split ``unfit``, and what to do) and ``remarks``; ``near_twins`` with
        each pair and cluster; ``leak_probes``, ``shortcut_probes``, ``metadata``; and what the dataset is.
    """
    info, metadata = dataset.info, audit_metadata(dataset)
    sections = [
        _near_twin_section(dataset, twins),
        _leak_section(dataset, leaks),
        _shortcut_section(shortcuts),
        _metadata_section(dataset, metadata),
    ]
    findings = sum(len(section["findings"]) for section in sections)
    where = ", ".join(section["title"].lower() for section in sections if section["unfit"])
    verdict = "Nothing was found that would make an image-level split unfit."
    if findings:
        verdict = f"Unfit for an image-level split: {counted(findings, 'finding')} ({where})."
    if not dataset.has_images:
        verdict += " Only the table was read: nothing is known of copies and of shortcuts in the pixels."
    phantom = [NOTICE] if dataset.is_phantom else []
    facts = {
        "title": info.title,
        "dataset": info.name,
        "root": str(dataset.root),
        "fingerprint": dataset.fingerprint,
        "images": len(dataset.table),
        "labels": dataset.found_counts,
        "group_unit": info.group_unit,
        "groups": dataset.table["group_id"].nunique(),
        "table_alone": not dataset.has_images,
        "synthetic": dataset.is_phantom,
        "verdict": verdict,
        "unfit": bool(findings),
        "notes": [*phantom, *(note for note in dataset.notes if note not in phantom)],
        "research_use": RESEARCH_USE,
        "sections": sections,
        "near_twins": twins
        and {
            "max_bits": twins.max_bits,
            "candidates": twins.candidates,
            "sweep": twins.sweep.to_dict("records"),
            "pairs": twins.pairs.to_dict("records"),
            "clusters": twins.large_clusters,
            "notes": twins.notes,
        },
        "leak_probes": leaks,
        "shortcut_probes": shortcuts,
        "metadata": metadata,
    }
    text = json.dumps(facts, default=lambda number: number.item())
    return json.loads(text, parse_constant=lambda nan: None)


def _section(
    title: str, looked_at: str, numbers: dict[str, Any], findings: list[str], remarks: list[str]
) -> dict[str, Any]:
    parts = {"looked_at": looked_at, "numbers": numbers, "findings": findings, "remarks": remarks}
    return {"name": title.lower().replace(" ", "-"), "title": title, **parts, "unfit": bool(findings)}


def _near_twin_section(dataset: Dataset, twins: NearTwins | None) -> dict[str, Any]:
    if twins is None:
        looked_at = "Only the table was read: no image was looked at."
        return _section("Near-twins", looked_at, {}, [], ["Near-twins were not searched for."])
    unit, confirmed = dataset.info.group_unit, twins.pairs[twins.pairs["confirmed"]]
    conflicting, across = (int(confirmed[name].sum()) for name in ("conflicting", "across_groups"))
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
        "conflicting_pairs": conflicting,
        "pairs_across_groups": across,
        "identical_pairs": int(confirmed["identical_bytes"].sum()),
        "least_confirmed_ssim": float(confirmed["ssim"].min()) if len(confirmed) else None,
    }
    advice = "Use --near-twins one-per-cluster, or --protocol leak-free with copies in one group."
    if unit == TWIN_UNIT:
        advice = f"{USE_LEAK_FREE}, whose groups are these clusters, or --near-twins one-per-cluster."
    findings = {
        f"{twins.images_in_confirmed_groups:,} of {len(dataset.table):,} images have a near-twin that is confirmed at "
        f"full size: an image-level split puts copies on both sides. {advice}": len(confirmed),
        f"{counted(conflicting, 'pair')} of near-twins with conflicting labels: at least one of the two is wrong. Use "
        "--near-twins drop-conflicts, or have the labels checked.": conflicting,
        f"{counted(across, 'pair')} of near-twins in different groups ({unit}s), which leak-free does not keep "
        "together. Give both images one group_id, or use --near-twins one-per-cluster.": across,
    }
    remark = (
        f"Compared at full size: {counted(len(twins.pairs), 'pair')}; not alike there: "
        f"{len(twins.pairs) - len(confirmed):,}, which groups by the hash alone join."
    )
    found = [text for text, count in findings.items() if count]
    return _section("Near-twins", looked_at, numbers, found, [*twins.notes, remark])


def _leak_section(dataset: Dataset, probes: list[dict[str, Any]]) -> dict[str, Any]:
    """With one image a group the two kinds of split differ by chance alone."""
    sizes, unit = dataset.table["group_id"].value_counts(), dataset.info.group_unit
    several = int((sizes > 1).sum())
    findings = []
    remarks = [] if several else ["Every group holds one image: no leak between images of a group is possible."]
    for probe in probes:
        if not several or probe["skipped"] or probe["leak_interval"][0] <= 0.0:
            remarks.append(probe["sentence"])
            continue
        small = "" if probe["finding"] else " The difference is small, but its interval excludes 0."
        findings.append(f"{probe['sentence']}{small} {USE_LEAK_FREE}, which keeps each {unit} on one side.")
    numbers = {"groups": len(sizes), "groups_with_several_images": several, "largest_group": int(sizes.max())}
    looked_at = (
        "Two models that cannot diagnose, each under stratified image-level folds and under folds that keep each "
        f"{unit} together; {several:,} of {len(sizes):,} groups hold several images. The difference is what the leak "
        "is worth (95 % intervals by bootstrap over groups)."
    )
    return _section("Leak probes", looked_at, numbers, findings, remarks)


def _shortcut_section(probes: list[dict[str, Any]]) -> dict[str, Any]:
    advice = (
        "A leak-free split does not remove it: balance the classes over it, crop or mask it away, and report results "
        "within each of its values."
    )
    looked_at = (
        "Simple models that see no tissue by design (except at the edges of ultrasound pictures), in folds that keep "
        "groups together, against the share of the commonest class. A finding needs an interval that lies above it by "
        "more than the margin."
    )
    skipped = sum(bool(probe["skipped"]) for probe in probes)
    findings = [f"{probe['sentence']} {advice}" for probe in probes if probe["finding"]]
    remarks = [probe["sentence"] for probe in probes if not probe["finding"]]
    numbers = {"probes": len(probes) - skipped, "skipped": skipped}
    return _section("Shortcut probes", looked_at, numbers, findings, remarks)


def _metadata_section(dataset: Dataset, metadata: dict[str, Any]) -> dict[str, Any]:
    across = sum(len(files["labels"]) > 1 for files in metadata["identical_files"])
    finding = (
        f"{counted(across, 'set')} of files that are the same to the byte under more than one label. "
        "Use --near-twins drop-conflicts, or correct the labels."
    )
    lists = ("out_of_range", "disagreements", "repeated_views", "identical_files")
    numbers = {name: metadata[name] for name in ("images", "patients")}
    numbers |= {name: len(metadata[name]) for name in lists}
    files = ", and files of equal size byte by byte" if dataset.has_images else ". Files were not compared"
    looked_at = f"The sample table of {metadata['images']:,} images{files}."
    findings = [*[finding] * bool(across), *(one["sentence"] for one in metadata["missing_by_site"])]
    return _section("Metadata", looked_at, numbers, findings, metadata["sentences"])


def write_audit(facts: dict[str, Any], dataset: Dataset, output: Path, command: str) -> list[Path]:
    """Writes the three files of an audit.

    Args:
        facts: of ``run_audit``.
        dataset: the one audited, whose images are shown.
        output: the folder; made where absent.
        command: what was run, for the reader.

    Returns:
        The files written: ``audit.json``, ``audit.md``, ``audit.html``.

    Raises:
        UnreadableImageError: an image to be shown cannot be decoded any more.
    """
    written = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    facts = {**facts, "command": command, "written": written, "mmdc_tf": __version__}
    write_text(output / "audit.json", json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    table, twins = dataset.table.set_index("sample_id"), facts["near_twins"] or {"pairs": [], "clusters": []}
    # pairs that a reader must look at: conflicting labels first, then different groups
    pairs = [one for one in twins["pairs"] if one["confirmed"] and (one["conflicting"] or one["across_groups"])]
    content = {
        "facts": facts,
        "sections": {section["name"]: section for section in facts["sections"]},
        "pairs": pairs[:MOST_PAIRS],
        "more_pairs": max(len(pairs) - MOST_PAIRS, 0),
        "clusters": twins["clusters"][:MOST_CLUSTERS],
        "more_clusters": max(len(twins["clusters"]) - MOST_CLUSTERS, 0),
        "paths": dict(table["image_path"]),
        "label_of": dict(table["label"]),
        "phantom": NOTICE,
        **LIMITS,
    }
    templates = page_templates("mmdc_tf.audit", thumbnail=_thumbnail, leak_figure=_leak_figure, **FILTERS)
    for name in ("audit.md", "audit.html"):
        write_text(output / name, templates.get_template(f"{name}.j2").render(content))
    return [output / name for name in ("audit.json", "audit.md", "audit.html")]


def _thumbnail(path: str | Path, longest: int) -> str:
    """An image file as a ``data:`` address of a PNG; small images stay as they are."""
    image = read_image(path)
    share = min(1.0, longest / max(image.shape[:2]))
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    pixels = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return picture_address(cv2.imencode(".png", pixels)[1].tobytes())


def _leak_figure(probes: list[dict[str, Any]]) -> str | None:
    """Bars of each leak probe under both kinds of split, as a ``data:`` address; None where none was scored."""
    scored = [probe for probe in probes if not probe["skipped"]]
    if not scored:
        return None
    figure = Figure(figsize=(7, 1.7 + 0.9 * len(scored)), layout="constrained")
    axes, places = figure.subplots(), np.arange(len(scored))
    kinds = {"image": ("image-level folds", "#e69f00", -0.18), "group": ("groups kept together", "#0072b2", 0.18)}
    for kind, (label, colour, shift) in kinds.items():  # told apart by colour-blind readers too (Okabe and Ito)
        values = [100 * probe[f"{kind}_level"] for probe in scored]
        limits = 100 * np.array([probe[f"{kind}_interval"] for probe in scored])
        axes.barh(places + shift, values, 0.33, color=colour, label=label)
        axes.hlines(places + shift, *limits.T, color="black", linewidth=1.2)
    shares = [100 * probe["majority"] for probe in scored]
    axes.vlines(shares, places - 0.45, places + 0.45, "black", "dashed", linewidth=1.2, label="commonest class")
    axes.set_yticks(places, [probe["name"] for probe in scored])
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="labels guessed right (per cent); lines: 95 % intervals")
    axes.grid(axis="x", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return picture_address(buffer.getvalue())
