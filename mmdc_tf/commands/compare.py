"""``mmdc-tf compare``: which rows of a run can be told apart from one of them."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.commands import EXIT_OK
from mmdc_tf.commands.arguments import PROTOCOL_SETS, add_debug, add_protocol, names
from mmdc_tf.errors import ConfigurationError, did_you_mean
from mmdc_tf.experiments.rows import TABLES, load_table

if TYPE_CHECKING:
    import pandas as pd

PERCENTAGES = ("accuracy", "baseline_accuracy", "difference", "ci_low", "ci_high")
HEADER = (
    "Row",
    "Accuracy",
    "Baseline",
    "Difference (95 % interval)",
    "Only row right",
    "Only baseline right",
    "McNemar p",
    "Holm p",
    "Distinguishable",
)
NOTES = (
    "Accuracy: mean over folds and seeds. Interval: 95 % bootstrap over groups within each fold. All in per cent.",
    "Distinguishable: McNemar's exact p, corrected by Holm for the rows compared here, below 0.05, and the interval "
    "leaves out 0.",
    "McNemar's test takes images as independent, which several views of a patient and near-twins are not: its p is "
    "then too small, which is why the interval has to agree. Of several seeds it counts the vote.",
)


@dataclass(frozen=True)
class Comparison:
    """The rows of one table and protocol, compared with the baseline.

    Args:
        protocol: one of ``splits.PROTOCOLS``.
        lines: as from ``compare_rows``, with percentages; None where there was nothing to compare.
        left_out: rows that could not be compared, and why.
    """

    protocol: str
    lines: pd.DataFrame | None
    left_out: dict[str, str]


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf compare``."""
    parser.set_defaults(command=_compare)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run's folder, or the folder of one of its tables")
    add("--baseline", required=True, help="the row that the others are compared with")
    add("--rows", type=names, help="the others by name, separated by commas; default: all of the run")
    add_protocol(parser, "leak-free")
    add("--json", action="store_true", help="for programs")
    add_debug(parser)


def _compare(options: argparse.Namespace) -> int:
    folders = _with_baseline(_table_folders(options.run), options.baseline)
    _require_known(folders, options.rows)
    protocols = PROTOCOL_SETS[options.protocol][::-1]  # leak-free first
    compared = {folder: [_comparison(folder, options, protocol) for protocol in protocols] for folder in folders}
    _require_result(compared, options.baseline)
    texts = [_write(folder, options.baseline, comparisons) for folder, comparisons in compared.items()]
    if options.json:
        content = [_for_programs(folder, options.baseline, parts) for folder, parts in compared.items()]
        print(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        print("\n".join(texts))
        print(f"written: {', '.join(str(_place(folder, options.baseline)) for folder in compared)} (.csv, .md)")
    return EXIT_OK


def _table_folders(run: Path) -> list[Path]:
    """The folders of tables that ``RUN`` names."""
    candidates = [run.resolve(), *(run.resolve() / name for name in TABLES)]
    found = [folder for folder in candidates if (folder / "run.json").is_file()]
    if not found:
        state = "no run.json in it or in a table's folder" if run.is_dir() else "a file" if run.exists() else "absent"
        raise ConfigurationError(
            f"Expected a run's folder with {', '.join(TABLES)}, or one of these. Received: RUN={str(run)!r} ({state}). "
            "Give the --output of mmdc-tf run."
        )
    return found


def _with_baseline(folders: list[Path], baseline: str) -> list[Path]:
    from mmdc_tf.experiments.run_folder import rows_in

    known = {row: None for folder in folders for row in rows_in(folder)}
    if baseline not in known:
        raise _unknown("baseline", baseline, list(known))
    return [folder for folder in folders if baseline in rows_in(folder)]


def _require_known(folders: list[Path], rows: list[str] | None) -> None:
    from mmdc_tf.experiments.run_folder import rows_in

    known = list({row: None for folder in folders for row in rows_in(folder)})
    if rows is not None and not rows:
        raise _unknown("rows", "", known)
    for row in rows or ():
        if row not in known:
            raise _unknown("rows", row, known)


def _unknown(option: str, name: str, known: list[str]) -> ConfigurationError:
    hint = did_you_mean(name, known, "Choose one of them, or train it first.")
    return ConfigurationError(
        f"Expected rows of this run: {', '.join(known) or 'it has none'}. Received: {option}={name!r}. {hint}"
    )


def _comparison(folder: Path, options: argparse.Namespace, protocol: str) -> Comparison:
    from mmdc_tf.experiments.run_folder import compare_in_folder

    rows = (
        _ordered_rows(folder) if options.rows is None else [row for row in _ordered_rows(folder) if row in options.rows]
    )
    lines, left_out = compare_in_folder(folder, options.baseline, rows, protocol)
    if lines is not None:
        lines = lines.assign(**{name: 100.0 * lines[name] for name in PERCENTAGES})
    return Comparison(protocol, lines, left_out)


def _ordered_rows(folder: Path) -> list[str]:
    """The rows of a table's folder in the paper's order."""
    from mmdc_tf.experiments.run_folder import rows_in, run_of

    order = [row.name for row in load_table(run_of(folder)["table"]).rows]
    return sorted(rows_in(folder), key=lambda row: order.index(row) if row in order else len(order))


def _require_result(compared: dict[Path, list[Comparison]], baseline: str) -> None:
    comparisons = [comparison for parts in compared.values() for comparison in parts]
    if all(comparison.lines is None for comparison in comparisons):
        states = "; ".join(f"under {comparison.protocol}: {_left_out(comparison)}" for comparison in comparisons)
        raise ConfigurationError(
            f"Expected a finished baseline and at least one other finished row. Received: baseline={baseline!r} "
            f"({states}). Train more rows into this run, or choose another --baseline or --protocol."
        )


def _left_out(comparison: Comparison) -> str:
    texts = [f"{row} ({reason})" for row, reason in comparison.left_out.items()]
    return ", ".join(texts) or "no other row"


def _place(folder: Path, baseline: str) -> Path:
    """Where the comparison of a table is written, without the suffix."""
    return folder.parent / f"{folder.name}-compare-{baseline}"


def _write(folder: Path, baseline: str, comparisons: list[Comparison]) -> str:
    """Writes the CSV and the Markdown, and returns the latter."""
    from mmdc_tf.io import write_table, write_text

    place, text = _place(folder, baseline), _markdown(folder, baseline, comparisons)
    table = _csv_lines(folder, comparisons)
    write_table(Path(f"{place}.csv"), table, float_format="%.6g")
    write_text(Path(f"{place}.md"), text)
    return text


def _csv_lines(folder: Path, comparisons: list[Comparison]) -> pd.DataFrame:
    """All protocols; a phantom is named in each line."""
    import pandas as pd

    from mmdc_tf.evaluation.comparison import COLUMNS

    parts = [part.lines.assign(protocol=part.protocol) for part in comparisons if part.lines is not None]
    lines = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "protocol"])
    return lines.assign(note=_notice(folder))


