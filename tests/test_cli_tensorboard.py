"""``mmdc-tf run --tensorboard``: what is written for TensorBoard, and that the choice changes no result."""

from __future__ import annotations

from pathlib import Path

import pytest
from event_files import events

from mmdc_tf.cli import main

pytestmark = pytest.mark.usefixtures("small_phantoms")


def run(output: Path, *options: str) -> int:
    arguments = ["--table", "2", "--rows", "metadata_only", "--protocol", "paper", "--output", str(output)]
    return main(["run", *arguments, *options])


def test_a_finished_run_shows_its_test_parts(shared_output):
    assert run(shared_output) == 0
    tags = events(shared_output / "table2" / "metadata_only" / "paper" / "tb").Tags()["tensors"]
    assert {"test/accuracy (%)", "test/cancer/pr_curves", "test/confusion matrix"} <= set(tags)
    assert "_hparams_/session_start_info" in tags


@pytest.mark.parametrize(("options", "expected"), [([], "full"), (["--tensorboard", "curves"], "curves")])
def test_curves_alone_can_be_wanted_and_a_run_may_continue_so(shared_output, monkeypatch, options, expected):
    plans, shown = [], []
    monkeypatch.setattr("mmdc_tf.experiments.run.run_trainings", lambda plan, *_, **__: plans.append(plan) or 0)
    monkeypatch.setattr("mmdc_tf.report.tensorboard.write_test_evidence", lambda *_, **__: shown.append(1))
    assert run(shared_output, *options) == 0
    assert plans[0].tensorboard == expected
    assert bool(shown) == (expected == "full")
    assert "tensorboard" not in plans[0].shared_config()  # which a run that continues must find the same


def test_an_unknown_choice_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--tensorboard", "everything"])
    assert "--tensorboard: invalid choice: 'everything'" in capsys.readouterr().err
