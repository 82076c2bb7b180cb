"""The package's own Keras layers. Importing this folder registers them for ``keras.models.load_model``."""

from mmdc_tf.layers.class_token import ClassToken
from mmdc_tf.layers.clinical_mask import ClinicalMask
from mmdc_tf.layers.double_conv import DoubleConv, DoubleConvSE
from mmdc_tf.layers.fusion import TokenFusion
from mmdc_tf.layers.input_scaling import InputScaling
from mmdc_tf.layers.metadata_embedding import MetadataEmbedding
from mmdc_tf.layers.self_attention import SpatialSelfAttention
from mmdc_tf.layers.squeeze_excitation import SqueezeExcitation
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
