"""A small finished training, and saved models of each kind, which the tests of this folder look at."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from served_model import write_model

from mmdc_tf.datasets.phantom import phantom_mammograms
from mmdc_tf.datasets.schema import Dataset
from mmdc_tf.experiments.plan import Plan, make_trainings
from mmdc_tf.experiments.rows import Row, load_table
from mmdc_tf.experiments.run import run_trainings
from mmdc_tf.training.recipe import load_profile

FUSED = {"backbone": "tiny", "conv_filters": 8, "grid": 2}
ROW = Row("fused", "Fused", "here", (90.0, 90.0, 90.0, 90.0), model="mmdcnet", arguments=FUSED)


@dataclass(frozen=True)
class Trained:
    """A finished training's folder, and the dataset that it was made from."""

    folder: Path
    dataset: Dataset


def _train(root: Path) -> Trained:
    """One fold of the leak-free protocol, on phantoms of 12 patients."""
    dataset = phantom_mammograms(root / "data", patients=12, height=64, seed=1)
    plan = Plan(
        table=replace(load_table("table2"), rows=(ROW,)),
        rows=(ROW,),
        dataset=dataset,
        preprocessing="lesion-safe",
        profile=load_profile("quick", image_size=32, epochs=1, folds=2),
        weights="none",
        cut="auto",
        protocols=("leak-free",),
        seed=3,
        seeds=1,
        output=root / "run",
    )
    cell = make_trainings(plan)[0]
    assert run_trainings(plan, [cell], after_each=lambda: None) == 0
    return Trained(cell.folder, dataset)


@pytest.fixture(scope="session")
def kept() -> dict[str, object]:
    """What was made once, for all tests."""
    return {}


@pytest.fixture
def trained(kept, tiny_backbone, tmp_path_factory) -> Trained:
    if "trained" not in kept:
        kept["trained"] = _train(tmp_path_factory.mktemp("trained"))
    return kept["trained"]


@pytest.fixture
def saved(kept, tiny_backbone, tmp_path_factory, tmp_path):
    """Copies of saved models by name, each to be changed: ``saved("mmdcnet")``."""
    alone = {"backbone": tiny_backbone}
    arguments = {"mmdcnet": FUSED, "two_view_classifier": alone, "backbone_classifier": alone}

    def copy(model: str = "mmdcnet") -> Path:
        if model not in kept:
            kept[model] = write_model(tmp_path_factory.mktemp(model), model, **arguments[model])
        return shutil.copytree(kept[model], tmp_path / "models" / model, dirs_exist_ok=True)

    return copy
