"""The real BUSI, whose near-twins are searched for once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmdc_tf.datasets.busi import load_busi
from mmdc_tf.datasets.schema import Dataset


@pytest.fixture(scope="session")
def real_busi(real_data: Path) -> Dataset:
    return load_busi(real_data / "busi" / "Dataset_BUSI_with_GT")
