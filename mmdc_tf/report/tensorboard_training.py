"""What TensorBoard is told while a network trains: curves, the graph of its layers, and Grad-CAM by epoch.

A row under one protocol is one run of TensorBoard, and its folds are tags: with a run a fold, a table of ten rows would
have more runs than TensorBoard shows when it is opened (40).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure

from mmdc_tf.datasets.schema import NOTICE
from mmdc_tf.errors import RESEARCH_USE, InputError, counted, kind_and_line
from mmdc_tf.experiments.plan import FULL_EVIDENCE, Plan, Training
from mmdc_tf.experiments.run_folder import TENSORBOARD
from mmdc_tf.explain.drawing import UNIFORM, heat_rows, is_uniform, pixels
from mmdc_tf.explain.gradcam import grad_cam, grad_cam_layer, model_inputs
from mmdc_tf.inputs.pipeline import InputSettings, evaluation_dataset

IMAGES = 4
"""That are looked at again and again."""
MEANING = (
    "Grad-CAM (Selvaraju et al. 2017) for each image's true class, on images of the validation part. p: the "
    "network's probability for that class. Heat: share of each map's own maximum, so maps say where, not how much."
)
# What a picture may fail by without any fault of the training: a full disk or memory, a network without such a map.
EXPECTED = (InputError, OSError, tf.errors.OpError)
BLOCK = re.compile(r"(?!conv\dd)[a-z]+\d+[a-z]?")  # conv2, block1, block2a; conv2d is Keras' name for any convolution
Say = Callable[[str], object]


def tensorboard_callbacks(
    plan: Plan, training: Training, network: keras.Model, validation: pd.DataFrame, settings: InputSettings, say: Say
) -> list[keras.callbacks.Callback]:
    """Curves for every training; graph and heatmaps for the first fold and seed of a row and protocol.

    Args:
        plan: how much is wanted.
        training: all is written into ``tb/`` beside its folder, which its row's folds share.
        network: the whole network.
        validation: the sample table of the validation part, from which the images of the heatmaps are.
        settings: how that part becomes tensors.
        say: prints a line.
    """
    folder = training.folder
    writer = tf.summary.create_file_writer(str(folder.parent / TENSORBOARD), filename_suffix=f".{folder.name}")
    callbacks: list[keras.callbacks.Callback] = [Curves(writer, training)]
    is_first = training.split.fold == 0 and training.seed == plan.seed
    if is_first and plan.tensorboard == FULL_EVIDENCE:
        notice = f" {NOTICE}." if plan.dataset.info.synthetic else ""
        caption = f"{training.row.label}. {MEANING}{notice} {RESEARCH_USE}"
        try:
            with writer.as_default():
                tf.summary.graph(model_graph(network))
            if "image" in training.inputs:  # before the curves, which close the writer
                callbacks.insert(0, HeatmapsByEpoch(network, validation, settings, writer, caption, say))
        except EXPECTED as error:
            say(f"note: TensorBoard does not show all of {training.row.name}: {kind_and_line(error, 300)}")
    return callbacks


class Curves(keras.callbacks.Callback):
    """Loss, accuracy and learning rate of each epoch, counted from 1; closes the writer when the training ends."""

    def __init__(self, writer: tf.summary.SummaryWriter, training: Training) -> None:
        super().__init__()
        self._writer, self._part = writer, f"fold {training.split.fold + 1} seed {training.seed}"

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with self._writer.as_default(step=epoch + 1):
            for name, value in (logs or {}).items():
                part = "validation" if name.startswith("val_") else "training"
                metric = name.removeprefix("val_").replace("_", " ")
                tf.summary.scalar(f"{part} {metric}/{self._part}", value)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._writer.close()


class HeatmapsByEpoch(keras.callbacks.Callback):
    """Draws after epochs 1, 2, 4, 8, … and, when training has ended, with the weights that are kept.

    Nothing that is trained changes. What cannot be drawn is said in one line, and the training goes on. Arguments as
    for ``tensorboard_callbacks``; ``network`` is the whole one, also where its tail is fitted.

    Raises:
        ConfigurationError: the network has no feature map for Grad-CAM, or takes no image.
    """

    def __init__(
        self,
        network: keras.Model,
        validation: pd.DataFrame,
        settings: InputSettings,
        writer: tf.summary.SummaryWriter,
        caption: str,
        say: Say,
    ) -> None:
        super().__init__()
        self._network, self._classes, self._caption, self._say = network, settings.class_names, caption, say
        self._layer = grad_cam_layer(network)
        self._inputs, self._truth = fixed_images(validation, settings)
        self._writer, self._epochs, self._goes_on = writer, 0, True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epochs = epoch + 1
        if self._epochs & epoch == 0:  # a power of two
            self._show("heatmaps/by epoch", f"After epoch {self._epochs}")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Keras calls the training's own callbacks first, so the best epoch's weights are back in place."""
        epochs = f", after {counted(self._epochs, 'epoch')}" if self._epochs else ""  # none where all were done before
        self._show("heatmaps/kept weights", f"The weights that are kept{epochs}")

    def _show(self, tag: str, title: str) -> None:
        if not self._goes_on:
            return
        try:
            with self._writer.as_default():
                tf.summary.image(tag, pixels(self._figure(title))[np.newaxis], step=self._epochs)
            self._writer.flush()
        except EXPECTED as error:
            self._goes_on = False
            self._say(f"note: no more heatmaps in TensorBoard for this training: {kind_and_line(error, 300)}")

    def _figure(self, title: str) -> Figure:
        """The images, and what speaks for each one's true class."""
        probabilities = np.asarray(self._network(model_inputs(self._network, self._inputs), training=False))
        heats = grad_cam(self._network, self._inputs, self._truth, self._layer)
        names = [self._classes[index] for index in self._truth]
        sure = probabilities[np.arange(len(names)), self._truth]
        return heat_rows(
            title,
            self._inputs["image"][..., 0],  # of every recipe the grey image
            [f"truth: {name}" for name in names],
            heats,
            [f"p({name}) = {share:.2f}{_remark(heat)}" for name, share, heat in zip(names, sure, heats, strict=True)],
            self._caption,
        )


