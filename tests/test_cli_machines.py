"""``--executor``, ``--jobs`` and what belongs to Ray, at the command line."""

from __future__ import annotations

import pytest
from command_line import refused

from mmdc_tf.cli import main
from mmdc_tf.datasets.jobs import Executor


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--ray-address", "head:6379"], "Expected --ray-address with --executor ray only"),
        (["--task-cpus", "2"], "Expected --task-cpus with --executor ray only"),
        (["--executor", "ray", "--jobs", "2"], "Expected --jobs with --executor local only"),
        (["--jobs", "2", "--devices", "all"], "Expected --devices all with one training at a time"),
        (["--jobs", "0"], "expected a whole number of at least 1, received '0'"),
        (["--executor", "ray", "--task-gpus", "-1"], "expected a number of at least 0, received '-1'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_do_not_fit_are_one_line(options, expected, tmp_path, capsys):
    error = refused(capsys, "run", "--table", "2", "--rows", "metadata_only", "--output", tmp_path / "run", *options)
    assert expected in error
    assert not (tmp_path / "run").exists()


def test_a_cluster_that_does_not_answer_is_one_line(busi, tmp_path, capsys):
    options = ("--executor", "ray", "--ray-address", "127.0.0.1:1")
    error = refused(
        capsys, "preprocess", "--input", busi, "--output", tmp_path / "png", "--recipe", "ultrasound", *options
    )
    assert "Expected a Ray cluster that answers. Received: ray_address=127.0.0.1:1" in error


@pytest.mark.usefixtures("small_phantoms")
def test_the_options_reach_the_trainings(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("mmdc_tf.experiments.run.run_trainings", lambda *_, executor, **__: given.append(executor) or 1)
    command = ["run", "--table", "2", "--rows", "metadata_only", "--output", str(tmp_path / "run")]
    assert main([*command, "--jobs", "2"]) == 1
    cluster = ["--ray-address", "head:6379", "--task-cpus", "3", "--task-gpus", "0.5"]
    assert main([*command, "--executor", "ray", *cluster]) == 1
    assert main(command) == 1
    ray = Executor(ray=True, address="head:6379", cpus=3, gpus=0.5, memory=4 * 10**9)
    assert given == [Executor(2), ray, Executor()]
