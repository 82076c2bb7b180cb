"""``mmdc-tf audit``: what a dataset or a split would leak, and what the label can be guessed from."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mmdc_tf.commands import EXIT_FAILED, EXIT_OK
from mmdc_tf.commands.arguments import DATASETS, add_debug, whole
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, printable

MOST_GROUPS = 10


def add_audit(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf audit``."""
    parser.set_defaults(command=_audit)
    add = parser.add_argument
    add("--dataset", choices=DATASETS, help="not needed with --split for a split that lies in its run's folder")
    add("--root", type=Path, help="the dataset's folder")
    wanted = parser.add_mutually_exclusive_group(required=True).add_argument
    wanted("--output", type=Path, metavar="OUT", help="folder for audit.json, .md and .html, which shows images of it")
    wanted("--split", type=Path, metavar="FILE", help="check that this split keeps groups apart, and nothing else")
    add("--allow", action="store_true", help="end with exit code 0 whatever is found")
    words = "use every line of the dataset's table, whether its image is there or not"
    add("--without-images", action="store_true", help=words)
    add("--max-bits", type=whole, help="hash distance of near-twins, of 256; default: 40")
    add("--seed", type=whole, default=0, help="of folds, models and bootstrap; default: 0")
    add("--json", action="store_true", help="with --split: for programs")
    add_debug(parser)


def _audit(options: argparse.Namespace) -> int:
    if (options.dataset is None) != (options.root is None) or (options.split is None and options.dataset is None):
        raise ConfigurationError(
            f"Expected --dataset and --root. Received: dataset={options.dataset!r}, root={options.root}. Give both; "
            "only --split for a split in its run's folder needs neither."
        )
    if options.json and options.split is None:
        raise ConfigurationError(
            "Expected --json with --split. Received: json without it. Leave it out: audit.json is written anyway."
        )
    is_fit, lines = (_audit_dataset if options.split is None else _audit_split)(options)
    print("\n".join(lines if options.json else map(printable, lines)))
    return EXIT_OK if is_fit or options.allow else EXIT_FAILED


def _load(options: argparse.Namespace) -> Any:
    from mmdc_tf.datasets.catalogue import load_dataset, load_table_alone

    return (load_table_alone if options.without_images else load_dataset)(options.dataset, options.root)


def _audit_dataset(options: argparse.Namespace) -> tuple[bool, list[str]]:
    """Writes the audit; gives whether the data are fit, the findings, the notes and the verdict."""
    from mmdc_tf.audit.report import run_audit, write_audit
    from mmdc_tf.datasets.integrity import NEAR_TWIN_BITS
    from mmdc_tf.io import require_writable

    dataset = _load(options)
    require_writable(options.output)  # minutes of work come before the first file is written
    max_bits = NEAR_TWIN_BITS if options.max_bits is None else options.max_bits
    facts = run_audit(dataset, max_bits, options.seed, show_progress=sys.stderr.isatty())
    written = write_audit(facts, dataset, options.output, options.typed)
    lines = [f"{facts['title']}: {facts['images']:,} images, fingerprint {facts['fingerprint']}"]
    lines += [f"note: {note}" for note in facts["notes"]]
    for section in facts["sections"]:
        lines += ["", f"{section['title']}: {'UNFIT' if section['unfit'] else 'nothing against an image-level split'}"]
        lines += [f"  ! {text}" for text in section["findings"]]
        lines += [f"  - {text}" for text in section["remarks"]]
    lines += ["", facts["verdict"], RESEARCH_USE, f"written: {', '.join(map(str, written))}"]
    return not facts["unfit"], lines + ["exit code 0 because of --allow"] * (facts["unfit"] and options.allow)


def _audit_split(options: argparse.Namespace) -> tuple[bool, list[str]]:
    """Whether a split is proved to keep groups apart, and what is printed of it."""
    from mmdc_tf.audit.split_file import check_split

    found = check_split(options.split, *_groups(options))
    if options.json:
        facts = {"split": str(options.split), **found, "research_use": RESEARCH_USE}
        return found["disjoint"], [json.dumps(facts, indent=1, ensure_ascii=False)]
    shared, unknown = found["shared"], found["unknown"]
    proof = "proved: no group stands in two parts" if found["disjoint"] else "not disjoint"
    if not found["disjoint"] and not shared and unknown:
        proof = "not proved: some samples are not in the dataset"
    sizes = ", ".join(f"{count:,} {name}" for name, count in found["sizes"].items())
    lines = [f"{options.split}: {proof}", f"samples: {sizes}", *(f"note: {note}" for note in found["notes"])]
    if shared:
        lines += [f"groups in several parts: {len(shared):,} (all of them with --json)"]
        lines += [f"  - {group['group_id']}: {', '.join(group['parts'])}" for group in shared[:MOST_GROUPS]]
        lines += ["Make the split again with --protocol leak-free."]
    if unknown:
        lines += [f"samples that the dataset does not have: {len(unknown):,}, for example {unknown[0]}"]
    return found["disjoint"], [*lines, RESEARCH_USE]


def _groups(options: argparse.Namespace) -> tuple[Any, str]:
    """The group of each sample: of the dataset; without one, of the run in whose folder the split lies."""
    from mmdc_tf.experiments.run_folder import read_samples

    if options.dataset is not None:
        dataset = _load(options)
        return dataset.table.set_index("sample_id")["group_id"], f"{dataset.info.name} in {dataset.root}"
    for folder in options.split.resolve().parents:
        if (samples := read_samples(folder)) is not None:
            return samples.set_index("sample_id")["group_id"], f"the run {folder}"
    raise ConfigurationError(
        f"Expected the dataset that was split. Received: split={str(options.split)!r} alone, which names samples but "
        "not their patients. Add --dataset and --root."
    )
