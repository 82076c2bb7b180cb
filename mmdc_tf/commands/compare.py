"""``mmdc-tf compare``: which rows of a run can be told apart from one of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.commands import EXIT_OK
from mmdc_tf.commands.arguments import PROTOCOL_SETS, add_debug, add_protocol, names
from mmdc_tf.errors import RESEARCH_USE, ConfigurationError, did_you_mean
from mmdc_tf.experiments.rows import load_table, tables_in

if TYPE_CHECKING:
    import pandas as pd

PERCENTAGES = ("accuracy", "baseline_accuracy", "difference", "ci_low", "ci_high")
NOTES = (
    "Accuracy: mean over folds and seeds. Interval: 95 % bootstrap over groups within each fold. All in per cent.",
    "Distinguishable: McNemar's exact p, corrected by Holm for the rows compared here, below 0.05, and the interval "
    "leaves out 0.",
    "McNemar's test takes images as independent, which several views of a patient and near-twins are not: its p is "
    "then too small, which is why the interval has to agree. Of several seeds it counts the vote.",
)
Comparison = tuple["pd.DataFrame | None", dict[str, str]]
Compared = dict[str, Comparison]
"""Protocol to what ``compare_in_folder`` gives, with percentages."""


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``mmdc-tf compare``."""
    parser.set_defaults(command=_compare)
    add = parser.add_argument
    words = "a run's folder, or the folder of one of its tables; or external-NAME-predictions.csv of mmdc-tf evaluate"
    add("run", type=Path, metavar="RUN", help=words)
    add("--baseline", required=True, help="the row that the others are compared with; or another such file")
    add("--rows", type=names, help="the others by name, separated by commas; default: all of the run")
    add_protocol(add, "leak-free")
    add("--json", action="store_true", help="for programs")
    add_debug(parser)


def _compare(options: argparse.Namespace) -> int:
    if options.run.suffix == ".csv":
        print(_external(options.run, Path(options.baseline)))
        return EXIT_OK
    rows = {folder: _rows(folder) for folder in _table_folders(options.run)}
    _require_known("baseline", [options.baseline], rows)
    rows = {folder: some for folder, some in rows.items() if options.baseline in some}
    if options.rows is not None:
        _require_known("rows", options.rows or [""], rows)
        rows = {folder: [row for row in some if row in options.rows] for folder, some in rows.items()}
    protocols = PROTOCOL_SETS[options.protocol][::-1]  # leak-free first
    found = {
        folder: {protocol: _compared(folder, options.baseline, some, protocol) for protocol in protocols}
        for folder, some in rows.items()
    }
    parts = [(protocol, *one) for compared in found.values() for protocol, one in compared.items()]
    if all(lines is None for _, lines, _ in parts):
        states = "; ".join(f"under {protocol}: {_left_out(left_out)}" for protocol, _, left_out in parts)
        raise ConfigurationError(
            "Expected a finished baseline and at least one other finished row. Received: "
            f"baseline={options.baseline!r} ({states}). Train more rows into this run, or choose another --baseline or "
            "--protocol."
        )
    texts = [_write(folder, options.baseline, compared) for folder, compared in found.items()]
    if options.json:
        content = [_for_programs(folder, options.baseline, compared) for folder, compared in found.items()]
        print(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        print("\n".join(texts))
        print(f"written: {', '.join(str(_place(folder, options.baseline)) for folder in found)} (.csv, .md)")
    return EXIT_OK


def _external(file: Path, baseline: Path) -> str:
    """Two models, or two rows' ensembles, on the same external images."""

    from mmdc_tf.evaluation.comparison import compare_rows
    from mmdc_tf.evaluation.predictions import read_predictions

    tables: dict[str, pd.DataFrame] = {}
    for path in (file, baseline):
        found = read_predictions([path])
        tables[str(path)] = found[found["model"] == found["model"].iloc[-1]].assign(seed=0)  # the ensemble stands last
    lines = compare_rows(tables, str(baseline))
    lines = lines.assign(**{name: 100.0 * lines[name] for name in PERCENTAGES})
    return "\n\n".join([_section("external validation", lines, {}), *NOTES, RESEARCH_USE])


def _table_folders(run: Path) -> list[Path]:
    """The folders of tables that ``RUN`` names."""
    folder = run.resolve()
    return [folder] if (folder / "run.json").is_file() else [folder / table.name for table in tables_in(folder)]


def _rows(folder: Path) -> list[str]:
    """The rows of a table's folder in the paper's order."""
    from mmdc_tf.experiments.run_folder import rows_in, run_of

    order = [row.name for row in load_table(run_of(folder)["table"]).rows]
    return sorted(rows_in(folder), key=lambda row: order.index(row) if row in order else len(order))


def _require_known(option: str, given: list[str], rows: dict[Path, list[str]]) -> None:
    known = list(dict.fromkeys(row for some in rows.values() for row in some))
    for name in given:
        if name not in known:
            raise ConfigurationError(
                f"Expected rows of this run: {', '.join(known) or 'it has none'}. Received: {option}={name!r}. "
                + did_you_mean(name, known, "Choose one of them, or train it first.")
            )


def _compared(folder: Path, baseline: str, rows: list[str], protocol: str) -> Comparison:
    from mmdc_tf.experiments.run_folder import compare_in_folder

    lines, left_out = compare_in_folder(folder, baseline, rows, protocol)
    return lines if lines is None else lines.assign(**{name: 100.0 * lines[name] for name in PERCENTAGES}), left_out


def _left_out(left_out: dict[str, str]) -> str:
    return ", ".join(f"{row} ({reason})" for row, reason in left_out.items()) or "no other row"


def _place(folder: Path, baseline: str) -> Path:
    """Where the comparison of a table is written, without the suffix."""
    return folder.parent / f"{folder.name}-compare-{baseline}"


def _notice(folder: Path) -> str:
    from mmdc_tf.datasets.schema import NOTICE
    from mmdc_tf.experiments.run_folder import run_of

    return NOTICE if run_of(folder).get("synthetic") else ""


def _write(folder: Path, baseline: str, compared: Compared) -> str:
    """Writes the CSV, all protocols, a phantom named in each line, and the Markdown, which it returns."""
    import pandas as pd

    from mmdc_tf.evaluation.comparison import COLUMNS
    from mmdc_tf.experiments.run_folder import run_of
    from mmdc_tf.io import write_table, write_text
    from mmdc_tf.report.formatting import page

    parts = [lines.assign(protocol=protocol) for protocol, (lines, _) in compared.items() if lines is not None]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "protocol"])
    write_table(Path(f"{_place(folder, baseline)}.csv"), table.assign(note=_notice(folder)), float_format="%.6g")
    run = run_of(folder)
    title = f"{load_table(run['table']).made_from(run).title}: rows compared with {baseline}"
    text = page(title, run, [_section(protocol, *one) for protocol, one in compared.items()], NOTES)
    write_text(Path(f"{_place(folder, baseline)}.md"), text)
    return text


