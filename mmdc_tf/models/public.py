"""The models as functions: ``mmdc_tf.models.MMDCNet``, ``BCDNet``, and ``build`` for any row of the paper's tables."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mmdc_tf.layers.metadata_embedding import adapt_metadata
from mmdc_tf.models.backbones import freeze_statistics, get_backbone, resolve_weights
from mmdc_tf.models.registry import ModelSettings, build_model, look_up

TABLES = ("table1", "table2", "figure3")


def BCDNet(
    backbone: str = "densenet121", num_classes: int = 3, weights: str | Path | None = None, image_size: int = 224
) -> keras.Model:
    """BCDNet: backbone, spatial self-attention, global average pooling, softmax.

    Args:
        backbone: a registered backbone. The paper's α is ``"densenet121"``, β ``"efficientnetb0"``, γ ``"vgg16"``;
            ``mmdc_tf.models.BACKBONES`` has them all.
        num_classes: units of the softmax.
        weights: ``"imagenet"`` to download, a folder that holds the official files, or None for random weights. With
            pretrained ones the backbone's BatchNormalization stays in inference mode: in a short ``fit`` its moving
            averages would lag behind the weights (docs/recipe.md).
        image_size: height and width of the input, in pixels.

    Input shape:
        ``{"image": (batch, image_size, image_size, 3)}``, float32 RGB in [0, 255]: scaling is inside.

    Output shape:
        ``(batch, num_classes)``, float32 probabilities.

    Returns:
        A functional ``keras.Model``, not yet compiled.

    Raises:
        ConfigurationError: the backbone is unknown, or the images are too small for it.
        WeightsError: the weights cannot be had; it never falls back to random ones.

    Reference:
        "Deep Multi-modal Breast Cancer Detection Network", section II-A and Table I.

    Example:
        >>> import mmdc_tf, numpy as np
        >>> model = mmdc_tf.models.BCDNet("mobilenet", num_classes=3, image_size=64)
        >>> model.predict({"image": np.zeros((1, 64, 64, 3), "float32")}, verbose=0).shape
        (1, 3)
    """
    return _built("bcdnet", num_classes, weights, image_size, backbone=backbone)


def MMDCNet(
    backbone: str = "densenet201",
    num_classes: int = 3,
    weights: str | Path | None = None,
    image_size: int = 224,
    metadata: np.ndarray | None = None,
) -> keras.Model:
    """MMDCNet: image tokens and one clinical token of age and density, fused by multi-head self-attention.

    Args:
        backbone, num_classes, weights, image_size: as for ``BCDNet``; the paper's α is ``"densenet201"``.
        metadata: float (n, 2), age in years and density 1 to 4 of the training part, NaN where unknown: their mean and
            standard deviation go into the model. None leaves that to ``model.get_layer("metadata_embedding").adapt``.

    Input shape:
        ``{"image": (batch, image_size, image_size, 3), "metadata": (batch, 2)}``: float32 RGB in [0, 255]; age in years
        and BI-RADS density 1 to 4 as they are, NaN where unknown.

    Output shape:
        ``(batch, num_classes)``, float32 probabilities.

    Returns:
        A functional ``keras.Model``, not yet compiled.

    Raises:
        ConfigurationError, WeightsError: as ``BCDNet``.

    Reference:
        "Deep Multi-modal Breast Cancer Detection Network", section II-B, Fig. 2 and Table II.

    Example:
        >>> import mmdc_tf, numpy as np
        >>> model = mmdc_tf.models.MMDCNet("mobilenet", image_size=64, metadata=np.array([[45.0, 2.0], [70.0, np.nan]]))
        >>> images, metadata = np.zeros((1, 64, 64, 3), "float32"), np.array([[58.0, np.nan]], "float32")
        >>> model.predict({"image": images, "metadata": metadata}, verbose=0).shape
        (1, 3)
    """
    model = _built("mmdcnet", num_classes, weights, image_size, backbone=backbone)
    if metadata is not None:
        adapt_metadata(model, metadata)
    return model


def build(
    row: str, num_classes: int = 3, weights: str | Path | None = None, image_size: int = 224, **changes: Any
) -> keras.Model:
    """The network of a row of Table I, Table II or Fig. 3, by the row's name.

    Args:
        row: as ``mmdc-tf run --list`` prints it, for example ``"uzen_vgg16"`` or ``"mmdcnet_alpha"``.
        num_classes, weights, image_size: as for ``BCDNet``.
        changes: arguments of the row's builder to replace, for example ``backbone="mobilenet"``.

    Returns:
        A functional ``keras.Model``, not yet compiled; inputs as for ``MMDCNet``, without what it does not take.

    Raises:
        ConfigurationError: no row with a network has this name.
        WeightsError: the weights cannot be had.

    Example:
        >>> import mmdc_tf
        >>> mmdc_tf.models.build("convmixer", image_size=64).output_shape
        (None, 3)
    """
    rows = _rows()
    entry = rows[look_up("row", row, rows)]
    return _built(entry["model"], num_classes, weights, image_size, **{**entry.get("arguments", {}), **changes})


def _built(name: str, classes: int, weights: str | Path | None, size: int, **arguments: Any) -> keras.Model:
    backbone = arguments.get("backbone")
    file = None if backbone is None or weights is None else resolve_weights(backbone, str(weights))
    model = build_model(name, ModelSettings(size, classes, file), **arguments)
    last = None if file is None or backbone is None else get_backbone(backbone).gradcam_layer
    if last in [layer.name for layer in model.layers]:
        freeze_statistics(model, str(last))
    return model


def _rows() -> dict[str, dict[str, Any]]:
    """Name → entry of every row that has a network, from the tables' data files."""
    folder = resources.files("mmdc_tf") / "experiments"
    tables = [tomllib.loads((folder / f"{name}.toml").read_text("utf-8")) for name in TABLES]
    return {row["name"]: row for table in reversed(tables) for row in table["row"] if "model" in row}
