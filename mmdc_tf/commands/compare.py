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
Compared = dict[str, tuple["pd.DataFrame | None", dict[str, str]]]
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
    from mmdc_tf.experiments.run_folder import compare_in_folder

    if options.run.suffix == ".csv":
        print(_external(options.run, Path(options.baseline)))
        return EXIT_OK
    baseline, rows = options.baseline, _rows(options.run.resolve())
    _require_known("baseline", [baseline], rows)
    rows = {folder: some for folder, some in rows.items() if baseline in some}
    if options.rows is not None:
        _require_known("rows", options.rows or [""], rows)
        rows = {folder: [row for row in some if row in options.rows] for folder, some in rows.items()}
    found: dict[Path, Compared] = {folder: {} for folder in rows}
    for folder, some in rows.items():
        for protocol in PROTOCOL_SETS[options.protocol][::-1]:  # leak-free first
            lines, left_out = compare_in_folder(folder, baseline, some, protocol)
            found[folder][protocol] = (None if lines is None else _in_percent(lines), left_out)
    parts = [(protocol, *one) for compared in found.values() for protocol, one in compared.items()]
    if all(lines is None for _, lines, _ in parts):
        states = "; ".join(f"under {protocol}: {_left_out(left_out)}" for protocol, _, left_out in parts)
        raise ConfigurationError(
            f"Expected a finished baseline and at least one other finished row. Received: baseline={baseline!r} "
            f"({states}). Train more rows into this run, or choose another --baseline or --protocol."
        )
    texts = [_write(folder, baseline, compared) for folder, compared in found.items()]
    if options.json:
        content = [_for_programs(folder, baseline, compared) for folder, compared in found.items()]
        print(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        places = ", ".join(f"{folder}-compare-{baseline}" for folder in found)
        print(*texts, f"written: {places} (.csv, .md)", sep="\n")
    return EXIT_OK


def _external(file: Path, baseline: Path) -> str:
    """Two models, or two rows' ensembles, on the same images: external ones, or the test part of a training."""
    from mmdc_tf.evaluation.comparison import compare_rows
    from mmdc_tf.evaluation.predictions import read_predictions

    tables: dict[str, pd.DataFrame] = {}
    title = "the same test images"
    for path in (file, baseline):
        found = read_predictions([path])
        if "model" in found:  # of mmdc-tf evaluate; the ensemble stands last
            found, title = found[found["model"] == found["model"].iloc[-1]], "external validation"
        tables[str(path)] = found.assign(seed=0)
    lines = _in_percent(compare_rows(tables, str(baseline)))
    return "\n\n".join([_section(title, lines, {}), *NOTES, RESEARCH_USE])


def _in_percent(lines: pd.DataFrame) -> pd.DataFrame:
    return lines.assign(**{name: 100.0 * lines[name] for name in PERCENTAGES})


def _rows(run: Path) -> dict[Path, list[str]]:
    """The rows, in the paper's order, of each table's folder in a run's folder, or of a table's folder itself."""
    from mmdc_tf.experiments.run_folder import rows_in, run_of

    folders = [run] if (run / "run.json").is_file() else [run / table.name for table in tables_in(run)]
    found = {}
    for folder in folders:
        order = [row.name for row in load_table(run_of(folder)["table"]).rows]
        found[folder] = sorted(rows_in(folder), key=lambda row: order.index(row) if row in order else len(order))
    return found


def _require_known(option: str, given: list[str], rows: dict[Path, list[str]]) -> None:
    known = list(dict.fromkeys(row for some in rows.values() for row in some))
    for name in given:
        if name not in known:
            raise ConfigurationError(
                f"Expected rows of this run: {', '.join(known) or 'it has none'}. Received: {option}={name!r}. "
                + did_you_mean(name, known, "Choose one of them, or train it first.")
            )


def _left_out(left_out: dict[str, str]) -> str:
    return ", ".join(f"{row} ({reason})" for row, reason in left_out.items()) or "no other row"


def _write(folder: Path, baseline: str, compared: Compared) -> str:
    """Writes the CSV, all protocols, a phantom named in each line, and the Markdown, which it returns."""
    import pandas as pd

    from mmdc_tf.datasets.schema import NOTICE
    from mmdc_tf.evaluation.comparison import COLUMNS
    from mmdc_tf.experiments.run_folder import run_of
    from mmdc_tf.io import write_table, write_text
    from mmdc_tf.report.formatting import page

    run, place = run_of(folder), f"{folder}-compare-{baseline}"
    parts = [lines.assign(protocol=protocol) for protocol, (lines, _) in compared.items() if lines is not None]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "protocol"])
    table = table.assign(note=NOTICE if run["synthetic"] else "")
    write_table(Path(f"{place}.csv"), table, float_format="%.6g")
    title = f"{load_table(run['table']).made_from(run).title}: rows compared with {baseline}"
    text = page(title, run, [_section(protocol, *one) for protocol, one in compared.items()], NOTES)
    write_text(Path(f"{place}.md"), text)
    return text


def _for_programs(folder: Path, baseline: str, compared: Compared) -> dict[str, Any]:
    from mmdc_tf.experiments.run_folder import run_of
    from mmdc_tf.report.formatting import notice_of

    parts = []
    for protocol, (lines, left_out) in compared.items():
        rows = [] if lines is None else json.loads(lines.to_json(orient="records"))
        parts.append({"protocol": protocol, "rows": rows, "left_out": left_out})
    return {"table": folder.name, "baseline": baseline, "note": notice_of(run_of(folder)), "comparisons": parts}


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
