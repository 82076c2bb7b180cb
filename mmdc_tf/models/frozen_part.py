"""A model with frozen layers as two: the frozen part, which gives an image the same features always, and the rest.

Both share their layers with the whole model: what the rest learns, the whole model has learned.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import keras
import numpy as np

from mmdc_tf.inputs.features import FEATURES
from mmdc_tf.models.backbones import require_layer


@dataclass(frozen=True)
class FrozenSplit:
    """The two parts of a model.

    Args:
        cut: the last frozen layer.
        frozen: from the image, float32 (batch, S, S, 3) in [0, 255], to the list of feature maps that the rest takes,
            (batch, h, w, channels) each; one for a plain cut, more where a later layer reads an earlier feature map.
        tail: from ``{"features0": …, "features1": …}`` and the model's other inputs (``"metadata"``) to its output.
    """

    cut: str
    frozen: keras.Model
    tail: keras.Model

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """(h, w, channels) of each feature map."""
        return tuple(tuple(output.shape[1:]) for output in self.frozen.outputs)

    @property
    def precision(self) -> str:
        """The dtype policy that the frozen part computes in."""
        return self.frozen.layers[-1].dtype_policy.name

    @property
    def weights_digest(self) -> str:
        """A hash of all weights of the frozen part, 16 hexadecimal digits: the same digest, the same features."""
        digest = hashlib.sha256()
        for weight in self.frozen.weights:
            digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
        return digest.hexdigest()[:16]


def split_frozen(model: keras.Model, cut: str) -> FrozenSplit | None:
    """Splits a model whose layers are frozen up to ``cut`` (``freeze_through``).

    Args:
        model: functional, with a dictionary of inputs.
        cut: the name of the last frozen layer.

    Returns:
        The two parts; None where the frozen part takes more than the image alone, as that of a model of two views,
        whose batch holds both of them.

    Raises:
        ConfigurationError: the model has no such layer.
    """
    inputs = {tensor.name: tensor for tensor in model.inputs}
    before = keras.Model(model.inputs, require_layer(model, cut).output)
    if [tensor.name for tensor in _used(before)] != ["image"]:
        return None
    features = _crossing(model, before)
    others = {name: tensor for name, tensor in inputs.items() if name != "image"}
    for index, tensor in enumerate(features):
        tensor.name = f"{FEATURES}{index}"  # which the tail's inputs are named after
    named = {tensor.name: tensor for tensor in features}
    frozen = keras.Model({"image": inputs["image"]}, features, name="frozen_part")
    return FrozenSplit(cut, frozen, keras.Model({**named, **others}, model.output, name=f"{model.name}_tail"))


def _used(model: keras.Model) -> list[keras.KerasTensor]:
    """The inputs that the output depends on."""
    read = {id(tensor) for tensors in _sources(model).values() for tensor in tensors}
    return [tensor for tensor in model.inputs if id(tensor) in read]


def _crossing(model: keras.Model, before: keras.Model) -> list[keras.KerasTensor]:
    """The outputs of frozen layers that other layers read, in the model's order.

    One that follows from the others without any weight, as a ReLU beside a shortcut, is left to the tail.
    """
    sources = _sources(model)
    frozen = {layer.name for layer in before.layers}
    read = {id(tensor) for name, tensors in sources.items() if name not in frozen for tensor in tensors}
    made = [layer for layer in before.layers if not isinstance(layer, keras.layers.InputLayer)]
    crossing = [layer for layer in made if id(layer.output) in read]
    known = {id(layer.output) for layer in crossing}
    follows = {layer.name: all(id(tensor) in known for tensor in sources[layer.name]) for layer in crossing}
    return [layer.output for layer in crossing if layer.weights or not follows[layer.name]]


def _sources(model: keras.Model) -> dict[str, list[keras.KerasTensor]]:
    """For each layer the tensors that it takes inside this model; it may be part of other models too."""
    nodes = [node for nodes in model._nodes_by_depth.values() for node in nodes]  # Keras has no public way to list them
    sources: dict[str, list[keras.KerasTensor]] = {}
    for node in nodes:
        sources.setdefault(node.operation.name, []).extend(node.input_tensors)
    return sources
