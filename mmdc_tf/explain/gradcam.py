"""Where in an image a network looks: Grad-CAM and LayerCAM for a class, and the model's own attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mmdc_tf.datasets.opencv import cv2
from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import SpatialSelfAttention, TokenFusion
from mmdc_tf.models import BACKBONES

COARSE, FINE = 7, 14
"""Positions a side: of a backbone's last map at 224 pixels, and two stages before."""


def grad_cam(
    model: keras.Model,
    inputs: Mapping[str, np.ndarray],
    class_index: int | Sequence[int] | np.ndarray,
    layer: str | None = None,
) -> np.ndarray:
    """The Grad-CAM heatmaps of some images for a class, brought to the images' size.

    ReLU(Σ_k α_k A_k), where A_k is channel k of a feature map and α_k the mean over its positions of the gradient of
    the class score before the softmax. Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization", ICCV 2017, equations 1 and 2. The map is enlarged bilinearly and divided by its
    maximum, so that heat says where, not how much.

    Args:
        model: functional, with an input ``image``, ending in a Dense layer with softmax, as all registered models do.
        inputs: what the model takes, by name: ``image`` float32 (n, H, W, 3) in [0, 255], and the others. Of a
            two-view model the map is that of ``image``.
        class_index: one for all images, or one for each.
        layer: whose output is taken; None for ``grad_cam_layer``.

    Returns:
        float32 (n, H, W) in [0, 1]; all zero where nothing in the map speaks for the class.

    Raises:
        ConfigurationError: the model is not of this kind, or the layer or class does not exist or gives no map.
    """
    return _heatmaps(model, inputs, class_index, layer, lambda gradients: gradients.mean(axis=(1, 2), keepdims=True))


def layer_cam(
    model: keras.Model, inputs: Mapping[str, np.ndarray], class_index: int | Sequence[int] | np.ndarray, layer: str
) -> np.ndarray:
    """The LayerCAM heatmaps of some images for a class; arguments, result and errors as for ``grad_cam``.

    ReLU(Σ_k ReLU(g_k) · A_k) at each position, g_k the gradient there: unlike Grad-CAM it weighs each position by
    itself, and so means something in early, fine feature maps too. Source: Jiang et al., "LayerCAM: Exploring
    Hierarchical Class Activation Maps for Localization", IEEE TIP 30 (2021) 5875, equations 5 to 7.
    """
    return _heatmaps(model, inputs, class_index, layer, lambda gradients: np.maximum(gradients, 0.0))


