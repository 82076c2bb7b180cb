"""How the accuracy of each row falls with noise on its images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from mmdc_tf.evaluation.predictions import read_predictions
from mmdc_tf.experiments.results import ROW_COLUMNS, VARIANT_COLUMNS, variant_lines, variant_scores
from mmdc_tf.experiments.robustness import CONDITIONS, NOISE_PREDICTIONS
from mmdc_tf.experiments.rows import PaperTable
from mmdc_tf.experiments.run_folder import run_of
from mmdc_tf.preprocessing.noise import NOISES
from mmdc_tf.report.formatting import by_protocol, grid, method, number, page, write_variants
from mmdc_tf.report.noise_figure import draw_noise

COLUMNS = (*ROW_COLUMNS, "noise", "step", "level", *VARIANT_COLUMNS)
LEGEND = (
    *(f"{noise.title}: {noise.unit}." for noise in NOISES.values()),
    "Noise is added to the image that the model is given, after preprocessing; the same image gets the same noise.",
    "Accuracy, mean over folds and seeds, in per cent.",
)


def write_noise_table(table: PaperTable, output: Path) -> pd.DataFrame:
    """Writes NAME_noise.csv, NAME_noise.md and NAME_noise.png; nothing where no finished row was scored with noise.

    Args:
        table: the paper's table.
        output: the run's folder.

    Returns:
        As ``noise_results``.
    """
    results = noise_results(table, output / table.name)
    path = write_variants(results, table, output, "noise", noise_markdown)
    if path is not None:
        draw_noise(table, results, run_of(output / table.name), path.with_suffix(".png"))
    return results


def noise_results(table: PaperTable, folder: Path) -> pd.DataFrame:
    """The finished rows of which every training was scored with noise, from their predictions files.

    Args:
        table: the paper's table.
        folder: ``OUT/table1``, ``OUT/table2`` or ``OUT/figure3``.

    Returns:
        The columns ``COLUMNS``: one line a row, protocol, noise and step, "clean" (step 0) first. ``level`` is in the
        noise's unit (``mmdc_tf.preprocessing.noise.NOISES``), NaN for clean; the other numbers are as from
        ``mmdc_tf.experiments.results.variant_scores``, compared with clean.

    Raises:
        InputError: a file is not of the same samples throughout.
    """
    return variant_lines(table, folder, NOISE_PREDICTIONS, _scores).reindex(columns=list(COLUMNS))


def noise_markdown(table: PaperTable, results: pd.DataFrame, run: dict[str, Any]) -> str:
    """The accuracies for reading: a table a protocol, a line a row, a column a level.

    Args:
        table: its title is the heading.
        results: as from ``noise_results``.
        run: the content of ``run.json``.
    """
    header = ["Method", "Source", "clean", *(f"{noise} {_level(noise, step):g}" for noise, step in CONDITIONS[1:])]
    parts = by_protocol(results, lambda part: grid(header, map(_cells, _rows(part))))
    return page(f"{table.title}: accuracy under noise", run, parts, LEGEND)


def _rows(part: pd.DataFrame) -> list[pd.DataFrame]:
    return [lines for _, lines in part.groupby("row", sort=False)]


def _cells(lines: pd.DataFrame) -> list[str]:
    return [*method(lines.iloc[0].to_dict()), *map(number, lines["accuracy"])]


def _scores(files: list[Path]) -> pd.DataFrame:
    """The conditions of a row, of which these are the files."""
    parts = dict(iter(read_predictions(files).groupby(["noise", "step"])))
    scores = variant_scores({f"{noise} {step}": parts[noise, step] for noise, step in CONDITIONS}, "clean 0")
    conditions = pd.DataFrame(CONDITIONS, columns=["noise", "step"], index=scores.index)
    levels = [_level(noise, step) for noise, step in CONDITIONS]
    return scores.assign(**conditions, level=levels)


def _level(noise: str, step: int) -> float:
    return NOISES[noise].levels[step - 1] if step else float("nan")