def _for_programs(folder: Path, baseline: str, compared: Compared) -> dict[str, Any]:
    parts = []
    for protocol, (lines, left_out) in compared.items():
        rows = [] if lines is None else json.loads(lines.to_json(orient="records"))
        parts.append({"protocol": protocol, "rows": rows, "left_out": left_out})
    note = " ".join(filter(None, [_notice(folder), RESEARCH_USE]))
    return {"table": folder.name, "baseline": baseline, "note": note, "comparisons": parts}


def _section(protocol: str, lines: pd.DataFrame | None, left_out: dict[str, str]) -> str:
    """A heading, and a table of Markdown whose columns stand below each other on a terminal too."""
    parts = [f"## Under {protocol}"]
    if lines is not None:
        parts = [f"{parts[0]}: {lines['n_samples'].iloc[0]} samples, {lines['n_groups'].iloc[0]} groups"]
        cells = [_cells(line) for line in lines.to_dict("records")]
        columns = [[name, "---:", *(one[name] for one in cells)] for name in cells[0]]
        columns[0][1] = "---"
        padded = [[text.rjust(max(map(len, column))) for text in column] for column in columns]
        parts += ["\n".join(f"| {' | '.join(line)} |" for line in zip(*padded, strict=True))]
    if left_out or lines is None:
        parts += [f"Left out: {_left_out(left_out)}."]
    return "\n\n".join(parts)


def _cells(line: dict[Any, Any]) -> dict[str, str]:
    from mmdc_tf.report.formatting import change

    mcnemar, holm = ("<0.0001" if line[name] < 0.0001 else f"{line[name]:.4f}" for name in ("mcnemar_p", "holm_p"))
    return {
        "Row": line["row"],
        "Accuracy": f"{line['accuracy']:.2f}",
        "Baseline": f"{line['baseline_accuracy']:.2f}",
        "Difference (95 % interval)": change(line, ("difference", "ci_low", "ci_high")),
        "Only row right": str(line["only_row_right"]),
        "Only baseline right": str(line["only_baseline_right"]),
        "McNemar p": mcnemar,
        "Holm p": holm,
        "Distinguishable": "yes" if line["distinguishable"] else "no",
    }