def _remark(heat: np.ndarray) -> str:
    """Why an image stands without heat."""
    if not heat.any():
        return "\nnothing speaks for it"
    return f"\n{UNIFORM}" if is_uniform(heat) else ""


def fixed_images(validation: pd.DataFrame, settings: InputSettings) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The same few images always, as the network takes them, and the index of each one's class.

    One of each class, then a second of each, by ``sample_id``.
    """
    table = validation.sort_values("sample_id", kind="stable")
    order = (table["label"].map(settings.class_names.index), table.groupby("label").cumcount())
    table = table.iloc[np.lexsort(order)]
    chosen = table[:IMAGES]
    if "other_view" in settings.inputs:
        others = table[table["patient_id"].isin(chosen["patient_id"])]
        table = pd.concat([chosen, others]).drop_duplicates("sample_id")
    else:
        table = chosen
    dataset = evaluation_dataset(table, settings).unbatch().take(len(chosen)).batch(len(chosen))
    inputs, labels = next(iter(dataset.as_numpy_iterator()))
    return inputs, labels.argmax(axis=1)


def model_graph(model: keras.Model) -> tf.compat.v1.GraphDef:
    """One node a layer, with its kind, output shape and number of parameters, and the connections between them.

    Tracing the network would show thousands of operations, and Keras' own summary shows no groups. A layer stands in
    the groups of the blocks that its name starts with: ``conv2_block1_0_bn`` in ``conv2/conv2_block1``.

    Args:
        model: functional; each layer is called once.
    """
    graph = tf.compat.v1.GraphDef()
    makers: dict[int, str] = {}  # the node that each tensor comes from
    for layer in model.operations:
        parts = layer.name.split("_")
        blocks = next((n for n, part in enumerate(parts[:-1]) if not BLOCK.fullmatch(part)), len(parts) - 1)
        name = "/".join([*("_".join(parts[: n + 1]) for n in range(blocks)), layer.name])
        taken = [] if isinstance(layer, keras.layers.InputLayer) else keras.tree.flatten(layer.input)
        made = keras.tree.flatten(layer.output)
        node = graph.node.add(name=name, op=type(layer).__name__, input=[makers[id(tensor)] for tensor in taken])
        node.attr["_output_shapes"].list.shape.extend(tf.TensorShape(tensor.shape).as_proto() for tensor in made)
        if isinstance(layer, keras.layers.Layer):
            node.attr["parameters"].i = layer.count_params()
            node.attr["trainable"].b = layer.trainable
        makers |= {id(tensor): name for tensor in made}
    return graph
