"""A small run in a process of its own, to be killed; it keeps the state of each training after every epoch."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

LOG = "run.log"


def start(output: Path) -> subprocess.Popen:
    """Runs, or goes on with, the run in ``output``."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / LOG).open("a") as log:
        return subprocess.Popen([sys.executable, __file__, str(output)], stdout=log, stderr=log)


def _run(output: Path) -> int:
    sys.path.insert(0, str(Path(__file__).with_name("experiments")))
    from small_run import FUSED, make_plan

    from mmdc_tf.datasets.phantom import phantom_mammograms
    from mmdc_tf.experiments import learners
    from mmdc_tf.experiments.grid import make_cells
    from mmdc_tf.experiments.run_lock import clear_run
    from mmdc_tf.experiments.runner import run_cells
    from mmdc_tf.report.tables import write_tables
    from mmdc_tf.training.recipe import load_profile

    learners.Checkpoint = functools.partial(learners.Checkpoint, seconds=0)
    dataset = phantom_mammograms(output / "data", patients=12, height=64, seed=1)
    profile = load_profile("quick", image_size=32, epochs=6, folds=2)
    plan = make_plan(dataset, output, (FUSED,), profile=profile)
    clear_run(output, plan.table.name)
    return run_cells(plan, make_cells(plan), after_cell=lambda: write_tables(plan.table, plan.output))


if __name__ == "__main__":
    import made_up_backbone

    with made_up_backbone.registered():
        sys.exit(_run(Path(sys.argv[1])))
