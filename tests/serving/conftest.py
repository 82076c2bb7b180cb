"""Saved models of each kind, which the tests of this folder look at and change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from served_model import write_model


@pytest.fixture
def saved(saved_models, tiny_backbone, tmp_path_factory, tmp_path):
    """Copies of saved models by name, each to be changed: ``saved("mmdcnet")``."""
    arguments = {"mmdcnet": {"conv_filters": 8, "grid": 2}}

    def copy(model: str = "mmdcnet") -> Path:
        if model not in saved_models:
            more = {"backbone": tiny_backbone, **arguments.get(model, {})}
            saved_models[model] = write_model(tmp_path_factory.mktemp(model), model, **more)
        return shutil.copytree(saved_models[model], tmp_path / "models" / model, dirs_exist_ok=True)

    return copy
