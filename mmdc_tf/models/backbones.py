"""Backbones of ``keras.applications``, with what belongs to them: scaling, cuts, weights, Grad-CAM layer."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import keras

from mmdc_tf.errors import ConfigurationError, WeightsError
from mmdc_tf.layers import InputScaling
from mmdc_tf.models.registry import add_entry, look_up

WEIGHTS_HOST = "https://storage.googleapis.com/"


@dataclass(frozen=True)
class Backbone:
    """One image backbone; those of ``keras.applications`` stand in ``backbones.toml``.

    Args:
        name: the registered name.
        builder: the function of ``keras.applications``.
        scaling: the mode of ``InputScaling`` that its ImageNet weights were trained with; ``"none"`` where the
            network scales inside itself.
        cuts: layers, early to late, up to which it may be frozen; names that Keras does not number by itself.
        gradcam_layer: the last feature map.
        weights_folder, weights_file, weights_md5: the official ImageNet weights without head; no checksum where
            Keras publishes none.
        smallest_size: the smallest image that it takes.
        variance_is_deviation: EfficientNet's files hold a standard deviation where Keras divides by the root of
            a variance (tensorflow issue 49930); Keras mends it only for ``weights="imagenet"``, so we do for files.
    """

    name: str
    builder: Callable[..., keras.Model]
    scaling: str
    cuts: tuple[str, ...]
    gradcam_layer: str
    weights_folder: str
    weights_file: str
    weights_md5: str | None = None
    smallest_size: int = 32
    variance_is_deviation: bool = False


BACKBONES: dict[str, Backbone] = {}


def register_backbone(backbone: Backbone) -> None:
    """Adds a backbone; ``ConfigurationError`` where the name is taken."""
    add_entry("backbone", BACKBONES, backbone)


def get_backbone(name: str) -> Backbone:
    """The backbone of this name; ``ConfigurationError`` where there is none."""
    return BACKBONES[look_up("backbone", name, BACKBONES)]


def feature_map(name: str, images: keras.KerasTensor, weights: Path | None) -> keras.KerasTensor:
    """A backbone's last feature map, (batch, h, w, channels); arguments and errors as for ``feature_maps``."""
    return feature_maps(name, images, weights, (get_backbone(name).gradcam_layer,))[0]


def feature_maps(
    name: str, images: keras.KerasTensor, weights: Path | None, layers: tuple[str, ...]
) -> list[keras.KerasTensor]:
    """Builds a backbone on the model's own input, so that each of its layers stays reachable by name.

    Args:
        name: a registered backbone.
        images: float32 (batch, S, S, 3) RGB in [0, 255].
        weights: the official file without head, or None for random weights.
        layers: names of its layers; what comes after the last of them is no part of a model made from the outputs.

    Returns:
        The outputs of these layers, (batch, h, w, channels) each.

    Raises:
        ConfigurationError: unknown backbone or layer, or an image too small for it.
        WeightsError: the file does not fit.
    """
    backbone = get_backbone(name)
    if images.shape[1] < backbone.smallest_size:
        raise ConfigurationError(
            f"Expected images of at least {backbone.smallest_size} pixels for {name}. "
            f"Received: image_size={images.shape[1]}. Use a larger --image-size."
        )
    scaled = InputScaling(backbone.scaling, name="input_scaling")(images)
    network = backbone.builder(include_top=False, weights=None, input_tensor=scaled)
    if weights is not None:
        _load_weights(network, backbone, weights)
    return [_layer(network, layer).output for layer in layers]


