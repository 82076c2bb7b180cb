"""The models of the paper and its comparators; importing this package registers them all."""

from mmdc_tf.models import bcdnet, mmdcnet
from mmdc_tf.models.backbones import BACKBONES, feature_map, freeze_statistics, freeze_through, resolve_weights
from mmdc_tf.models.comparators import convolutional, densenets, several_inputs, sw_forknet, transformers
from mmdc_tf.models.public import BCDNet, MMDCNet, build
from mmdc_tf.models.registry import MODELS, ModelSettings, build_model, register_model

__all__ = [
    "BACKBONES",
    "MODELS",
    "BCDNet",
    "MMDCNet",
    "ModelSettings",
    "bcdnet",
    "build",
    "build_model",
    "convolutional",
    "densenets",
    "feature_map",
    "freeze_statistics",
    "freeze_through",
    "mmdcnet",
    "register_model",
    "resolve_weights",
    "several_inputs",
    "sw_forknet",
    "transformers",
]
