"""Swin Transformer in numpy, from the definition: an image, a token and a head at a time, no cyclic shift anywhere."""

from __future__ import annotations

import numpy as np
from scipy.special import erf, softmax


def randomise(layer, seed: int = 1) -> None:
    """Weights large enough that each has an effect; the scales of LayerNorm near 1."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        start = 1.0 if weight.name == "gamma" else 0.0
        fan_in = weight.shape[0] if weight.name == "kernel" and len(weight.shape) == 2 else 4
        weight.assign(start + rng.normal(scale=1 / np.sqrt(fan_in), size=weight.shape))


def weights_of(layer) -> list[np.ndarray]:
    return [weight.astype("float64") for weight in layer.get_weights()]


def layer_norm(x: np.ndarray, layer) -> np.ndarray:
    gamma, beta = weights_of(layer)
    centred = x - x.mean(-1, keepdims=True)
    return gamma * centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) + beta


def may_attend(place, other, sides, window: int, shift: int) -> bool:
    """The same window of a grid whose lines lie ``shift`` further: nothing wraps, so nothing needs a mask."""
    shifts = [0 if side <= window else shift for side in sides]
    return all((a - s) // window == (b - s) // window for a, b, s in zip(place, other, shifts, strict=True))


def attention_of_one(x: np.ndarray, layer) -> np.ndarray:
    """Multi-head attention over all pairs of tokens that may attend, (h, w, C) float64."""
    height, width, channels = x.shape
    places = [(row, column) for row in range(height) for column in range(width)]
    qkv, (kernel, bias) = weights_of(layer.qkv), weights_of(layer.projection)
    query, key, value = np.split(x.reshape(-1, channels) @ qkv[0] + qkv[1], 3, axis=-1)
    table = np.asarray(layer.position_bias).astype("float64")
    size, length = channels // layer.heads, 2 * layer.window - 1
    output = np.zeros((len(places), channels))
    for i, (row, column) in enumerate(places):
        mates = [j for j, b in enumerate(places) if may_attend(places[i], b, x.shape[:2], layer.window, layer.shift)]
        offsets = [(row - places[j][0], column - places[j][1]) for j in mates]
        entries = [(down + layer.window - 1) * length + right + layer.window - 1 for down, right in offsets]
        for head in range(layer.heads):
            part = slice(head * size, (head + 1) * size)
            scores = key[mates, part] @ query[i, part] / np.sqrt(size) + table[entries, head]
            output[i, part] = softmax(scores) @ value[mates, part]
    return (output @ kernel + bias).reshape(x.shape)


def attention(x: np.ndarray, layer) -> np.ndarray:
    return np.stack([attention_of_one(one, layer) for one in x.astype("float64")])


def block(x: np.ndarray, layer) -> np.ndarray:
    """Equation 3 of Liu et al., (batch, h, w, C) float64."""
    x = x.astype("float64")
    x = x + attention(layer_norm(x, layer.attention_norm), layer.attention)
    (w1, b1), (w2, b2) = weights_of(layer.hidden), weights_of(layer.output_dense)
    hidden = layer_norm(x, layer.mlp_norm) @ w1 + b1
    return x + hidden * (1 + erf(hidden / np.sqrt(2))) / 2 @ w2 + b2


def patch_merging(x: np.ndarray, layer) -> np.ndarray:
    """Upper left, lower left, upper right, lower right of each 2 × 2, zeros where the map ends."""
    batch, height, width, channels = x.shape
    padded = np.zeros((batch, height + height % 2, width + width % 2, channels))
    padded[:, :height, :width] = x
    four = [padded[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
    return layer_norm(np.concatenate(four, axis=-1), layer.norm) @ weights_of(layer.reduction)[0]


def patch_embedding(x: np.ndarray, layer) -> np.ndarray:
    """Each whole patch times the kernel, position by position, then LayerNorm."""
    kernel, bias = weights_of(layer.projection)
    size = layer.patch
    rows, columns = x.shape[1] // size, x.shape[2] // size
    whole = x[:, : rows * size, : columns * size].astype("float64")
    patches = whole.reshape(len(x), rows, size, columns, size, x.shape[-1])
    return layer_norm(np.einsum("naibjc,ijco->nabo", patches, kernel) + bias, layer.norm)
