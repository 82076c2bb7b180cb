"""What age and density are worth to each row: its results with them unknown or shuffled, beside those as recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.evaluation.metadata_variants import AS_RECORDED, VARIANTS
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.experiments.results import ROW_COLUMNS, VARIANT_COLUMNS, variant_lines, variant_scores
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import PREDICTIONS
from mmdc_tf.experiments.scoring import METADATA_PREDICTIONS
from mmdc_tf.report.formatting import by_protocol, change, grid, method, number, page, write_variants

COLUMNS = (*ROW_COLUMNS, "metadata", *VARIANT_COLUMNS)
HEADER = ("Method", "Source", "Age and density", "Accuracy", "Macro F1", "Accuracy − as recorded (95 % interval)")
LEGEND = (
    "Unknown: the value is given as not known. Shuffled: patients of the scored part exchange their pairs of values.",
    "Means over folds and seeds. Interval: 95 % paired bootstrap over groups within each fold. All in per cent.",
)


def write_metadata_table(table: PaperTable, output: Path) -> pd.DataFrame:
    """Writes NAME_metadata.csv and NAME_metadata.md; nothing where no finished row takes age and density.

    Args:
        table: the paper's table.
        output: the run's folder.

    Returns:
        As ``metadata_results``.
    """
    results = metadata_results(table, output / table.name)
    write_variants(results, table, output, "metadata", metadata_markdown)
    return results


def metadata_results(table: PaperTable, folder: Path) -> pd.DataFrame:
    """The finished rows that were scored with other metadata, from their predictions files.

    Args:
        table: the paper's table.
        folder: ``OUT/table1``, ``OUT/table2`` or ``OUT/figure3``.

    Returns:
        The columns ``COLUMNS``: one line a row, protocol and variant of the metadata, "as recorded" first; numbers as
        from ``mmdc_tf.experiments.results.variant_scores``. Rows that are not finished, or that a version trained
        which did not score them so, are left out.

    Raises:
        InputError: the two predictions files of a training are not of the same samples.
    """
    return variant_lines(table, folder, METADATA_PREDICTIONS, _scores).reindex(columns=list(COLUMNS))


def metadata_markdown(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> str:
    """The results for reading, a table a protocol.

    Args:
        table: its title is the heading.
        results: as from ``metadata_results``.
        run: the content of ``run.json``.
    """
    parts = by_protocol(results, lambda part: grid(HEADER, map(_cells, part.to_dict("records")), texts=3))
    return page(f"{table.title}: what age and density are worth", run, parts, LEGEND)


def _scores(files: list[Path]) -> pd.DataFrame:
    """The variants of a row, of which these are the files."""
    scored = read_predictions(files)
    variants = {AS_RECORDED: read_predictions([path.with_name(PREDICTIONS) for path in files])}
    variants |= {name: scored[scored["metadata"] == name] for name in VARIANTS}
    return variant_scores(variants, AS_RECORDED).rename_axis("metadata").reset_index()


def _cells(line: dict[Any, Any]) -> list[str]:
    difference = change(line["difference"], line["difference_ci_low"], line["difference_ci_high"])
    names = method(line) if line["metadata"] == AS_RECORDED else ["", ""]
    return [*names, line["metadata"], number(line["accuracy"]), number(line["f1"]), difference]
