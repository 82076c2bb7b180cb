"""The backbones for a test that takes seconds for each: one of each family, or all with ``MMDC_TF_ALL_BACKBONES=1``."""

from __future__ import annotations

import os

from mmdc_tf.models import BACKBONES

DEEPER = {"densenet121": "densenet201", "resnet50": "resnet101", "vgg16": "vgg19"}
"""Same kinds of blocks, cuts at the same stages, same last layer; tests/models/test_backbones.py checks all."""


def one_of_each_family() -> list[str]:
    if os.environ.get("MMDC_TF_ALL_BACKBONES"):
        return sorted(BACKBONES)
    return sorted(set(BACKBONES) - set(DEEPER.values()))


def of_the_papers_models() -> list[str]:
    """Of the families of BCDNet and MMDCNet; models/test_frozen_part.py looks at the others' parts without training."""
    if os.environ.get("MMDC_TF_ALL_BACKBONES"):
        return sorted(BACKBONES)
    return ["densenet121", "efficientnetb0", "vgg16"]
