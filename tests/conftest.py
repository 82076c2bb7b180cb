"""Shared fixtures: where the real data are, and small phantoms."""

from __future__ import annotations

import os

# Before the libraries load. scikit-learn's threads wait for each other in a loop, and two test processes on two cores
# take turns at that: boosted trees over 7,808 patients took 82 s of processor time so, and take 14 s with one thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

PROJECT_ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with ``busi`` and ``mini-ddsm``; skips where it is absent, fails where it must be there."""
    root = Path(os.environ.get("MMDC_TF_TEST_DATA", PROJECT_ROOT.parent / "shared" / "datasets"))
    if root.is_dir():
        return root
    reason = f"real data not found under {root} (set MMDC_TF_TEST_DATA)"
    if os.environ.get("MMDC_TF_REQUIRE_DATA"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def tiny_backbone() -> Iterator[str]:
    """Registers the backbone ``"tiny"`` for one test: two convolutions that build and train in a moment."""
    import made_up_backbone

    with made_up_backbone.registered() as name:
        yield name


@pytest.fixture
def small_phantoms(monkeypatch) -> None:
    """The command's own phantoms, of a few patients."""
    from mmdc_tf.commands import run

    monkeypatch.setattr(run, "PHANTOM_PATIENTS", 12)
    monkeypatch.setattr(run, "PHANTOM_IMAGES", 40)


@pytest.fixture(scope="module")
def shared_output(tmp_path_factory) -> Path:
    """An output folder for several runs, so that the phantom is drawn once."""
    return tmp_path_factory.mktemp("output")


@pytest.fixture
def busi(tmp_path) -> Path:
    """A folder in the layout of BUSI with six images of each class, no two alike."""
    from mmdc_tf.datasets.opencv import cv2

    rng = np.random.default_rng(0)
    for name in ("benign", "malignant", "normal"):
        for number in range(1, 7):
            path = tmp_path / "busi" / name / f"{name} ({number}).png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), rng.integers(0, 256, (40, 40), dtype=np.uint8))
    return tmp_path / "busi"


@pytest.fixture(scope="session")
def saved_models() -> dict[str, Path]:
    """What was written once, for all tests of a process."""
    return {}


@pytest.fixture
def saved(saved_models, tiny_backbone, tmp_path_factory, tmp_path) -> Callable[..., Path]:
    """Copies of saved models by name, each the folder of a small training, to be changed: ``saved("mmdcnet")``."""
    from served_model import write_model

    arguments = {"mmdcnet": {"conv_filters": 8, "grid": 2}}

    def copy(model: str = "mmdcnet") -> Path:
        if model not in saved_models:
            more = {"backbone": tiny_backbone, **arguments.get(model, {})}
            saved_models[model] = write_model(tmp_path_factory.mktemp(model), model, **more)
        return shutil.copytree(saved_models[model], tmp_path / "models" / model, dirs_exist_ok=True)

    return copy


@pytest.fixture
def phantom_model(saved) -> Path:
    """One of them, as if of a phantom."""
    from served_model import change_card

    return change_card(saved(), notice="phantom: not a reproduction")
