"""MMDCNet: mammogram, age and density fused by self-attention (paper, section II-B, Fig. 2 and Table II)."""

from __future__ import annotations

import keras

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import DoubleConvSE, TokenFusion
from mmdc_tf.models.backbones import feature_map
from mmdc_tf.models.clinical_head import clinical_embedding, dense_probabilities, metadata_input
from mmdc_tf.models.image_head import image_input
from mmdc_tf.models.registry import ModelSettings, register_model

TOKEN_WIDTH = 128  # "projected into a 128-dimensional space", section II-B.1.a
SMALLEST_MAP = 2  # adaptive pooling averages windows of two positions and more
HEADS = 8  # "a self attention mechanism with eight heads", section II-B.1.a


@register_model("mmdcnet", inputs=("image", "metadata"))
def mmdcnet(
    settings: ModelSettings,
    backbone: str = "densenet201",
    conv_filters: int = 256,
    grid: int = 4,
    clinical_width: int = 64,
    clinical_dropout: float = 0.2,
    head_width: int = 128,
    head_dropout: float = 0.3,
) -> keras.Model:
    """Image tokens and one clinical token under multi-head self-attention.

    Image: backbone → DoubleConv+SE → adaptive average pooling to ``grid`` × ``grid`` → tokens of width 128.
    Clinical: age and density → embedding with a learned unknown → Dense-BN-ReLU-Dropout → Dense(128) → one token.
    Fusion: eight heads over all tokens, residual and LayerNorm; mean image token ‖ clinical token → Dense-ReLU-Dropout
    → softmax. α is DenseNet-201, β EfficientNetB0, γ VGG16. All widths but 128, the grid and the dropout rates are
    our assumptions: the paper gives none.

    Args:
        settings: image size, classes, weight file.
        backbone: a registered backbone.
        conv_filters: channels of the DoubleConv+SE module.
        grid: height and width of the grid of image tokens.
        clinical_width, clinical_dropout: of the fully connected network of the metadata.
        head_width, head_dropout: of the fully connected layers after fusion.

    Returns:
        A functional model: {"image": float32 (batch, S, S, 3) in [0, 255], "metadata": float32 (batch, 2) raw age in
        years and density 1 to 4, NaN = unknown} → probabilities (batch, classes).

    Raises:
        ConfigurationError: unknown backbone, or an image too small for it.
        WeightsError: the weight file does not fit.
    """
    images = image_input(settings)
    metadata = metadata_input()
    image_tokens = _image_tokens(feature_map(backbone, images, settings.weights), conv_filters, grid)
    clinical_token = _clinical_token(metadata, clinical_width, clinical_dropout)
    tokens = keras.layers.Concatenate(axis=1, name="tokens")([clinical_token, image_tokens])
    fused = TokenFusion(heads=HEADS, width=TOKEN_WIDTH, name="fusion")(tokens)
    outputs = _head(fused, settings.class_count, head_width, head_dropout)
    return keras.Model({"image": images, "metadata": metadata}, outputs, name=f"mmdcnet_{backbone}")


def _image_tokens(features: keras.KerasTensor, filters: int, grid: int) -> keras.KerasTensor:
    """(batch, h, w, C) → (batch, grid², 128)."""
    if features.shape[1] < SMALLEST_MAP:
        raise ConfigurationError(
            f"Expected images that leave a feature map of at least {SMALLEST_MAP} by {SMALLEST_MAP} positions. "
            f"Received: {features.shape[1]} by {features.shape[2]}. Use a larger --image-size."
        )
    refined = DoubleConvSE(filters, name="double_conv_se")(features)
    pooled = keras.layers.AdaptiveAveragePooling2D(grid, name="adaptive_pool")(refined)
    cells = keras.layers.Reshape((grid * grid, filters), name="image_cells")(pooled)
    return keras.layers.Dense(TOKEN_WIDTH, name="image_tokens")(cells)


def _clinical_token(metadata: keras.KerasTensor, width: int, dropout: float) -> keras.KerasTensor:
    """(batch, 2) raw → (batch, 1, 128)."""
    embedding = clinical_embedding(metadata, width, dropout, TOKEN_WIDTH)
    return keras.layers.Reshape((1, TOKEN_WIDTH), name="clinical_token")(embedding)


def _head(tokens: keras.KerasTensor, class_count: int, width: int, dropout: float) -> keras.KerasTensor:
    """(batch, 1 + grid², 128) with the clinical token first → (batch, classes)."""
    count = tokens.shape[1]
    clinical = keras.layers.Cropping1D((0, count - 1), name="fused_clinical")(tokens)
    image = keras.layers.Cropping1D((1, 0), name="fused_image")(tokens)
    pooled = keras.layers.GlobalAveragePooling1D(name="image_pool")(image)
    joined = keras.layers.Concatenate(name="fused")([pooled, keras.layers.Flatten(name="clinical")(clinical)])
    return dense_probabilities(joined, class_count, width, dropout)
