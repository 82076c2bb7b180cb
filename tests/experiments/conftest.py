"""One small run of a real MMDCNet on a small backbone, which most tests of run folders only look at."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from small_run import FUSED, execute, make_plan

from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.experiments.plan import Plan


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Dataset:
    return phantom_mammograms(tmp_path_factory.mktemp("phantom") / "data", patients=12, height=64, seed=1)


@pytest.fixture(scope="session")
def memory() -> dict[str, Plan]:
    """Where the finished run is kept, so that all tests of this folder look at one."""
    return {}


@pytest.fixture
def run(memory, dataset, tiny_backbone, tmp_path_factory) -> Plan:
    """The plan of a finished run: one row, both protocols, two folds."""
    if "plan" not in memory:
        memory["plan"] = make_plan(dataset, tmp_path_factory.mktemp("run"), (FUSED,))
        execute(memory["plan"])
    return memory["plan"]


@pytest.fixture
def copied(run, tmp_path) -> Plan:
    """A copy of the finished run, to be changed; file times are kept."""
    shutil.copytree(run.output, tmp_path / "copy")
    return replace(run, output=tmp_path / "copy")
