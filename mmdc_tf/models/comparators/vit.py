"""Vision Transformer, which section II-B of the paper names and no table of it shows."""

from __future__ import annotations

import keras
from keras import layers

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import ClassToken, InputScaling
from mmdc_tf.layers.arguments import require_whole_number
from mmdc_tf.models.image_head import image_input
from mmdc_tf.models.registry import ModelSettings, register_model

EPSILON = 1e-6  # of LayerNorm, as in the code that ViT was published with


@register_model("vit", inputs=("image",))
def vit(
    settings: ModelSettings, patch: int = 16, width: int = 768, depth: int = 12, heads: int = 12, mlp: int = 3072
) -> keras.Model:
    """Patches as tokens under self-attention, a class token before them; by default ViT-B/16.

    Definition: A. Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
    ICLR 2021, section 3.1. Patch embedding → class token and learned position embeddings → ``depth`` times
    {x + attention(LayerNorm(x)), then x + MLP(LayerNorm(x))}, the MLP with exact GELU → LayerNorm → Dense with softmax
    on the class token. It starts from random weights: KerasHub's ImageNet weights are not wired in, so
    ``settings.weights`` is not used.

    Assumed: that the "Vision Transformer" of section II-B is ViT-B/16; no dropout; pixels scaled to [−1, 1]; Glorot's
    uniform initialisation throughout, also of the last layer, which that paper starts at zero.

    Args:
        settings: image size (a multiple of ``patch``) and classes; the position embeddings depend on the size.
        patch: height and width of a patch in pixels.
        width: of a token; a multiple of ``heads``.
        depth: transformer blocks.
        heads: attention heads of a block.
        mlp: units of the hidden layer of a block's MLP.

    Returns:
        A functional model: image float32 (batch, S, S, 3) in [0, 255] → probabilities (batch, classes). The tokens
        before the head are ``final_norm``, the class token first, then the patches row by row.

    Raises:
        ConfigurationError: the image size is no multiple of ``patch``, ``width`` is none of ``heads``, or an argument
            is not a whole number of at least 1.
    """
    given = {"patch": patch, "width": width, "depth": depth, "heads": heads, "mlp": mlp}
    for name, value in given.items():
        require_whole_number(name, value)
    _require_multiple("image_size", settings.image_size, "patch", patch)
    _require_multiple("width", width, "heads", heads)
    images = image_input(settings)
    tokens = ClassToken(name="class_token")(_patch_tokens(images, patch, width))
    for number in range(1, depth + 1):
        tokens = _block(tokens, heads, mlp, f"block{number}")
    tokens = layers.LayerNormalization(epsilon=EPSILON, name="final_norm")(tokens)
    outputs = _class_probabilities(tokens, settings.class_count)
    return keras.Model({"image": images}, outputs, name="vit")


def _require_multiple(name: str, value: int, of: str, divisor: int) -> None:
    if value < divisor or value % divisor:
        raise ConfigurationError(
            f"Expected {name} to be a multiple of {of}. Received: {name}={value}, {of}={divisor}. "
            f"Take {name}={max(round(value / divisor), 1) * divisor}, or another {of}."
        )


def _patch_tokens(images: keras.KerasTensor, patch: int, width: int) -> keras.KerasTensor:
    """(batch, S, S, 3) in [0, 255] → (batch, (S / patch)², width), row by row."""
    scaled = InputScaling("tf", name="input_scaling")(images)
    embedded = layers.Conv2D(width, patch, strides=patch, name="patch_embedding")(scaled)
    return layers.Reshape((-1, width), name="patch_tokens")(embedded)


def _block(tokens: keras.KerasTensor, heads: int, mlp: int, name: str) -> keras.KerasTensor:
    """Attention, then the MLP: each with LayerNorm before it and a residual around both."""
    width = tokens.shape[-1]
    normed = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_attention_norm")(tokens)
    attended = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")(normed, normed)
    tokens = layers.Add(name=f"{name}_attention_residual")([tokens, attended])
    hidden = layers.LayerNormalization(epsilon=EPSILON, name=f"{name}_mlp_norm")(tokens)
    hidden = layers.Dense(mlp, "gelu", name=f"{name}_mlp_hidden")(hidden)
    hidden = layers.Dense(width, name=f"{name}_mlp_output")(hidden)
    return layers.Add(name=f"{name}_mlp_residual")([tokens, hidden])


def _class_probabilities(tokens: keras.KerasTensor, class_count: int) -> keras.KerasTensor:
    """The first of (batch, T + 1, width) → float32 (batch, classes)."""
    first = layers.Cropping1D((0, tokens.shape[1] - 1), name="final_class_token")(tokens)
    features = layers.Flatten(name="features")(first)
    return layers.Dense(class_count, "softmax", dtype="float32", name="probabilities")(features)
