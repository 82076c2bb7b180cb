"""What ``mmdc-tf run`` says of a whole table, to people and to programs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdc_tf.errors import RESEARCH_USE

if TYPE_CHECKING:
    import pandas as pd

    from mmdc_tf.experiments.grid import Plan

WIDTH = 110
"""Of what is printed, in characters."""


def tell_table(plan: Plan, results: pd.DataFrame) -> None:
    """Says the finished table, what follows from it, and the files that hold it.

    Args:
        plan: what was run.
        results: the table's numbers, as from ``mmdc_tf.report.tables.write_tables``.
    """
    from mmdc_tf.datasets.schema import NOTICE
    from mmdc_tf.report.conclusion import conclusion, terminal_table

    notice = f" ({NOTICE})" if plan.dataset.info.synthetic else ""
    said = conclusion(plan.table, results, plan.folder)
    parts = [
        plan.table.title + notice,
        terminal_table(results),
        "\n".join(textwrap.fill(text, WIDTH) for text in said),
        RESEARCH_USE,
    ]
    print("\n" + "\n\n".join(parts) + f"\n\nfiles: {plan.output}/{plan.table.name}.md, .csv, .tex and more")


def next_commands(plan: Plan, results: pd.DataFrame) -> list[str]:
    """Two commands to go on with: where the best network looked, or an audit of the data; and TensorBoard.

    Args:
        plan: what was run.
        results: the table's numbers, as from ``mmdc_tf.report.tables.write_tables``.
    """
    free = results[(results["protocol"] == "leak-free") & (results["status"] == "ok")]
    best = free.sort_values("accuracy", ascending=False, kind="stable")["row"]
    models = [folder for row in best for folder in sorted((plan.folder / row / "leak-free").glob("*/model.keras"))[:1]]
    dataset = plan.dataset
    first = ["mmdc-tf", "audit", "--dataset", plan.table.dataset, "--root", dataset.root, "--output", plan.output]
    if models:
        first = ["mmdc-tf", "explain", "--model", models[0].parent, "--output", plan.output / "heatmaps"]
        first += _scan(models[0].parent, dataset.table)
    return [_typed(first), _typed(["tensorboard", "--logdir", plan.output])]


def _scan(training: Path, table: pd.DataFrame) -> list[Any]:
    """The first test image with a lesion mask, or the first of all, with what is known of its patient."""
    import pandas as pd

    tested = table[table["sample_id"].isin(pd.read_csv(training / "predictions.csv")["sample_id"])]
    one = tested.sort_values("lesion_masks", key=lambda masks: masks.str.len() == 0, kind="stable").iloc[0]
    known = {name: one[name] for name in ("age", "density") if pd.notna(one[name])}
    return [*(word for name, value in known.items() for word in (f"--{name}", f"{value:g}")), one["image_path"]]


def _typed(words: list[Any]) -> str:
    """As it can be typed here: a program beside this Python, where it is not on the path, is named with its folder."""
    program, *others = map(str, words)
    if shutil.which(program) is None:
        program = os.path.relpath(Path(sys.executable).with_name(program))
    return shlex.join([program, *others])
