"""The audit as files: ``audit.json`` for programs, ``audit.md`` and ``audit.html`` with pictures for people.

The page holds pictures of the dataset: it is as confidential as the dataset itself.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from mmdc_tf.audit.page_pictures import leak_figure, thumbnail
from mmdc_tf.audit.report import AuditReport, large_clusters
from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.evaluation.text import FILTERS
from mmdc_tf.io import page_templates, write_with
from mmdc_tf.version import __version__

MOST_PAIRS, MOST_CLUSTERS, MOST_IN_STRIP, MOST_ROWS = 24, 6, 8, 20
PAIR_SIDE, STRIP_SIDE = 240, 120
"""Longest side of a picture in pixels."""


def write_audit(report: AuditReport, output: Path, command: str) -> list[Path]:
    """Writes the three files of an audit.

    Args:
        report: of ``run_audit``.
        output: the folder; made where absent.
        command: what was run, for the reader.

    Returns:
        The files written: ``audit.json``, ``audit.md``, ``audit.html``.

    Raises:
        ConfigurationError: a file cannot be written.
        UnreadableImageError: an image to be shown cannot be decoded any more.
    """
    facts = audit_facts(report, command)
    content = page_content(report, facts)
    texts = {
        "audit.json": lambda: json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        "audit.md": lambda: render("audit.md.j2", content),
        "audit.html": lambda: render("audit.html.j2", content),
    }
    return [_write(output / name, text()) for name, text in texts.items()]


def audit_facts(report: AuditReport, command: str) -> dict[str, Any]:
    """``report.to_dict()`` with the command, the date (UTC, ISO 8601) and the version of this package.

    Args:
        report: of ``run_audit``.
        command: what was run.
    """
    written = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {**report.to_dict(), "command": command, "written": written, "mmdc_tf": __version__}


def page_content(report: AuditReport, facts: dict[str, Any]) -> dict[str, Any]:
    """What the templates are filled with; a template that shows pictures has them drawn by its filters.

    Args:
        report: of ``run_audit``.
        facts: of ``audit_facts``.
    """
    return {
        "facts": facts,
        "sections": {section["name"]: section for section in facts["sections"]},
        **_pairs(report),
        **_clusters(report),
        "paths": dict(zip(report.dataset.table["sample_id"], report.dataset.table["image_path"], strict=True)),
        "leaks": report.leaks,
        "phantom": NOTICE,
        "pair_side": PAIR_SIDE,
        "strip_side": STRIP_SIDE,
        "most_rows": MOST_ROWS,
    }


def render(template: str, content: dict[str, Any]) -> str:
    """Fills a template of this package; what goes into HTML is escaped.

    Args:
        template: ``"audit.html.j2"`` or ``"audit.md.j2"``.
        content: of ``page_content``.
    """
    environment = page_templates("mmdc_tf.audit", thumbnail=thumbnail, leak_figure=leak_figure, **FILTERS)
    return environment.get_template(template).render(content)


def _pairs(report: AuditReport) -> dict[str, Any]:
    """Confirmed pairs that a reader must look at: conflicting labels first, then different groups."""
    if report.near_twins is None:
        return {"pairs": [], "more_pairs": 0}
    pairs = report.near_twins.pairs
    wanted = pairs[pairs["confirmed"] & (pairs["conflicting"] | pairs["across_groups"])]
    shown = wanted.head(MOST_PAIRS).to_dict("records")
    return {"pairs": shown, "more_pairs": len(wanted) - len(shown)}


def _clusters(report: AuditReport) -> dict[str, Any]:
    if report.near_twins is None:
        return {"clusters": [], "more_clusters": 0}
    clusters = large_clusters(report.near_twins)
    labels = report.dataset.table.set_index("sample_id")["label"]
    shown = [
        {
            "name": name,
            "size": len(members),
            "images": [{"sample_id": one, "label": labels[one]} for one in members[:MOST_IN_STRIP]],
        }
        for name, members in list(clusters.items())[:MOST_CLUSTERS]
    ]
    return {"clusters": shown, "more_clusters": len(clusters) - len(shown)}


def _write(path: Path, text: str) -> Path:
    try:
        write_with(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"Expected a folder that can be written to. Received: output={path.parent} ({error.strerror}). "
            "Choose another --output."
        ) from error
    return path
