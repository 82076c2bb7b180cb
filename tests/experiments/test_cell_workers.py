"""Trainings in other processes, on this machine and on a Ray cluster of several nodes: the same files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_workers
from small_run import CELLS, PLAIN, execute, make_plan

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.experiments.exchange import Exchange
from mmdc_tf.experiments.grid import Plan, make_cells
from mmdc_tf.experiments.rows import Row
from mmdc_tf.experiments.runner import run_cells
from mmdc_tf.preprocessing.batch import prepare_worker, preprocess_folder
from mmdc_tf.training.feature_store import CacheSettings, list_entries
from mmdc_tf.training.recipe import load_profile
from mmdc_tf.workers.on_ray import OnRay, TaskResources

MEAN = Row("mean", "Mean", "here", members=("plain",))
COMPARED = ("predictions.csv", "validation_predictions.csv", "history.csv")
ROWS = (PLAIN, MEAN)


@pytest.fixture
def alone(memory, dataset, tmp_path_factory, tiny_backbone) -> dict[str, bytes]:
    """What the run folder of all rows holds that were trained in this process."""
    if "alone" not in memory:
        plan = plan_of(dataset, tmp_path_factory.mktemp("alone"))
        assert execute(plan)[0] == 0
        memory["alone"] = contents(plan.output)
    return memory["alone"]


@pytest.fixture(scope="module")
def homes(tmp_path_factory) -> list[Path]:
    """Of two nodes that share no folder."""
    return [tmp_path_factory.mktemp("node") for _ in range(2)]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of an S3 server on this machine, which later processes find in their environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "phantom")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "phantom")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="runs")
        yield "s3://runs"
    server.stop()


@pytest.fixture(scope="module")
def cluster(homes, bucket) -> Iterator:
    with tiny_workers.cluster(homes) as made:
        yield made


def plan_of(dataset, output: Path, **changes) -> Plan:
    profile = load_profile("quick", image_size=32, epochs=1, folds=2, feature_views=2)
    fixed = {"profile": profile, "cut": "tiny_pool1", "cache": CacheSettings(output / "features")}
    return make_plan(dataset, output, ROWS, **fixed | changes)


def contents(output: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(output)): path for name in COMPARED for path in output.rglob(name)}
    return {name: path.read_bytes() for name, path in found.items()}


def pictures(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_processes_of_this_machine_give_the_files_of_one_process(alone, dataset, tmp_path, tiny_backbone, capsys):
    plan = plan_of(dataset, tmp_path)
    failures, calls = execute(plan, where=tiny_workers.processes(2))
    assert (failures, calls) == (0, len(ROWS) * len(CELLS))
    assert len(contents(tmp_path)) == len(ROWS) * len(CELLS) * len(COMPARED)
    assert contents(tmp_path) == alone
    said = capsys.readouterr().out
    assert said.count("accuracy") == len(ROWS) * len(CELLS)
    assert said.count("stored in") <= 2  # two processes may share the filling of one entry
    assert all(entry.images_done == 48 for entry in list_entries(plan.cache.folder))


def test_a_cluster_without_a_common_folder_that_loses_a_node_gives_the_files_of_one_process(
    alone, cluster, homes, dataset, tmp_path, bucket, capsys
):
    made, nodes = cluster
    exchange = Exchange(f"{bucket}/run")
    exchange.require_usable()
    plan = plan_of(dataset, tmp_path, cache=CacheSettings(Path("~/features")))
    ended = []

    def lose_a_node() -> None:
        ended.append(1)
        if len(ended) == 1:
            made.remove_node(nodes[0], allow_graceful=False)

    assert run_cells(plan, make_cells(plan), after_cell=lose_a_node, where=tiny_workers.on_ray(exchange)) == 0
    assert contents(plan.output) == alone
    assert capsys.readouterr().out.count("stored in") == 1  # once for the cluster
    assert [entry.images_done for entry in list_entries(homes[1] / "features")] == [48, 48]
    (plan.folder / "plain" / CELLS[0] / "status.json").unlink()  # as if this process had been killed before it came
    assert execute(plan, where=tiny_workers.on_ray(exchange)) == (0, 1)
    assert "was finished in s3://runs/run" in capsys.readouterr().out
    assert contents(plan.output) == alone
    curves = [path.relative_to(plan.folder).parts for path in plan.output.rglob("*tfevents*")]
    assert {parts[2] for parts in curves} == {"tb"}  # of the row and protocol, for all its folds
    assert len(curves) == len(CELLS)  # the mean has none


def test_a_folder_of_scans_on_a_cluster_gives_the_files_of_one_machine(cluster, dataset, tmp_path):
    on_cluster = OnRay(None, TaskResources(1, 0, tiny_workers.MEMORY), prepare_worker, bundle=5)
    results = [
        preprocess_folder(dataset.root, tmp_path / name, "lesion-safe", 32, workers)
        for name, workers in (("here", 1), ("there", on_cluster))
    ]
    assert [len(result.rows) for result in results] == [48, 48]
    one, two = (pictures(tmp_path / name) for name in ("here", "there"))
    assert len(one) == 48 and one == two
    here, there = ([replace(row, seconds=0) for row in result.rows] for result in results)
    assert here == there


def test_a_task_that_no_node_can_hold_is_refused(cluster, dataset, tmp_path):
    too_large = OnRay(None, TaskResources(3, 0, tiny_workers.MEMORY), prepare_worker)
    with pytest.raises(ConfigurationError, match=r"Expected a node with 3 CPUs.*at most 1 CPUs.*--task-cpus"):
        preprocess_folder(dataset.root, tmp_path, "lesion-safe", 32, too_large)