def resolve_weights(name: str, weights: str) -> Path | None:
    """Finds the weight file of a backbone, before anything is built or trained.

    Args:
        name: a registered backbone.
        weights: ``"none"`` for random weights, ``"imagenet"`` to download, or a folder that holds the official
            keras-applications files.

    Returns:
        The file, or None for random weights.

    Raises:
        WeightsError: the download failed or the folder lacks the file; never a silent fall-back.
    """
    backbone = get_backbone(name)
    if weights == "none":
        return None
    if weights == "imagenet":
        return _download(backbone)
    file = Path(weights).expanduser() / backbone.weights_file
    if not file.is_file():
        raise WeightsError(
            f"Expected the file {backbone.weights_file} for {name}. "
            f"Received: --weights {weights} without it. Put the official keras-applications files there, or use "
            "--weights none (random initialisation)."
        )
    return file


def freeze_through(model: keras.Model, cut: str) -> None:
    """Freezes the layer ``cut`` and all layers before it, which then run in inference mode.

    Keras lets frozen BatchNormalization infer, but goes on dropping in frozen Dropout (EfficientNet's stochastic
    depth): their rate becomes 0, so that an image gives the same features in every step.

    Raises:
        ConfigurationError: the model has no such layer.
    """
    for layer in keras.Model(model.inputs, require_layer(model, cut).output).layers:
        layer.trainable = False
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0


def freeze_statistics(model: keras.Model, layer: str) -> None:
    """Puts the BatchNormalization of a pretrained backbone into inference mode, its scale and shift with it.

    A few images a step give poor statistics, and measuring them takes a pass over the training part (docs/recipe.md).
    ``layer`` is the backbone's last.
    """
    for one in keras.Model(model.inputs, model.get_layer(layer).output).layers:
        if isinstance(one, keras.layers.BatchNormalization):
            one.trainable = False


def require_layer(model: keras.Model, cut: str) -> keras.layers.Layer:
    """The layer of this name, up to which a model is frozen; ``ConfigurationError``, with the cuts, if it has none."""
    names = [layer.name for layer in model.layers]
    if cut not in names:
        raise ConfigurationError(
            f"Expected a layer of the model to freeze up to. Received: cut={cut!r}. "
            f"The backbone's cuts: {', '.join(sorted({c for b in BACKBONES.values() for c in b.cuts} & set(names)))}."
        )
    return model.get_layer(cut)


def _download(backbone: Backbone) -> Path:
    try:
        file = keras.utils.get_file(
            backbone.weights_file,
            WEIGHTS_HOST + backbone.weights_folder + backbone.weights_file,
            cache_subdir="models",
            file_hash=backbone.weights_md5,
        )
    except Exception as error:  # get_file raises a bare Exception for every network failure
        raise WeightsError(
            f"Expected to download the ImageNet weights of {backbone.name}. Received: {error}. "
            f"Use --weights DIR with a folder that holds {backbone.weights_file}, "
            "or --weights none for random initialisation."
        ) from error
    return Path(file)


def _layer(network: keras.Model, name: str) -> keras.layers.Layer:
    if name not in [layer.name for layer in network.layers]:
        raise ConfigurationError(
            f"Expected a layer of {network.name}. Received: layer={name!r}. Its feature map is one of the layers that "
            "network.summary() prints."
        )
    return network.get_layer(name)


def _load_weights(network: keras.Model, backbone: Backbone, weights: Path) -> None:
    try:
        network.load_weights(str(weights))
    except (ValueError, OSError, KeyError) as error:
        raise WeightsError(
            f"Expected the official weights {backbone.weights_file} for {backbone.name}. "
            f"Received: {weights} ({str(error).splitlines()[0]}). Fetch the file again."
        ) from error
    if backbone.variance_is_deviation:
        layer = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
        layer.adapt_variance.assign(keras.ops.square(layer.adapt_variance))
        layer.finalize_state()


for _entry in tomllib.loads(resources.files(__package__).joinpath("backbones.toml").read_text("utf-8"))["backbone"]:
    _builder, _cuts = getattr(keras.applications, _entry.pop("builder")), tuple(_entry.pop("cuts"))
    register_backbone(Backbone(builder=_builder, cuts=_cuts, **_entry))
