"""The models of the paper and its comparators; importing this package registers them all."""

from mmdc_tf.models import ablations, bcdnet, mmdcnet
from mmdc_tf.models.backbones import BACKBONES, feature_map, freeze_through, resolve_weights
from mmdc_tf.models.comparators import (
    backbone_classifier,
    brint_cnn,
    convmixer,
    densenets,
    medfuse,
    sw_forknet,
    swin,
    two_view,
    vgg_like,
    vit,
)
from mmdc_tf.models.registry import MODELS, ModelSettings, build_model, register_model

__all__ = [
    "BACKBONES",
    "MODELS",
    "ModelSettings",
    "ablations",
    "backbone_classifier",
    "bcdnet",
    "brint_cnn",
    "build_model",
    "convmixer",
    "densenets",
    "feature_map",
    "freeze_through",
    "medfuse",
    "mmdcnet",
    "register_model",
    "resolve_weights",
    "sw_forknet",
    "swin",
    "two_view",
    "vgg_like",
    "vit",
]
