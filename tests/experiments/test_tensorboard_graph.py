"""The graph of a network's layers: all layers, all connections, grouped by block."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from mmdc_tf.experiments.tensorboard_graph import grouped_name, model_graph
from mmdc_tf.models import ModelSettings, build_model

FUSED = {"backbone": "tiny", "conv_filters": 8, "grid": 2}


def connections(config: Any) -> set[str]:
    """The layers from which the tensors in a part of Keras' own configuration come."""
    if isinstance(config, dict) and config.get("class_name") == "__keras_tensor__":
        return {config["config"]["keras_history"][0]}
    inner = config.values() if isinstance(config, dict) else config if isinstance(config, list | tuple) else ()
    return {name for part in inner for name in connections(part)}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("mmdcnet", FUSED), ("two_view_classifier", {"backbone": "tiny"}), ("medfuse", {"backbone": "tiny"})],
)
def test_nodes_and_connections_are_those_that_keras_saves(tiny_backbone, name, arguments):
    model = build_model(name, ModelSettings(32), **arguments)
    graph = model_graph(model)
    plain = {node.name: node.name.split("/")[-1] for node in graph.node}
    assert len(plain) == len(graph.node) == len(model.operations)
    drawn = {plain[node.name]: {plain[source] for source in node.input} for node in graph.node}
    layers = model.get_config()["layers"]
    assert drawn == {layer["name"]: connections(layer["inbound_nodes"]) for layer in layers}


def test_a_node_tells_kind_shape_and_parameters(tiny_backbone):
    graph = model_graph(build_model("backbone_classifier", ModelSettings(32), backbone="tiny"))
    (node,) = [node for node in graph.node if node.name.endswith("tiny_conv1")]
    assert node.op == "Conv2D"
    (shape,) = node.attr["_output_shapes"].list.shape
    assert [dimension.size for dimension in shape.dim] == [-1, 32, 32, 4]
    assert node.attr["parameters"].i == 3 * 3 * 3 * 4


@pytest.mark.parametrize(
    ("name", "grouped"),
    [
        ("conv2_block1_0_bn", "conv2/conv2_block1/conv2_block1_0_bn"),
        ("block2a_expand_conv", "block2a/block2a_expand_conv"),
        ("block1_conv1", "block1/block1_conv1"),
        ("pool2_relu", "pool2/pool2_relu"),
        ("conv2d_12", "conv2d_12"),
        ("batch_normalization_3", "batch_normalization_3"),
        ("probabilities", "probabilities"),
    ],
)
def test_names_are_grouped_by_the_blocks_that_they_start_with(name, grouped):
    assert grouped_name(name) == grouped


def test_densenets_blocks_are_groups():
    model = build_model("bcdnet", ModelSettings(32), backbone="densenet121")
    assert isinstance(model, keras.Model)
    tops = {node.name.split("/")[0] for node in model_graph(model).node}
    assert {"conv1", "conv2", "conv3", "conv4", "conv5"} <= tops
    assert len(tops) < 30 < len(model.operations)
