"""Weight files under the official names with random numbers: for times, where the real ones cannot be had.

A network with random weights takes as long as one with ImageNet's. BatchNormalization gets the statistics of random
images, so that features are of the order of 1, as they are with real weights, and fit into float16.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

from mmdc_tf.layers import InputScaling
from mmdc_tf.models.backbones import get_backbone

IMAGES, SIZE = 8, 96


def write_weights(names: Iterable[str], folder: Path) -> Path:
    """Writes a weight file of each of these backbones, and returns the folder: for ``--weights``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(set(names)):
        backbone = get_backbone(name)
        keras.utils.set_random_seed(0)
        images = keras.Input((SIZE, SIZE, 3))
        network = backbone.builder(include_top=False, weights=None, input_tensor=InputScaling(backbone.scaling)(images))
        _normalise(network)
        with h5py.File(folder / backbone.weights_file, "w") as file:  # the format of the official files: Keras 2's
            legacy_h5_format.save_weights_to_hdf5_group(file, network)
        keras.utils.clear_session(free_memory=True)
    return folder


def _normalise(network: keras.Model) -> None:
    """Gives BatchNormalization the statistics of random images."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    images = np.random.default_rng(0).uniform(0, 255, (IMAGES, SIZE, SIZE, 3)).astype("float32")
    network([images], training=True)
