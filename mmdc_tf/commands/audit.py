"""``mmdc-tf audit``: what a dataset or a split would leak, and what the label can be guessed from."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmdc_tf.commands import EXIT_FAILED, EXIT_OK
from mmdc_tf.commands.arguments import DATASETS, add_debug, whole
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError

if TYPE_CHECKING:
    from mmdc_tf.audit.report import AuditReport
    from mmdc_tf.audit.split_file import SplitCheck
    from mmdc_tf.datasets.schema import Dataset

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
    words = "use every line of the dataset's table, whether its image is there or not"
    add("--without-images", "--table-only", action="store_true", help=words)
    add("--max-bits", type=whole, help="hash distance of near-twins, of 256; default: 40")
    add("--seed", type=whole, default=0, help="of folds, models and bootstrap; default: 0")
    add("--json", action="store_true", help="with --split: for programs")
    add_debug(parser)


def _audit(options: argparse.Namespace) -> int:
    split, output = options.split, options.output
    if (options.dataset is None) != (options.root is None) or (split is None and options.dataset is None):
        raise ConfigurationError(
            f"Expected --dataset and --root. Received: dataset={options.dataset!r}, root={options.root}. Give both; "
            "only --split for a split in its run's folder needs neither."
        )
    if (split is None) == (output is None):
        received = "neither" if split is None else "both; the check of a split is printed, not written"
        raise ConfigurationError(
            "Expected --output for the report, or --split for the check of a split. "
            f"Received: {received}. Give one of them."
        )
    if options.json and split is None:
        raise ConfigurationError(
            "Expected --json with --split. Received: json without it. Leave it out: audit.json is written anyway."
        )
    found = _audit_dataset(options) if split is None else _audit_split(options)
    return EXIT_FAILED if found and not options.allow else EXIT_OK


def _dataset(options: argparse.Namespace) -> Dataset:
    from mmdc_tf.datasets.catalogue import load_dataset, load_table_alone

    return (load_table_alone if options.without_images else load_dataset)(options.dataset, options.root)


def _audit_dataset(options: argparse.Namespace) -> bool:
    from mmdc_tf.audit.pages import write_audit
    from mmdc_tf.audit.report import run_audit
    from mmdc_tf.datasets.integrity import NEAR_TWIN_BITS
    from mmdc_tf.io import require_writable
    from mmdc_tf.serving.output import printable

    dataset = _dataset(options)
    require_writable(options.output)  # minutes of work come before the first file is written
    max_bits = NEAR_TWIN_BITS if options.max_bits is None else options.max_bits
    report = run_audit(dataset, max_bits, options.seed, show_progress=sys.stderr.isatty())
    written = write_audit(report, options.output, options.typed)
    lines = [*_summary(report), f"written: {', '.join(map(str, written))}"]
    lines += ["exit code 0 because of --allow"] if report.unfit and options.allow else []
    print("\n".join(map(printable, lines)))
    return report.unfit


def _summary(report: AuditReport) -> list[str]:
    """The verdict, the findings and the notes."""
    dataset = report.dataset
    lines = [f"{dataset.info.title}: {len(dataset.table):,} images, fingerprint {dataset.fingerprint}"]
    lines += [f"note: {note}" for note in report.notes]
    for section in report.sections:
        lines += ["", f"{section.title}: {'UNFIT' if section.unfit else 'nothing against an image-level split'}"]
        lines += [f"  ! {text}" for text in section.findings]
        lines += [f"  - {text}" for text in section.remarks]
    return [*lines, "", report.verdict, RESEARCH_USE]


def _audit_split(options: argparse.Namespace) -> bool:
    from mmdc_tf.serving.output import printable

    check = _split_check(options)
    if options.json:
        facts = {
            "split": str(options.split),
            "disjoint": check.disjoint,
            "sizes": check.sizes,
            "shared": [{**row, "parts": list(row["parts"])} for row in check.shared.to_dict("records")],
            "unknown": list(check.unknown),
            "notes": list(check.notes),
            "research_use": RESEARCH_USE,
        }
        print(json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(map(printable, _split_lines(options.split, check))))
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


def _split_lines(path: Path, check: SplitCheck) -> list[str]:
    shared, unknown = check.shared.to_dict("records"), check.unknown
    proof = "proved: no group stands in two parts" if check.disjoint else "not disjoint"
    if not check.disjoint and not shared and unknown:
        proof = "not proved: some samples are not in the dataset"
    sizes = ", ".join(f"{count:,} {name}" for name, count in check.sizes.items())
    lines = [f"{path}: {proof}", f"samples: {sizes}", *(f"note: {note}" for note in check.notes)]
    if shared:
        lines += [f"groups in several parts: {len(shared):,}"]
        lines += [f"  - {row['group_id']}: {', '.join(row['parts'])}" for row in shared[:MOST_GROUPS]]
        lines += [f"  {len(shared) - MOST_GROUPS:,} more with --json"] if len(shared) > MOST_GROUPS else []
        lines += ["Make the split again with --protocol leak-free."]
    if unknown:
        lines += [f"samples that the dataset does not have: {len(unknown):,}, for example {unknown[0]}"]
    return [*lines, RESEARCH_USE]
