"""The package's own Keras layers. Importing this folder registers them for ``keras.models.load_model``."""

from mmdc_tf.layers.double_conv import DoubleConv, DoubleConvSE, SqueezeExcitation
from mmdc_tf.layers.fusion import ClassToken, TokenFusion
from mmdc_tf.layers.input_scaling import InputScaling
from mmdc_tf.layers.metadata_embedding import ClinicalMask, MetadataEmbedding
from mmdc_tf.layers.self_attention import SpatialSelfAttention
from mmdc_tf.layers.swin import PatchEmbedding, PatchMerging, SwinBlock
from mmdc_tf.layers.two_views import JoinViews, StackViews
from mmdc_tf.layers.window_attention import WindowAttention

__all__ = [
    "ClassToken",
    "ClinicalMask",
    "DoubleConv",
    "DoubleConvSE",
    "InputScaling",
    "JoinViews",
    "MetadataEmbedding",
    "PatchEmbedding",
    "PatchMerging",
    "SpatialSelfAttention",
    "SqueezeExcitation",
    "StackViews",
    "SwinBlock",
    "TokenFusion",
    "WindowAttention",
]
