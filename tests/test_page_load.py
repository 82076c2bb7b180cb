"""The page with several visitors at once: each gets an answer or is told which limit it met, and nothing stays."""

from __future__ import annotations

import os
import sys

import pytest
from command_line import PROJECT
from served_model import write_model

from mmdc_tf.datasets.schema import NOTICE


@pytest.mark.skipif("MMDC_TF_TEST_PAGE_LOAD" not in os.environ, reason="takes 20 s: set MMDC_TF_TEST_PAGE_LOAD=1")
@pytest.mark.timeout(240)
def test_five_visitors_at_once(tiny_backbone, tmp_path, monkeypatch):
    """Broken files and visitors that leave early among them; a short form of benchmarks/page_load.py."""
    pytest.importorskip("gradio")
    if sys.platform != "linux":
        pytest.skip("the memory of a process is read from /proc")
    monkeypatch.syspath_prepend(PROJECT / "benchmarks")
    from page_load import measure

    model = write_model(tmp_path / "model", "backbone_classifier", card={"notice": NOTICE}, backbone=tiny_backbone)
    facts = measure(model, clients=5, seconds=1, rest=3.5)
    assert facts["failures"] == {} and facts["warm_failures"] == 0
    assert facts["answers"]["scan"] >= 5
    assert facts["uploads_left"] == 0
    assert facts["after_mb"] < 1.25 * facts["before_mb"]
