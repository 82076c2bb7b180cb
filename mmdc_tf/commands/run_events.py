"""What ``mmdc-tf run`` says of a whole table, to people and to programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mmdc_tf import events
from mmdc_tf.notices import RESEARCH_USE

if TYPE_CHECKING:
    import pandas as pd

    from mmdc_tf.experiments.grid import Plan


def tell_plan(plan: Plan, trainings: int, text: str) -> None:
    """Says what is to be run.

    Args:
        plan: rows and dataset.
        trainings: how many.
        text: the same for people.
    """
    events.tell("run", text, message=plan.table.title, **_facts(plan, trainings))


def tell_table(plan: Plan, results: pd.DataFrame, text: str) -> None:
    """Says the finished table, and the files that hold it.

    Args:
        plan: what was run.
        results: the table's numbers, as from ``mmdc_tf.report.tables.write_tables``.
        text: the table for people.
    """
    written = sorted(path for path in plan.output.glob(f"{plan.table.name}[._]*") if path.is_file())
    names = ", ".join(path.name for path in written)
    line = f"in {plan.output}: {names}; tensorboard --logdir {plan.output} shows them too"
    events.tell(
        "table",
        f"{text}\n{line}",
        message=line,
        table=plan.table.name,
        rows=json.loads(results.to_json(orient="records")),
        files=[str(path) for path in written],
        **_notices(plan),
    )


def _facts(plan: Plan, trainings: int) -> dict[str, Any]:
    """What programs are told of a run before its first training."""
    dataset = plan.dataset
    return {
        "table": plan.table.name,
        "rows": [row.name for row in plan.rows],
        "trainings": trainings,
        "output": str(plan.output),
        "dataset": dataset.info.name,
        "images": len(dataset.table),
        "classes": dict(dataset.found_counts),
        "groups": int(dataset.table["group_id"].nunique()),
        "command": plan.command,
        **_notices(plan),
    }


def _notices(plan: Plan) -> dict[str, Any]:
    return {"notes": list(plan.dataset.notes), "research_use": RESEARCH_USE}
