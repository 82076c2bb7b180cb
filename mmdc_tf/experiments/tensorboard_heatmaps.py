"""What a network looks at while it learns: Grad-CAM of a few fixed validation images, in TensorBoard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure

from mmdc_tf.errors import InputError, counted, kind_and_line
from mmdc_tf.explain.drawing import UNIFORM, heat_rows, is_uniform, pixels
from mmdc_tf.explain.gradcam import grad_cam, grad_cam_layer, model_inputs
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset

COUNT = 4
BY_EPOCH, KEPT = "heatmaps/by epoch", "heatmaps/kept weights"
MEANING = (
    "Grad-CAM (Selvaraju et al. 2017) for each image's true class, on images of the validation part. p: the "
    "network's probability for that class. Heat: share of each map's own maximum, so maps say where, not how much."
)
# What a picture may fail by without any fault of the training: a full disk or memory, a network without such a map.
EXPECTED = (InputError, OSError, tf.errors.OpError)


@dataclass(frozen=True)
class FixedImages:
    """The images that are looked at again and again.

    Args:
        inputs: what the network takes, by name, float32 (n, …).
        truth: int (n,), the index of each true class.
        class_names: in the order of the network's outputs.
    """

    inputs: dict[str, np.ndarray]
    truth: np.ndarray
    class_names: tuple[str, ...]


class HeatmapsByEpoch(keras.callbacks.Callback):
    """Draws after epochs 1, 2, 4, 8, … and, when training has ended, with the weights that are kept.

    Nothing that is trained changes: the network runs in inference mode. What cannot be drawn is said in one line, and
    the training goes on.

    Args:
        network: the whole network; what is fitted may be its tail.
        images: what is looked at.
        writer: of the run that TensorBoard shows.
        caption: what stands below each picture.
        say: prints a line.

    Raises:
        ConfigurationError: the network has no feature map for Grad-CAM, or takes no image.
    """

    def __init__(
        self,
        network: keras.Model,
        images: FixedImages,
        writer: tf.summary.SummaryWriter,
        caption: str,
        say: Callable[[str], object],
    ) -> None:
        super().__init__()
        self._network, self._images, self._caption, self._say = network, images, caption, say
        self._layer = grad_cam_layer(network)
        self._writer = writer
        self._epochs = 0
        self._goes_on = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epochs = epoch + 1
        if self._epochs & epoch == 0:  # a power of two
            self._show(BY_EPOCH, f"After epoch {self._epochs}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Keras calls the training's own callbacks first, so the best epoch's weights are back in place."""
        epochs = f", after {counted(self._epochs, 'epoch')}" if self._epochs else ""  # none where all were done before
        self._show(KEPT, f"The weights that are kept{epochs}")

    def _show(self, tag: str, title: str) -> None:
        if not self._goes_on:
            return
        try:
            picture = pixels(heatmap_figure(self._network, self._images, self._layer, title, self._caption))
            with self._writer.as_default():
                tf.summary.image(tag, picture[np.newaxis], step=self._epochs)
            self._writer.flush()
        except EXPECTED as error:
            self._goes_on = False
            self._say(f"note: no more heatmaps in TensorBoard for this training: {kind_and_line(error, 300)}")


def heatmap_figure(network: keras.Model, images: FixedImages, layer: str, title: str, caption: str) -> Figure:
    """The images, and what speaks for each one's true class; arguments as for ``HeatmapsByEpoch``."""
    probabilities = np.asarray(network(model_inputs(network, images.inputs), training=False))
    heats = grad_cam(network, images.inputs, images.truth, layer)
    names = [images.class_names[index] for index in images.truth]
    sure = probabilities[np.arange(len(names)), images.truth]
    return heat_rows(
        title,
        images.inputs["image"][..., 0],  # of every recipe the grey image
        [f"truth: {name}" for name in names],
        heats,
        [f"p({name}) = {share:.2f}{_remark(heat)}" for name, share, heat in zip(names, sure, heats, strict=True)],
        caption,
    )


def _remark(heat: np.ndarray) -> str:
    """Why an image stands without heat."""
    if not heat.any():
        return "\nnothing speaks for it"
    return f"\n{UNIFORM}" if is_uniform(heat) else ""


def fixed_images(validation: pd.DataFrame, settings: InputSettings) -> FixedImages:
    """Reads the images of ``choose`` as the network sees them.

    Args:
        validation: the sample table of the validation part.
        settings: what the tensors are.
    """
    chosen = choose(validation, settings.class_names)
    others = validation[validation["patient_id"].isin(chosen["patient_id"])]
    table = pd.concat([chosen, others]).drop_duplicates("sample_id") if "other_view" in settings.inputs else chosen
    dataset = evaluation_dataset(table, settings).unbatch().take(len(chosen)).batch(len(chosen))
    inputs, labels = next(iter(dataset.as_numpy_iterator()))
    return FixedImages(inputs, labels.argmax(axis=1), settings.class_names)


def choose(validation: pd.DataFrame, class_names: tuple[str, ...]) -> pd.DataFrame:
    """At most ``COUNT`` rows, always the same: one of each class, then a second of each, by ``sample_id``."""
    table = validation.sort_values("sample_id", kind="stable")
    turn = table.groupby("label").cumcount()
    place = table["label"].map(class_names.index)
    return table.iloc[np.lexsort((place, turn))[:COUNT]]
