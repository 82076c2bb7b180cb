"""``mmdc-tf audit``: what a dataset or a split would leak, and what the label can be guessed from."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.commands import EXIT_OK
from mmdc_tf.commands.arguments import whole
from mmdc_tf.errors import ConfigurationError

if TYPE_CHECKING:
    from mmdc_tf.audit.report import AuditReport
    from mmdc_tf.audit.split_file import SplitCheck
    from mmdc_tf.datasets.schema import Dataset

DATASETS = ("busi", "mini-ddsm", "folder")
EXIT_UNFIT = 1
MOST_GROUPS = 10


def add_audit(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf audit``."""
    parser.set_defaults(command=_audit)
    add = parser.add_argument
    add("--dataset", choices=DATASETS, help="not needed with --split for a split that lies in its run's folder")
    add("--root", type=Path, help="the dataset's folder")
    add("--output", type=Path, metavar="OUT", help="folder for audit.json, .md and .html, which shows images of it")
    add("--split", type=Path, metavar="FILE", help="check that this split keeps groups apart, and nothing else")
    add("--allow", action="store_true", help="end with exit code 0 whatever is found")
    add(
        "--without-images",
        "--table-only",
        action="store_true",
        help="use every line of the dataset's table, whether its image is there or not",
    )
    add("--max-bits", type=whole, help="hash distance of near-twins, of 256; default: 40")
    add("--seed", type=whole, default=0, help="of folds, models and bootstrap; default: 0")
    add("--json", action="store_true", help="with --split: for programs")
    add("--debug", action="store_true", help="show the trace of an error")


def _audit(options: argparse.Namespace) -> int:
    _require_fitting(options)
    found = _audit_split(options) if options.split is not None else _audit_dataset(options)
    return EXIT_UNFIT if found and not options.allow else EXIT_OK


def _require_fitting(options: argparse.Namespace) -> None:
    if (options.dataset is None) != (options.root is None) or (options.split is None and options.dataset is None):
        raise ConfigurationError(
            f"Expected --dataset and --root. Received: dataset={options.dataset!r}, root={options.root}. Give both; "
            "only --split for a split in its run's folder needs neither."
        )
    if options.split is None and options.output is None:
        raise ConfigurationError(
            "Expected --output for the report, or --split for the check of a split. Received: neither. Add one."
        )
    if options.split is not None and options.output is not None:
        raise ConfigurationError(
            "Expected --output or --split. Received: both; the check of a split is printed, not written. "
            "Leave one out, and add --json for programs."
        )
    if options.json and options.split is None:
        raise ConfigurationError(
            "Expected --json with --split. Received: json without it. Leave it out: audit.json is written anyway."
        )


def _dataset(options: argparse.Namespace) -> Dataset:
    from mmdc_tf.datasets.catalogue import load_dataset, load_table_alone

    return (load_table_alone if options.without_images else load_dataset)(options.dataset, options.root)


def _audit_dataset(options: argparse.Namespace) -> bool:
    from mmdc_tf.audit.pages import write_audit
    from mmdc_tf.audit.report import run_audit
    from mmdc_tf.datasets.integrity import NEAR_TWIN_BITS
    from mmdc_tf.io import require_writable
    from mmdc_tf.serving.output import printable

    require_writable(options.output)  # minutes of work come before the first file is written
    max_bits = NEAR_TWIN_BITS if options.max_bits is None else options.max_bits
    report = run_audit(_dataset(options), max_bits, options.seed, show_progress=sys.stderr.isatty())
    written = write_audit(report, options.output, _command(options))
    print(summary(report))
    print(printable(f"written: {', '.join(map(str, written))}"))
    if report.unfit and options.allow:
        print("exit code 0 because of --allow")
    return report.unfit


def _command(options: argparse.Namespace) -> str:
    parts = ["mmdc-tf", "audit", "--dataset", options.dataset, "--root", options.root, "--output", options.output]
    parts += ["--without-images"] if options.without_images else []
    parts += ["--max-bits", options.max_bits] if options.max_bits is not None else []
    parts += ["--seed", options.seed] if options.seed else []
    return shlex.join(map(str, parts))


def summary(report: AuditReport) -> str:
    """The verdict, the findings and the notes as plain text.

    Args:
        report: of ``run_audit``.
    """
    from mmdc_tf.errors import RESEARCH_USE
    from mmdc_tf.serving.output import printable

    dataset = report.dataset
    lines = [f"{dataset.info.title}: {len(dataset.table):,} images, fingerprint {dataset.fingerprint}"]
    lines += [f"note: {note}" for note in report.notes]
    for section in report.sections:
        lines += ["", f"{section.title}: {'UNFIT' if section.unfit else 'nothing against an image-level split'}"]
        lines += [f"  ! {text}" for text in section.findings]
        lines += [f"  - {text}" for text in section.remarks]
    return "\n".join(map(printable, [*lines, "", report.verdict, RESEARCH_USE]))


def _audit_split(options: argparse.Namespace) -> bool:
    check = _split_check(options)
    report = _split_facts(options.split, check)
    print(json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) if options.json else _split_text(report))
    return not check.disjoint


def _split_check(options: argparse.Namespace) -> SplitCheck:
    """Against the dataset; without one, against the samples of the run in whose folder the split lies."""
    from mmdc_tf.audit.split_file import check_groups, check_split
    from mmdc_tf.experiments.run_folder import read_samples

    if options.dataset is None:
        for folder in options.split.resolve().parents:
            if (samples := read_samples(folder)) is not None:
                return check_groups(options.split, samples.set_index("sample_id")["group_id"], f"the run {folder}")
    return check_split(options.split, None if options.dataset is None else _dataset(options))


def _split_facts(path: Path, check: SplitCheck) -> dict[str, Any]:
    from mmdc_tf.errors import RESEARCH_USE

    return {
        "split": str(path),
        "disjoint": check.disjoint,
        "sizes": check.sizes,
        "shared": [{**row, "parts": list(row["parts"])} for row in check.shared.to_dict("records")],
        "unknown": list(check.unknown),
        "notes": list(check.notes),
        "research_use": RESEARCH_USE,
    }


def _split_text(report: dict[str, Any]) -> str:
    from mmdc_tf.serving.output import printable

    shared, unknown = report["shared"], report["unknown"]
    proof = "proved: no group stands in two parts" if report["disjoint"] else "not disjoint"
    if not report["disjoint"] and not shared and unknown:
        proof = "not proved: some samples are not in the dataset"
    sizes = ", ".join(f"{count:,} {name}" for name, count in report["sizes"].items())
    lines = [f"{report['split']}: {proof}", f"samples: {sizes}", *(f"note: {note}" for note in report["notes"])]
    if shared:
        lines += [f"groups in several parts: {len(shared):,}"]
        lines += [f"  - {row['group_id']}: {', '.join(row['parts'])}" for row in shared[:MOST_GROUPS]]
        lines += [f"  {len(shared) - MOST_GROUPS:,} more with --json"] if len(shared) > MOST_GROUPS else []
        lines += ["Make the split again with --protocol leak-free."]
    if unknown:
        lines += [f"samples that the dataset does not have: {len(unknown):,}, for example {unknown[0]}"]
    return "\n".join(map(printable, [*lines, report["research_use"]]))
