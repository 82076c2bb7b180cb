"""Augmentation of training batches by Keras layers; never part of a model, never applied in scoring."""

from __future__ import annotations

from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Augmentation:
    """How far training images are moved.

    Args:
        mirror: left-right mirroring, with probability one half.
        shift: largest shift, as a share of height and width.
        zoom: largest zoom in or out, as a share.
        rotation: largest rotation either way, in degrees.
        brightness: largest change of brightness, in grey levels of 255.
        fill: what is seen beyond the border: a fill mode of Keras' random layers.
    """

    mirror: bool = True
    shift: float = 0.1
    zoom: float = 0.1
    rotation: float = 0.0
    brightness: float = 0.0
    fill: str = "reflect"


def augmentation_layers(settings: Augmentation, seed: int) -> list[keras.layers.Layer]:
    """The Keras layers for these settings, for float32 images (batch, H, W, 3) in [0, 255].

    A setting of zero adds no layer. The same seed draws the same movements.
    """
    layers: list[keras.layers.Layer] = []
    if settings.mirror:
        layers.append(keras.layers.RandomFlip("horizontal", seed=seed))
    if settings.shift:
        layers.append(keras.layers.RandomTranslation(settings.shift, settings.shift, settings.fill, seed=seed + 1))
    if settings.zoom:
        layers.append(keras.layers.RandomZoom(settings.zoom, None, settings.fill, seed=seed + 2))
    if settings.rotation:
        layers.append(keras.layers.RandomRotation(settings.rotation / 360.0, settings.fill, seed=seed + 3))
    if settings.brightness:
        layers.append(keras.layers.RandomBrightness(settings.brightness / 255.0, value_range=(0, 255), seed=seed + 4))
    return layers
