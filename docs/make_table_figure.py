"""Draws a run's table for the README: ``python docs/make_table_figure.py runs/phantom-mammogram-quick/table2.csv``.

Each row that was run: the published accuracy, ours under the paper's protocol, ours leak-free, with intervals: the
dot plot of ``mmdc-tf report``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.experiments.rows import load_table
from mmdc_tf.experiments.run_folder import run_of
from mmdc_tf.report.figures import dot_plot, write_png

OUTPUT = Path(__file__).with_name("table.png")


def main(csv: Path, output: Path = OUTPUT) -> None:
    """Writes the figure; the table's folder, with its ``run.json``, lies beside the CSV."""
    results = pd.read_csv(csv)
    results["label"] = results["label"].str.removesuffix(f" ({NOTICE})")  # the caption says it
    run = run_of(csv.with_suffix(""))
    write_png(dot_plot(load_table(csv.stem).made_from(run), results, run), output)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
