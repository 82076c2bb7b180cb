"""A network's layers as TensorBoard's graph page shows them: one node a layer, grouped by block.

Tracing the network would show the operations of each layer, thousands in a DenseNet; Keras' own summary for this page
shows no groups, and cannot be read back for layers that take a number or nothing beside a tensor.
"""

from __future__ import annotations

import re
from typing import Any

import keras
import tensorflow as tf

BLOCK = re.compile(r"(?!conv\dd)[a-z]+\d+[a-z]?")  # conv2, block1, block2a; conv2d is Keras' name for any convolution


def model_graph(model: keras.Model) -> tf.compat.v1.GraphDef:
    """One node a layer, with its kind, output shape and number of parameters, and the connections between them.

    Args:
        model: functional; each layer is called once.
    """
    graph = tf.compat.v1.GraphDef()
    makers: dict[int, str] = {}
    for operation in model.operations:
        name = grouped_name(operation.name)
        _add_node(graph, operation, name, makers)
        makers |= {id(tensor): name for tensor in keras.tree.flatten(operation.output)}
    return graph


def grouped_name(name: str) -> str:
    """The blocks that a layer's name starts with as groups: ``conv2_block1_0_bn`` in ``conv2/conv2_block1``."""
    parts = name.split("_")
    groups = []
    for place, part in enumerate(parts[:-1], start=1):
        if not BLOCK.fullmatch(part):
            break
        groups.append("_".join(parts[:place]))
    return "/".join([*groups, name])


def _add_node(graph: tf.compat.v1.GraphDef, operation: Any, name: str, makers: dict[int, str]) -> None:
    """Adds an operation; ``makers`` says which node each tensor so far comes from."""
    taken = [] if isinstance(operation, keras.layers.InputLayer) else keras.tree.flatten(operation.input)
    node = graph.node.add(name=name, op=type(operation).__name__, input=[makers[id(tensor)] for tensor in taken])
    shapes = [tf.TensorShape(tensor.shape).as_proto() for tensor in keras.tree.flatten(operation.output)]
    node.attr["_output_shapes"].list.shape.extend(shapes)
    if isinstance(operation, keras.layers.Layer):
        node.attr["parameters"].i = operation.count_params()
        node.attr["trainable"].b = operation.trainable
