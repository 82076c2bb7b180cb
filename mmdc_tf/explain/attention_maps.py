"""Where a model's own attention looks: spatial self-attention, and the fusion of image and clinical tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras
import numpy as np

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.explain.gradcam import model_inputs
from mmdc_tf.layers import SpatialSelfAttention, TokenFusion


def attention_maps(model: keras.Model, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The attention of every ``SpatialSelfAttention`` and ``TokenFusion`` layer of a model, on its own grid.

    It says where a layer looks, not what speaks for a class: it is the same for all classes, and the head may not use
    what it brings (the spatial layer adds it with a factor γ that starts at 0, so γ stands in the name).

    Args:
        model: functional, with an input ``image``.
        inputs: what the model takes, by name, as for ``grad_cam``.

    Returns:
        Name to float32 (n, h, w). "self-attention (γ = …)": the mean share of attention that a position gets from all
        positions; a map sums to 1. "fusion, by the clinical token" and "fusion, by the image tokens": the share of
        attention, mean over heads, that the clinical token and on average the image tokens pay to each image token;
        1 minus a map's sum is what goes to the clinical token. Empty for a model without such layers.

    Raises:
        ConfigurationError: an input is missing, or the image tokens of a fusion form no square.
    """
    layers = [layer for layer in model.layers if isinstance(layer, SpatialSelfAttention | TokenFusion)]
    found: dict[str, np.ndarray] = {}
    for layer in layers:
        given = model_inputs(model, inputs)
        before = keras.Model(model.inputs, layer.input)([given[tensor.name] for tensor in model.inputs], training=False)
        scores = np.asarray(layer.attention_scores(before), "float32")
        maps = _fusion(scores) if isinstance(layer, TokenFusion) else _spatial(scores, before.shape, float(layer.gamma))
        found |= maps if len(layers) == 1 else {f"{layer.name}: {name}": one for name, one in maps.items()}
    return found


def _spatial(scores: np.ndarray, shape: tuple[int, ...], gamma: float) -> dict[str, np.ndarray]:
    """(n, h·w, h·w) → (n, h, w)."""
    received = scores.mean(axis=1).reshape(-1, shape[1], shape[2])
    return {f"self-attention (γ = {gamma:.2g})": received}


def _fusion(scores: np.ndarray) -> dict[str, np.ndarray]:
    """(n, heads, 1 + grid², 1 + grid²), the clinical token first → two maps (n, grid, grid)."""
    scores = scores.mean(axis=1)
    side = math.isqrt(scores.shape[1] - 1)
    if side**2 != scores.shape[1] - 1:
        raise ConfigurationError(
            "Expected one clinical token and a square grid of image tokens. "
            f"Received: tokens={scores.shape[1]}. Use a model of this package."
        )
    clinical, image = scores[:, 0, 1:], scores[:, 1:, 1:].mean(axis=1)
    return {
        "fusion, by the clinical token": clinical.reshape(-1, side, side),
        "fusion, by the image tokens": image.reshape(-1, side, side),
    }
