"""The models of the paper and its comparators; importing this package registers them all."""

from mmdc_tf.models import bcdnet, mmdcnet
from mmdc_tf.models.backbones import BACKBONES, feature_map, freeze_through, resolve_weights
from mmdc_tf.models.comparators import backbone_classifier
from mmdc_tf.models.registry import MODELS, ModelSettings, build_model, register_model

__all__ = [
    "BACKBONES",
    "MODELS",
    "ModelSettings",
    "backbone_classifier",
    "bcdnet",
    "build_model",
    "feature_map",
    "freeze_through",
    "mmdcnet",
    "register_model",
    "resolve_weights",
]
