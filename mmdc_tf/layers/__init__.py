"""The package's own Keras layers. Importing this folder registers them for ``keras.models.load_model``."""

from mmdc_tf.layers.double_conv import DoubleConv, DoubleConvSE
from mmdc_tf.layers.fusion import TokenFusion
from mmdc_tf.layers.input_scaling import InputScaling
from mmdc_tf.layers.metadata_embedding import MetadataEmbedding
from mmdc_tf.layers.self_attention import SpatialSelfAttention
from mmdc_tf.layers.squeeze_excitation import SqueezeExcitation

__all__ = [
    "DoubleConv",
    "DoubleConvSE",
    "InputScaling",
    "MetadataEmbedding",
    "SpatialSelfAttention",
    "SqueezeExcitation",
    "TokenFusion",
]
