"""The audit as files: ``audit.json`` for programs, ``audit.md`` and ``audit.html`` with pictures for people.

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

from mmdc_tf.audit.probes import ProbeResult
from mmdc_tf.audit.report import AuditReport
from mmdc_tf.datasets.images import read_image
from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.evaluation.text import FILTERS
from mmdc_tf.io import page_templates, picture_address, write_text
from mmdc_tf.version import __version__

MOST_PAIRS, MOST_CLUSTERS, MOST_IN_STRIP, MOST_ROWS = 24, 6, 8, 20
PAIR_SIDE, STRIP_SIDE = 240, 120
"""Longest side of a picture in pixels."""
# Okabe and Ito: told apart by colour-blind readers too
IMAGE_LEVEL, GROUP_LEVEL = "#e69f00", "#0072b2"
NAMES = {"nearest-neighbour": "nearest neighbour\nof thumbnails", "age-density": "age and density\nalone"}
_BAR = 0.36


def write_audit(report: AuditReport, output: Path, command: str) -> list[Path]:
    """Writes the three files of an audit.

    Args:
        report: of ``run_audit``.
        output: the folder; made where absent.
        command: what was run, for the reader.

    Returns:
        The files written: ``audit.json``, ``audit.md``, ``audit.html``.

    Raises:
        UnreadableImageError: an image to be shown cannot be decoded any more.
    """
    written = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    facts = {**report.to_dict(), "command": command, "written": written, "mmdc_tf": __version__}
    write_text(output / "audit.json", json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    content = _content(report, facts)
    templates = page_templates("mmdc_tf.audit", thumbnail=_thumbnail, leak_figure=_leak_figure, **FILTERS)
    for name in ("audit.md", "audit.html"):
        write_text(output / name, templates.get_template(f"{name}.j2").render(content))
    return [output / name for name in ("audit.json", "audit.md", "audit.html")]


def _content(report: AuditReport, facts: dict[str, Any]) -> dict[str, Any]:
    """What the templates are filled with; a template that shows pictures has them drawn by its filters."""
    table, twins = report.dataset.table, report.near_twins
    pairs, clusters = [], []
    if twins is not None:  # pairs that a reader must look at: conflicting labels first, then different groups
        wanted = twins.pairs["confirmed"] & (twins.pairs["conflicting"] | twins.pairs["across_groups"])
        pairs, clusters = twins.pairs[wanted].to_dict("records"), twins.large_clusters
    labels = dict(zip(table["sample_id"], table["label"], strict=True))
    strips = [
        {
            "size": len(members),
            "images": [{"sample_id": one, "label": labels[one]} for one in members[:MOST_IN_STRIP]],
        }
        for members in clusters[:MOST_CLUSTERS]
    ]
    return {
        "facts": facts,
        "sections": {section["name"]: section for section in facts["sections"]},
        "pairs": pairs[:MOST_PAIRS],
        "more_pairs": max(len(pairs) - MOST_PAIRS, 0),
        "clusters": strips,
        "more_clusters": len(clusters) - len(strips),
        "paths": dict(zip(table["sample_id"], table["image_path"], strict=True)),
        "leaks": report.leaks,
        "phantom": NOTICE,
        "pair_side": PAIR_SIDE,
        "strip_side": STRIP_SIDE,
        "most_rows": MOST_ROWS,
    }


def _thumbnail(path: str | Path, longest: int) -> str:
    """An image file as a ``data:`` address of a PNG; small images stay as they are."""
    image = read_image(path)
    share = min(1.0, longest / max(image.shape[:2]))
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    pixels = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return picture_address(cv2.imencode(".png", pixels)[1].tobytes())


def _leak_figure(probes: list[ProbeResult]) -> str | None:
    """Bars of each leak probe under both kinds of split, as a ``data:`` address; None where none was scored."""
    scored = [probe for probe in probes if not probe.skipped]
    if not scored:
        return None
    figure = Figure(figsize=(7, 1.7 + 0.9 * len(scored)), layout="constrained")
    axes, places = figure.subplots(), np.arange(len(scored))
    kinds = (
        ("image-level folds", IMAGE_LEVEL, places - _BAR / 2, "image"),
        ("groups kept together", GROUP_LEVEL, places + _BAR / 2, "group"),
    )
    for label, colour, at, kind in kinds:
        values = 100 * np.array([getattr(probe, f"{kind}_level") for probe in scored])
        limits = 100 * np.array([getattr(probe, f"{kind}_interval") for probe in scored])
        axes.barh(at, values, _BAR * 0.92, color=colour, label=label)
        axes.hlines(at, limits[:, 0], limits[:, 1], color="black", linewidth=1.2)
    shares = [100 * probe.majority for probe in scored]
    axes.vlines(shares, places - 0.45, places + 0.45, "black", "dashed", linewidth=1.2, label="commonest class")
    axes.set_yticks(places, [NAMES.get(probe.name, probe.name) for probe in scored])
    axes.invert_yaxis()
    axes.set(xlim=(0, 100), xlabel="labels guessed right (per cent); lines: 95 % intervals")
    axes.grid(axis="x", linewidth=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return picture_address(buffer.getvalue())
