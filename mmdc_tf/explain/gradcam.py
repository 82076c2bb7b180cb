"""Grad-CAM: where in an image a network finds what speaks for a class, on any saved model of this package."""

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
    the class score with respect to it; the score is that before the softmax. Source: Selvaraju et al., "Grad-CAM:
    Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017, equations 1 and 2. The map is
    enlarged bilinearly and divided by its maximum, so that heat says where, not how much.

    Args:
        model: functional, with an input ``image``, ending in a Dense layer with softmax, as all registered models do.
        inputs: what the model takes, by name: ``image`` float32 (n, H, W, 3) in [0, 255], and the others. Of a
            two-view model the map is that of ``image``.
        class_index: the class that is asked about: one for all images, or one for each.
        layer: name of the layer whose output is taken; None for ``grad_cam_layer``.

    Returns:
        float32 (n, H, W) in [0, 1]; all zero where nothing in the map speaks for the class.

    Raises:
        ConfigurationError: the model is not of this kind, or the layer or class does not exist or gives no map.
    """
    return _heatmaps(model, inputs, class_index, layer, _mean_over_positions)


def _mean_over_positions(gradients: np.ndarray) -> np.ndarray:
    return gradients.mean(axis=(1, 2), keepdims=True)


def _heatmaps(
    model: keras.Model,
    inputs: Mapping[str, np.ndarray],
    class_index: int | Sequence[int] | np.ndarray,
    layer: str | None,
    weights: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """ReLU of the sum over channels of feature maps times ``weights`` of their gradients, enlarged."""
    head = _head(model)
    count, *sides = np.shape(inputs["image"])[:3]
    classes = np.broadcast_to([_checked_class(int(index), head.units) for index in np.ravel(class_index)], count)
    features, gradients = _features_and_gradients(model, inputs, classes, layer or grad_cam_layer(model), head)
    heat = (weights(gradients[:count]) * features[:count]).sum(axis=-1)
    return enlarged(np.maximum(heat, 0.0), (sides[0], sides[1]))


def layer_cam(
    model: keras.Model, inputs: Mapping[str, np.ndarray], class_index: int | Sequence[int] | np.ndarray, layer: str
) -> np.ndarray:
    """The LayerCAM heatmaps of some images for a class, brought to the images' size.

    ReLU(Σ_k ReLU(g_k) · A_k) at each position, g_k the gradient there of the class score with respect to channel A_k:
    unlike Grad-CAM it weighs each position by itself, and so means something in early, fine feature maps too. Source:
    Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE TIP 30 (2021) 5875,
    equations 5 to 7.

    Args:
        model, inputs, class_index, layer: as for ``grad_cam``.

    Returns, raises:
        as ``grad_cam``.
    """
    return _heatmaps(model, inputs, class_index, layer, lambda gradients: np.maximum(gradients, 0.0))


def fine_layer(model: keras.Model) -> str | None:
    """The layer for ``layer_cam`` where Grad-CAM's map has fewer than ``COARSE`` positions a side; else None.

    At 64 pixels the last map of most backbones has 2 × 2: it cannot point at a lesion. The layer is the last of those
    that ``grad_cam_layer`` looks among whose map has at least ``FINE`` positions a side.
    """
    if max(model.get_layer(grad_cam_layer(model)).output.shape[1:3]) >= COARSE:
        return None
    passed = [layer for _, layer in _bottlenecks(_image_path(model)) if _is_activation(layer)]
    fine = [layer.name for layer in passed if min(layer.output.shape[1:3]) >= FINE]
    return fine[-1] if fine else None


def _is_activation(layer: Any) -> bool:
    """Whether a layer's output is a map after its non-linearity: no convolution, normalisation or padding."""
    others = isinstance(layer, keras.layers.ZeroPadding2D) or bool(getattr(layer, "weights", []))
    return len(layer.output.shape) == 4 and not others


