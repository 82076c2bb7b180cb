"""Vision Transformer (section II-B of the paper) and Swin Transformer (Table I, [10])."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.layers import ClassToken, InputScaling, PatchEmbedding, PatchMerging, SwinBlock
from mmdc_tf.layers.arguments import require_whole_numbers
from mmdc_tf.layers.swin import EPSILON
from mmdc_tf.layers.window_attention import fitting_window
from mmdc_tf.models.heads import image_input, pooled_probabilities, probabilities
from mmdc_tf.models.registry import ModelSettings, register_model

VIT_EPSILON = 1e-6  # of LayerNorm, as in the code that ViT was published with


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

    The tokens before the head are ``final_norm``, the class token first, then the patches row by row.

    Args:
        settings: image size (a multiple of ``patch``) and classes; the position embeddings depend on the size.
        patch: height and width of a patch in pixels.
        width: of a token; a multiple of ``heads``.
        depth: transformer blocks.
        heads: attention heads of a block.
        mlp: units of the hidden layer of a block's MLP.
    """
    require_whole_numbers(patch=patch, width=width, depth=depth, heads=heads, mlp=mlp)
    _require_multiple("image_size", settings.image_size, "patch", patch)
    _require_multiple("width", width, "heads", heads)
    images = image_input(settings)
    tokens = ClassToken(name="class_token")(_patch_tokens(images, patch, width))
    for number in range(1, depth + 1):
        tokens = _block(tokens, heads, mlp, f"block{number}")
    tokens = layers.LayerNormalization(epsilon=VIT_EPSILON, name="final_norm")(tokens)
    class_token = layers.Cropping1D((0, tokens.shape[1] - 1), name="final_class_token")(tokens)
    outputs = probabilities(layers.Flatten(name="features")(class_token), settings)
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
    normed = layers.LayerNormalization(epsilon=VIT_EPSILON, name=f"{name}_attention_norm")(tokens)
    attended = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")(normed, normed)
    tokens = layers.Add(name=f"{name}_attention_residual")([tokens, attended])
    hidden = layers.LayerNormalization(epsilon=VIT_EPSILON, name=f"{name}_mlp_norm")(tokens)
    hidden = layers.Dense(mlp, "gelu", name=f"{name}_mlp_hidden")(hidden)
    hidden = layers.Dense(width, name=f"{name}_mlp_output")(hidden)
    return layers.Add(name=f"{name}_mlp_residual")([tokens, hidden])


@register_model("swin", inputs=("image",))
def swin(
    settings: ModelSettings,
    embed: int = 96,
    depths: Sequence[int] = (2, 2, 6, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    window: int = 7,
    patch: int = 4,
) -> keras.Model:
    """Self-attention in windows that are shifted in every second block, on ever coarser maps; by default Swin-T.

    Definition: Z. Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", ICCV 2021,
    section 3. Patch embedding → one stage for each entry of ``depths``, patch merging between two → LayerNorm → mean
    over the tokens → Dense with softmax. It starts from random weights: Keras has no official ones, so
    ``settings.weights`` is not used.

    Assumed: that the "Swin Transformer" of Üzen et al. is Swin-T from random weights (its published 52.45 % is below
    the majority share of BUSI, 56 %); no stochastic depth (Swin-T was published with a rate of 0.2 on ImageNet); pixels
    scaled with the mean and standard deviation of ImageNet; patch embedding and last layer initialised by Glorot's
    uniform, the rest normally with standard deviation 0.02 as in the published code; and, where ``window`` does not
    divide a map's side, the largest smaller window that does, without a shift where one window covers the map.

    The last feature map is ``final_norm``: at 224 pixels 7 × 7 = 49 tokens of 768.

    Args:
        settings: image size (a multiple of ``patch``; multiples of 32 · ``window`` keep the published window in all
            of Swin-T's stages) and classes; the weights of the position bias depend on the size.
        embed: channels of the first stage; they double from stage to stage.
        depths: blocks of each stage.
        heads: attention heads of each stage; each divides the stage's channels.
        window: height and width of a window in positions, at most.
        patch: height and width of a patch in pixels.
    """
    _require_arguments(settings, embed, depths, heads, window, patch)
    images = image_input(settings)
    features = InputScaling("torch", name="input_scaling")(images)
    features = PatchEmbedding(embed, patch, name="patch_embedding")(features)
    for number, (depth, head_count) in enumerate(zip(depths, heads, strict=True), start=1):
        if number > 1:
            features = PatchMerging(name=f"stage{number}_merging")(features)
        features = _stage(features, depth, head_count, window, f"stage{number}")
    features = layers.LayerNormalization(epsilon=EPSILON, name="final_norm")(features)
    outputs = pooled_probabilities(features, settings)
    return keras.Model({"image": images}, outputs, name="swin")


def _stage(features: keras.KerasTensor, depth: int, heads: int, window: int, name: str) -> keras.KerasTensor:
    """Blocks with windows in turn unshifted and shifted by half a window; the map's shape stays."""
    window = fitting_window(features.shape[1], window)
    for number in range(1, depth + 1):
        shift = 0 if number % 2 else window // 2  # the layer shifts nothing where one window covers the map
        features = SwinBlock(heads, window, shift, name=f"{name}_block{number}")(features)
    return features


def _require_arguments(
    settings: ModelSettings, embed: int, depths: Sequence[int], heads: Sequence[int], window: int, patch: int
) -> None:
    require_whole_numbers(embed=embed, window=window, patch=patch)
    if not depths or len(depths) != len(heads):
        raise ConfigurationError(
            f"Expected depths and heads to have one entry for each stage. Received: depths={list(depths)}, "
            f"heads={list(heads)}. Take lists of one length, such as those of Swin-T: [2, 2, 6, 2], [3, 6, 12, 24]."
        )
    for name, values in {"depths": depths, "heads": heads}.items():
        require_whole_numbers(**{f"{name}[{position}]": value for position, value in enumerate(values)})
    _require_multiple("image_size", settings.image_size, "patch", patch)