def attention_maps(model: keras.Model, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The attention of every ``SpatialSelfAttention`` and ``TokenFusion`` layer of a model, on its own grid.

    It says where a layer looks, not what speaks for a class, and the head may not use what it brings (the spatial layer
    adds it with a factor γ that starts at 0, so γ stands in the name).

    Args:
        model, inputs: as for ``grad_cam``.

    Returns:
        Name to float32 (n, h, w). "self-attention (γ = …)": the mean share of attention that a position gets from all
        positions; a map sums to 1. "fusion, by the clinical token" and "fusion, by the image tokens": the share of
        attention, mean over heads, that the clinical token and on average the image tokens pay to each image token;
        1 minus a map's sum is what goes to the clinical token. Empty for a model without such layers.

    Raises:
        ConfigurationError: an input is missing.
    """
    layers = [layer for layer in model.layers if isinstance(layer, SpatialSelfAttention | TokenFusion)]
    given = model_inputs(model, inputs) if layers else {}
    found: dict[str, np.ndarray] = {}
    for layer in layers:
        before = keras.Model(model.inputs, layer.input)([given[tensor.name] for tensor in model.inputs], training=False)
        scores = np.asarray(layer.attention_scores(before), "float32")
        if isinstance(layer, TokenFusion):  # (n, heads, tokens, tokens), the clinical token first
            side, scores = math.isqrt(scores.shape[-1] - 1), scores.mean(axis=1)
            shares = {"clinical token": scores[:, 0, 1:], "image tokens": scores[:, 1:, 1:].mean(axis=1)}
            maps = {f"fusion, by the {name}": share.reshape(-1, side, side) for name, share in shares.items()}
        else:  # (n, positions, positions)
            maps = {f"self-attention (γ = {float(layer.gamma):.2g})": scores.mean(axis=1).reshape(before.shape[:3])}
        found |= maps if len(layers) == 1 else {f"{layer.name}: {name}": one for name, one in maps.items()}
    return found


def grad_cam_layer(model: keras.Model) -> str:
    """The layer that Grad-CAM takes where none is named; ``ConfigurationError`` for a model without such a map.

    Only feature maps count through which all that the image says must pass, so that no branch is left out: the
    registered Grad-CAM layer of a backbone (``backbones.toml``) where the model has it, otherwise the last such map.
    In a Vision Transformer the tokens that enter the last attention take its place: after it the class does not
    depend on any token of the image.
    """
    path = _image_path(model)
    attentions = [place for place, layer in enumerate(path) if isinstance(layer, keras.layers.MultiHeadAttention)]
    end, rank = (attentions[-1], 3) if attentions else (len(path), 4)
    passed = [layer.name for place, layer in _bottlenecks(path) if place < end and len(layer.output.shape) == rank]
    if not passed:
        raise ConfigurationError(
            "Expected a model with a feature map through which all that the image says passes. "
            f"Received: model={model.name!r} without one. Name a layer."
        )
    known = [name for name in passed if name in {backbone.gradcam_layer for backbone in BACKBONES.values()}]
    return (known or passed)[-1]


def fine_layer(model: keras.Model) -> str | None:
    """The layer for ``layer_cam`` where Grad-CAM's map has fewer than ``COARSE`` positions a side; else None.

    At 64 pixels the last map of most backbones has 2 × 2: it cannot point at a lesion. The layer is the last activation
    among those that ``grad_cam_layer`` looks at whose map has at least ``FINE`` positions a side.
    """
    if max(model.get_layer(grad_cam_layer(model)).output.shape[1:3]) >= COARSE:
        return None
    fine = [
        layer.name
        for _, layer in _bottlenecks(_image_path(model))
        if len(layer.output.shape) == 4
        and min(layer.output.shape[1:3]) >= FINE
        and not (isinstance(layer, keras.layers.ZeroPadding2D) or getattr(layer, "weights", []))  # a convolution
    ]
    return fine[-1] if fine else None


def enlarged(maps: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """Brings heatmaps, float (n, h, w), no value below 0, bilinearly to an image's height and width.

    Returns:
        float32 (n, height, width), each divided by its maximum; a map of zeros stays one.
    """
    large = [cv2.resize(one.astype("float32"), sides[::-1], interpolation=cv2.INTER_LINEAR) for one in np.asarray(maps)]
    return np.stack([one / top if (top := one.max()) > 0 else one for one in large])


def model_inputs(model: keras.Model, inputs: Mapping[str, np.ndarray]) -> dict[str, tf.Tensor]:
    """The tensors that a model takes, by name; ``ConfigurationError`` where one is missing."""
    names = [tensor.name for tensor in model.inputs]
    missing = [name for name in names if name not in inputs]
    if missing:
        raise ConfigurationError(
            f"Expected the inputs {', '.join(names)}. Received: inputs without {', '.join(missing)}. Give NaN for "
            "metadata or a second view that is unknown."
        )
    return {name: tf.convert_to_tensor(inputs[name], "float32") for name in names}


def _heatmaps(
    model: keras.Model,
    inputs: Mapping[str, np.ndarray],
    class_index: int | Sequence[int] | np.ndarray,
    layer: str | None,
    weights: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """ReLU of the sum over channels of feature maps times ``weights`` of their gradients, enlarged."""
    tensors, head = model_inputs(model, inputs), model.layers[-1]
    if not isinstance(head, keras.layers.Dense) or head.activation is not keras.activations.softmax:
        raise ConfigurationError(
            "Expected a model that ends in a Dense layer with softmax. "
            f"Received: model={model.name!r}, which ends in {head.name!r}. Use a model of this package."
        )
    layer = layer or grad_cam_layer(model)
    if layer not in [one.name for one in model.layers]:
        raise ConfigurationError(
            f"Expected a layer of the model. Received: layer={layer!r}. Choose one that model.summary() prints."
        )
    count, height, width = np.shape(inputs["image"])[:3]
    for index in np.ravel(class_index):
        if not 0 <= index < head.units:
            raise ConfigurationError(
                f"Expected a class from 0 to {head.units - 1}. Received: class_index={index}. "
                "Take one of the model's classes."
            )
    parts = keras.Model(model.inputs, [model.get_layer(layer).output, head.input])
    with tf.GradientTape() as tape:
        tape.watch(tensors["image"])  # without which a frozen backbone would not be recorded
        features, hidden = parts([tensors[tensor.name] for tensor in model.inputs], training=False)
        kernel = tf.gather(tf.transpose(head.kernel), np.broadcast_to(np.ravel(class_index), count))
        score = tf.reduce_sum(tf.cast(hidden, "float32") * tf.cast(kernel, "float32"), axis=-1)
    gradients = tape.gradient(score, features, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    maps, slopes = (_as_map(np.asarray(tf.cast(one, "float32")), layer) for one in (features, gradients))
    heat = (weights(slopes[:count]) * maps[:count]).sum(axis=-1)
    return enlarged(np.maximum(heat, 0.0), (height, width))


def _as_map(values: np.ndarray, layer: str) -> np.ndarray:
    """Tokens (n, tokens, C) in a square grid, row by row and with or without a class token before them, as a map."""
    if values.ndim == 4:
        return values
    side = math.isqrt(values.shape[1]) if values.ndim == 3 else 0
    class_token = values.shape[1] - side**2
    if side == 0 or class_token > 1:
        raise ConfigurationError(
            "Expected a layer whose output is a feature map or a square grid of tokens. "
            f"Received: layer={layer!r} with output of shape={values.shape}. Choose another layer."
        )
    return values[:, class_token:].reshape(-1, side, side, values.shape[-1])


def _image_path(model: keras.Model) -> list[Any]:
    """The operations of a model that depend on the image, in topological order, without its input."""
    if "image" not in [tensor.name for tensor in model.inputs]:
        raise ConfigurationError(
            f"Expected a model with an input image. Received: model={model.name!r}. Heatmaps need a model of images."
        )
    reached = {id(tensor) for tensor in model.inputs if tensor.name == "image"}
    path = []
    for operation in model.operations:
        if not isinstance(operation, keras.layers.InputLayer) and reached & _ids(operation.input):
            path.append(operation)
            reached |= _ids(operation.output)
    return path


def _bottlenecks(path: list[Any]) -> list[tuple[int, Any]]:
    """The operations, each with its place, that no connection passes by: a later one never takes from an earlier."""
    last_use = {tensor: 0 for operation in path for tensor in _ids(operation.output)}
    for place, operation in enumerate(path):
        last_use |= {tensor: place for tensor in _ids(operation.input) if tensor in last_use}
    uses = [max(last_use[tensor] for tensor in _ids(operation.output)) for operation in path]
    furthest = [0, *accumulate(uses, max)]  # of all operations before a place
    return [(place, operation) for place, operation in enumerate(path) if furthest[place] <= place]


def _ids(tensors: Any) -> set[int]:
    return {id(tensor) for tensor in keras.tree.flatten(tensors)}
