"""Shared fixtures: where the real data are, and small phantoms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

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