def _notice(folder: Path) -> str:
    from mmdc_tf.datasets.schema import NOTICE
    from mmdc_tf.experiments.run_folder import run_of

    return NOTICE if run_of(folder).get("synthetic") else ""


def _for_programs(folder: Path, baseline: str, comparisons: list[Comparison]) -> dict[str, Any]:
    from mmdc_tf.errors import RESEARCH_USE

    parts = [
        {
            "protocol": part.protocol,
            "rows": [] if part.lines is None else json.loads(part.lines.to_json(orient="records")),
            "left_out": part.left_out,
        }
        for part in comparisons
    ]
    note = " ".join(filter(None, [_notice(folder), RESEARCH_USE]))
    return {"table": folder.name, "baseline": baseline, "note": note, "comparisons": parts}


def _markdown(folder: Path, baseline: str, comparisons: list[Comparison]) -> str:
    from mmdc_tf.experiments.run_folder import run_of
    from mmdc_tf.report.formatting import page

    run = run_of(folder)
    title = f"{load_table(run['table']).made_from(run).title}: rows compared with {baseline}"
    return page(title, run, map(_section, comparisons), NOTES)


def _section(comparison: Comparison) -> str:
    lines = comparison.lines
    title = f"## Under {comparison.protocol}"
    if lines is not None:
        title += f": {lines['n_samples'].iloc[0]} samples, {lines['n_groups'].iloc[0]} groups"
    left_out = f"Left out: {_left_out(comparison)}." if comparison.left_out or lines is None else ""
    return "\n\n".join(filter(None, [title, "" if lines is None else _aligned(lines), left_out]))


def _aligned(lines: pd.DataFrame) -> str:
    """A Markdown table whose columns stand below each other on a terminal too."""
    cells = [HEADER, *(_cells(line) for line in lines.to_dict("records"))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [line[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))]
        for line in cells
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (padded[0], rule, *padded[1:]))


def _cells(line: dict[Any, Any]) -> tuple[str, ...]:
    from mmdc_tf.report.formatting import change

    return (
        line["row"],
        f"{line['accuracy']:.2f}",
        f"{line['baseline_accuracy']:.2f}",
        change(line["difference"], line["ci_low"], line["ci_high"]),
        str(line["only_row_right"]),
        str(line["only_baseline_right"]),
        _probability(line["mcnemar_p"]),
        _probability(line["holm_p"]),
        "yes" if line["distinguishable"] else "no",
    )


def _probability(value: float) -> str:
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"
