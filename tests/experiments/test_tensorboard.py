"""What TensorBoard is told during a training: it changes no number, and shows the network as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from event_files import events, images, values
from small_run import NUMBERS, PLAIN, TRAININGS, execute, folder_of, make_plan

from mmdc_tf.experiments.plan import Plan
from mmdc_tf.experiments.rows import Row
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset
from mmdc_tf.models import ModelSettings, build_model
from mmdc_tf.models.registry import MODELS, ModelEntry
from mmdc_tf.report import tensorboard_training
from mmdc_tf.report.tensorboard_training import HeatmapsByEpoch, fixed_images, model_graph
from mmdc_tf.training.feature_store import CacheSettings
from mmdc_tf.training.recipe import load_profile

NUMBERS_OF = ("history.csv", "predictions.csv", "validation_predictions.csv", "predictions-metadata.csv")
FOLDS = TRAININGS[1:]
BY_EPOCH, KEPT = "heatmaps/by epoch", "heatmaps/kept weights"


@pytest.fixture
def full(memory, run, tmp_path_factory) -> Plan:
    """The folds of the same run with everything that TensorBoard can be told."""
    if "full" not in memory:
        output = tmp_path_factory.mktemp("full")
        memory["full"] = replace(run, output=output, tensorboard="full", protocols=("leak-free",))
        assert execute(memory["full"])[0] == 0
    return memory["full"]


def shown_in(plan: Plan, row: str = "fused", protocol: str = "leak-free") -> Path:
    """What TensorBoard reads as one run."""
    return plan.folder / row / protocol / "tb"


def test_a_training_gives_the_same_bytes_with_and_without_it(run, full):
    for fold in FOLDS:
        for name in NUMBERS_OF:
            assert (folder_of(full, fold) / name).read_bytes() == (folder_of(run, fold) / name).read_bytes(), name
    assert (full.folder / "run.json").read_bytes() == (run.folder / "run.json").read_bytes()


def test_a_row_and_protocol_is_one_run_and_its_folds_are_tags(run, full):
    """Whose numbers are those of ``history.csv``; graph and heatmaps are of the first fold."""
    assert {path.parent for path in full.output.rglob("*tfevents*")} == {shown_in(full)}
    tags = {"loss": "training loss", "val_accuracy": "validation accuracy", "learning_rate": "training learning rate"}
    for number, fold in enumerate(FOLDS, start=1):
        history = pd.read_csv(folder_of(full, fold) / "history.csv")
        for column, tag in tags.items():
            shown = values(shown_in(full), f"{tag}/fold {number} seed 3")
            assert [step for step, _ in shown] == history["epoch"].tolist()
            np.testing.assert_allclose([value for _, value in shown], history[column], rtol=1e-5)
    assert events(shown_in(full)).Tags()["graph"]
    assert [step for step, _ in images(shown_in(full), BY_EPOCH)] == [1, 2]
    assert [step for step, _ in images(shown_in(full), KEPT)] == [2]
    first, second = (picture for _, picture in images(shown_in(full), BY_EPOCH))
    assert (np.abs(first.astype(int) - second).max(axis=2) > 8).mean() > 0.01
    assert not events(shown_in(run)).Tags()["graph"]


@pytest.fixture
def watched(dataset, tiny_backbone, tmp_path):
    """A network that is not trained, watched by the callback; ``watched.said`` is what it said."""
    model = build_model("backbone_classifier", ModelSettings(32), backbone="tiny")
    settings = InputSettings("paper", 32, 8, dataset.info.class_names, ("image",))
    said: list[str] = []
    writer = tf.summary.create_file_writer(str(tmp_path))
    callback = HeatmapsByEpoch(model, dataset.table, settings, writer, "", said.append)
    callback.said = said
    return callback


def go_through(callback: HeatmapsByEpoch, epochs: int) -> None:
    for epoch in range(epochs):
        callback.on_epoch_end(epoch)
    callback.on_train_end()


def test_heatmaps_come_at_powers_of_two_and_at_the_end(watched, tmp_path):
    go_through(watched, 5)
    assert [step for step, _ in images(tmp_path, BY_EPOCH)] == [1, 2, 4]
    assert [step for step, _ in images(tmp_path, KEPT)] == [5]
    assert watched.said == []


@pytest.mark.parametrize("error", [OSError("No space left on device"), TypeError("not to be hidden")], ids=str)
def test_a_full_disk_ends_the_pictures_and_is_said_once_and_a_mistake_is_not_swallowed(watched, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(tensorboard_training, "grad_cam", fail)
    if isinstance(error, TypeError):
        with pytest.raises(TypeError, match="not to be hidden"):
            go_through(watched, 4)
    else:
        go_through(watched, 4)
        assert len(watched.said) == 1 and "OSError: No space left on device" in watched.said[0]


def test_images_are_one_of_each_class_first_always_the_same_and_as_the_network_takes_them(dataset):
    """The second view too, which may be another image of the table and not one of the four."""
    settings = InputSettings("paper", 32, 8, dataset.info.class_names, ("image", "other_view", "metadata"))
    inputs, truth = fixed_images(dataset.table, settings)
    again, _ = fixed_images(dataset.table.sample(frac=1, random_state=0), settings)
    assert truth.tolist() == [0, 1, 2, 0]
    table = dataset.table.sort_values("sample_id")
    chosen = [table[table["label"] == name]["sample_id"].iloc[0] for name in settings.class_names]
    everything = evaluation_dataset(dataset.table, settings).unbatch().as_numpy_iterator()
    given = dict(zip(dataset.table["sample_id"], everything, strict=True))
    for name in settings.inputs:
        np.testing.assert_array_equal(inputs[name], again[name])
        for place, sample in enumerate(chosen):
            np.testing.assert_array_equal(inputs[name][place], given[sample][0][name], err_msg=name)
    assert not np.isnan(inputs["other_view"]).all()


def test_a_tail_that_is_trained_on_features_is_shown_with_the_whole_network(dataset, tiny_backbone, tmp_path):
    profile = load_profile("quick", image_size=32, epochs=1, folds=2, feature_views=2)
    cache = CacheSettings(tmp_path / "features")
    changes = {"profile": profile, "cut": "tiny_pool1", "cache": cache, "protocols": ("paper",), "tensorboard": "full"}
    plan = make_plan(dataset, tmp_path / "run", (PLAIN,), **changes)
    assert execute(plan)[0] == 0
    shown = shown_in(plan, "plain", "paper")
    status = plan.folder / "plain/paper/fold0-seed3/status.json"
    assert json.loads(status.read_text())["frozen_features"] == "stored"
    assert len(images(shown, BY_EPOCH)) == 1
    nodes = {node.name.split("/")[-1] for node in events(shown).Graph().node}
    assert {"image", "tiny_conv1", "probabilities"} <= nodes


def test_a_network_without_a_feature_map_trains_and_one_line_says_so(dataset, tmp_path, monkeypatch, capsys):
    def build(settings) -> keras.Model:
        image = keras.Input((settings.image_size, settings.image_size, 3), name="image")
        pooled = keras.layers.Rescaling(1 / 255)(keras.layers.GlobalAveragePooling2D()(image))
        return keras.Model({"image": image}, keras.layers.Dense(settings.class_count, "softmax")(pooled))

    monkeypatch.setitem(MODELS, "flat", ModelEntry("flat", build, ("image",)))
    row, profile = Row("flat", "Flat", "here", NUMBERS, model="flat"), load_profile("quick", image_size=32, epochs=1)
    plan = make_plan(dataset, tmp_path, (row,), profile=profile, protocols=("paper",), tensorboard="full")
    assert execute(plan)[0] == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "TensorBoard" in line]
    assert "TensorBoard does not show all of flat: ConfigurationError: Expected a model with a feature map" in line
    assert events(shown_in(plan, "flat", "paper")).Tags()["graph"]


def test_what_was_shown_of_a_row_goes_when_one_of_its_trainings_is_done_again(copied, monkeypatch):
    """Trials and curves of predictions that are no more would stay, where the run goes on without them.

    The other fold's curves stay: its run is the same.
    """

    def train(*_, **__):
        raise RuntimeError("enough seen")

    monkeypatch.setattr("mmdc_tf.experiments.learners.train", train)
    for protocol in ("paper", "leak-free"):
        (shown_in(copied, protocol=protocol) / "events.tfevents.test").touch()
        (shown_in(copied, protocol=protocol) / "made_from.json").write_text("{}")
    before = {path.name for path in shown_in(copied).iterdir()}
    (folder_of(copied, TRAININGS[2]) / "status.json").unlink()
    execute(copied)
    assert (shown_in(copied, protocol="paper") / "made_from.json").is_file()
    left = before & {path.name for path in shown_in(copied).iterdir()}
    assert [name.rpartition(".")[2] for name in left] == ["fold0-seed3"]
    assert {path.suffix for path in shown_in(copied, protocol="paper").iterdir()} > {".fold0-seed3", ".test"}


def connections(config: Any) -> set[str]:
    """The layers from which the tensors in a part of Keras' own configuration come."""
    if isinstance(config, dict) and config.get("class_name") == "__keras_tensor__":
        return {config["config"]["keras_history"][0]}
    inner = config.values() if isinstance(config, dict) else config if isinstance(config, list | tuple) else ()
    return {name for part in inner for name in connections(part)}


