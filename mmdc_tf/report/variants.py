"""Results of finished rows on changed inputs: what age and density are worth, and what noise costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.evaluation.metadata_variants import AS_RECORDED, VARIANTS
from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.experiments.results import CHANGE, variant_lines, variant_scores
from mmdc_tf.experiments.robustness import CONDITIONS, NOISE_PREDICTIONS
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import PREDICTIONS, run_of
from mmdc_tf.experiments.scoring import METADATA_PREDICTIONS
from mmdc_tf.io import write_text
from mmdc_tf.preprocessing.noise import NOISES
from mmdc_tf.report.figures import noise_curves, write_png
from mmdc_tf.report.formatting import PROTOCOL_TITLES, change, grid, method, number, page, write_csv

METADATA_COLUMNS = ("Age and density", "Accuracy", "Macro F1", "Accuracy − as recorded (95 % interval)")
METADATA_LEGEND = (
    "Unknown: the value is given as not known. Shuffled: patients of the scored part exchange their pairs of values.",
    "Means over folds and seeds. Interval: 95 % paired bootstrap over groups within each fold. All in per cent.",
)
NOISE_LEGEND = (
    *(f"{noise.title}: {noise.unit}." for noise in NOISES.values()),
    "Noise is added to the image that the model is given, after preprocessing; the same image gets the same noise.",
    "Accuracy, mean over folds and seeds, in per cent.",
)


def write_metadata_table(table: PaperTable, output: Path) -> pd.DataFrame:
    """What age and density are worth: NAME_metadata.csv and .md; nothing where no finished row takes them.

    Returns:
        One line a row, protocol and variant of the metadata (the column ``metadata``), "as recorded" first; numbers as
        from ``mmdc_tf.experiments.results.variant_scores``.

    Raises:
        InputError: the two predictions files of a training are not of the same samples.
    """
    results = variant_lines(table, output / table.name, METADATA_PREDICTIONS, _metadata_scores)

    def grid_of(part: pd.DataFrame) -> str:
        return grid(("Method", "Source", *METADATA_COLUMNS), map(_metadata_cells, part.to_dict("records")), texts=3)

    _write(table, output, "metadata", results, "what age and density are worth", grid_of, METADATA_LEGEND)
    return results


def write_noise_table(table: PaperTable, output: Path) -> pd.DataFrame:
    """What noise costs: NAME_noise.csv, .md and .png; nothing where no finished row was scored with noise.

    Returns:
        One line a row, protocol, noise and step (the columns ``noise``, ``step`` and ``level``), "clean" (step 0)
        first. ``level`` is in the noise's unit (``mmdc_tf.preprocessing.noise.NOISES``), NaN for clean; the other
        numbers are as from ``mmdc_tf.experiments.results.variant_scores``, compared with clean.

    Raises:
        InputError: a file is not of the same samples throughout.
    """
    results = variant_lines(table, output / table.name, NOISE_PREDICTIONS, _noise_scores)

    def grid_of(part: pd.DataFrame) -> str:
        rows = [one for _, one in part.groupby("row", sort=False)]
        conditions = rows[0][["noise", "level"]].iloc[1:].itertuples(index=False)
        header = ["Method", "Source", "clean", *(f"{noise} {level:g}" for noise, level in conditions)]
        return grid(header, [[*method(one.iloc[0].to_dict()), *map(number, one["accuracy"])] for one in rows])

    _write(table, output, "noise", results, "accuracy under noise", grid_of, NOISE_LEGEND)
    if len(results):
        figure = noise_curves(table, results, run_of(output / table.name))
        write_png(figure, output / f"{table.name}_noise.png")
    return results


def _write(
    table: PaperTable,
    output: Path,
    name: str,
    results: pd.DataFrame,
    subject: str,
    grid_of: Callable[[pd.DataFrame], str],
    legend: tuple[str, ...],
) -> None:
    """The CSV and, beside it, the page with a grid a protocol; nothing where there is no result."""
    if results.empty:
        return
    run, path = run_of(output / table.name), output / f"{table.name}_{name}.csv"
    write_csv(results, run, path)
    parts = results.groupby("protocol", sort=False)
    texts = [text for name, part in parts for text in (f"## {PROTOCOL_TITLES[str(name)]}", grid_of(part))]
    write_text(path.with_suffix(".md"), page(f"{table.title}: {subject}", run, texts, legend))


def _metadata_scores(files: list[Path]) -> pd.DataFrame:
    """The variants of a row, of which these are the files."""
    scored = read_predictions(files)
    variants = {AS_RECORDED: read_predictions([path.with_name(PREDICTIONS) for path in files])}
    variants |= {name: scored[scored["metadata"] == name] for name in VARIANTS}
    return variant_scores(variants, AS_RECORDED).rename_axis("metadata").reset_index()


def _metadata_cells(line: dict[Any, Any]) -> list[str]:
    names = method(line) if line["metadata"] == AS_RECORDED else ["", ""]
    return [*names, line["metadata"], number(line["accuracy"]), number(line["f1"]), change(line, CHANGE)]


def _noise_scores(files: list[Path]) -> pd.DataFrame:
    """The conditions of a row, of which these are the files."""
    parts = dict(iter(read_predictions(files).groupby(["noise", "step"])))
    scores = variant_scores({f"{noise} {step}": parts[noise, step] for noise, step in CONDITIONS}, "clean 0")
    levels = [NOISES[noise].levels[step - 1] if step else float("nan") for noise, step in CONDITIONS]
    return pd.DataFrame(CONDITIONS, columns=["noise", "step"], index=scores.index).assign(level=levels).join(scores)