def grad_cam_layer(model: keras.Model) -> str:
    """The layer that Grad-CAM takes where none is named.

    Only feature maps count through which all that the image says must pass, so that no branch is left out: the
    registered Grad-CAM layer of a backbone (``backbones.toml``) where the model has it, otherwise the last such map.
    In a Vision Transformer the tokens that enter the last attention take its place: after it the class does not
    depend on any token of the image.

    Raises:
        ConfigurationError: the model has no input ``image``, or no such map.
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


def enlarged(maps: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """Brings heatmaps bilinearly to an image's size and divides each by its maximum.

    Args:
        maps: float (n, h, w), no value below 0.
        sides: height and width of the result in pixels.

    Returns:
        float32 (n, height, width) in [0, 1]; a map of zeros stays one.
    """
    large = [cv2.resize(one.astype("float32"), sides[::-1], interpolation=cv2.INTER_LINEAR) for one in np.asarray(maps)]
    return np.stack([one / top if (top := one.max()) > 0 else one for one in large])


def model_inputs(model: keras.Model, inputs: Mapping[str, np.ndarray]) -> dict[str, tf.Tensor]:
    """The tensors that a model takes, by name.

    Raises:
        ConfigurationError: one is missing.
    """
    names = [tensor.name for tensor in model.inputs]
    missing = [name for name in names if name not in inputs]
    if missing:
        raise ConfigurationError(
            f"Expected the inputs {', '.join(names)}. Received: inputs without {', '.join(missing)}. Give NaN for "
            "metadata or a second view that is unknown."
        )
    return {name: tf.convert_to_tensor(inputs[name], "float32") for name in names}


def _head(model: keras.Model) -> keras.layers.Dense:
    last = model.layers[-1]
    if not isinstance(last, keras.layers.Dense) or last.activation is not keras.activations.softmax:
        raise ConfigurationError(
            "Expected a model that ends in a Dense layer with softmax. "
            f"Received: model={model.name!r}, which ends in {last.name!r}. Use a model of this package."
        )
    return last


def _checked_class(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise ConfigurationError(
            f"Expected a class from 0 to {count - 1}. Received: class_index={index}. Take one of the model's classes."
        )
    return index


def _features_and_gradients(
    model: keras.Model, inputs: Mapping[str, np.ndarray], classes: np.ndarray, layer: str, head: keras.layers.Dense
) -> tuple[np.ndarray, np.ndarray]:
    """The layer's feature maps and the gradient of each image's class score with respect to them, (n, h, w, C) both."""
    known = [one.name for one in model.layers]
    if layer not in known:
        raise ConfigurationError(
            f"Expected a layer of the model. Received: layer={layer!r}. Choose one that model.summary() prints."
        )
    parts = keras.Model(model.inputs, [model.get_layer(layer).output, head.input])
    tensors = model_inputs(model, inputs)
    with tf.GradientTape() as tape:
        tape.watch(tensors["image"])  # without which a frozen backbone would not be recorded
        features, hidden = parts([tensors[tensor.name] for tensor in model.inputs], training=False)
        weights = tf.gather(tf.transpose(head.kernel), classes)
        score = tf.reduce_sum(tf.cast(hidden, "float32") * tf.cast(weights, "float32"), axis=-1)
    gradients = tape.gradient(score, features, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return _as_map(features, layer), _as_map(gradients, layer)


def _as_map(tensor: tf.Tensor, layer: str) -> np.ndarray:
    """Tokens in a square grid, row by row and with or without a class token before them, as a map."""
    values = np.asarray(tf.cast(tensor, "float32"))
    if values.ndim == 4:
        return values
    side = math.isqrt(values.shape[1]) if values.ndim == 3 else 0
    class_token = values.shape[1] - side**2
    if side == 0 or class_token > 1:
        raise ConfigurationError(
            "Expected a layer whose output is a feature map or a square grid of tokens. "
            f"Received: layer={layer!r} with output of shape={tuple(tensor.shape)}. Choose another layer."
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
    last_use = {id(tensor): 0 for operation in path for tensor in keras.tree.flatten(operation.output)}
    for place, operation in enumerate(path):
        last_use |= {tensor: place for tensor in _ids(operation.input) if tensor in last_use}
    uses = [max(last_use[tensor] for tensor in _ids(operation.output)) for operation in path]
    furthest = [0, *accumulate(uses, max)]  # of all operations before a place
    return [(place, operation) for place, operation in enumerate(path) if furthest[place] <= place]


def _ids(tensors: Any) -> set[int]:
    return {id(tensor) for tensor in keras.tree.flatten(tensors)}