@pytest.mark.parametrize("name", ["mmdcnet", "two_view_classifier", "medfuse"])
def test_the_graphs_nodes_and_connections_are_those_that_keras_saves(tiny_backbone, name):
    arguments = {"conv_filters": 8, "grid": 2} if name == "mmdcnet" else {}
    model = build_model(name, ModelSettings(32), backbone="tiny", **arguments)
    graph = model_graph(model)
    plain = {node.name: node.name.split("/")[-1] for node in graph.node}
    assert len(plain) == len(graph.node) == len(model.operations)
    drawn = {plain[node.name]: {plain[source] for source in node.input} for node in graph.node}
    layers = model.get_config()["layers"]
    assert drawn == {layer["name"]: connections(layer["inbound_nodes"]) for layer in layers}
    (node,) = [node for node in graph.node if node.name.endswith("tiny_conv1")]
    (shape,) = node.attr["_output_shapes"].list.shape
    assert (node.op, node.attr["parameters"].i) == ("Conv2D", 3 * 3 * 3 * 4)
    assert [dimension.size for dimension in shape.dim] == [-1, 32, 32, 4]


def test_a_layer_stands_in_the_blocks_that_its_name_starts_with():
    x = inputs = keras.Input((8,), name="image")
    names = ("conv2_block1_0_bn", "block2a_expand_conv", "block1_conv1", "conv2d_12", "batch_normalization_3")
    for name in names:
        x = keras.layers.Dense(8, name=name)(x)
    nodes = [node.name for node in model_graph(keras.Model(inputs, x)).node]
    assert nodes == [
        "image",
        "conv2/conv2_block1/conv2_block1_0_bn",
        "block2a/block2a_expand_conv",
        "block1/block1_conv1",
        "conv2d_12",
        "batch_normalization_3",
    ]
