"""Every argument of every layer survives its configuration."""

import inspect

import pytest

from mmdc_tf import layers

ARGUMENTS = {
    "ClassToken": {},
    "ClinicalMask": {"image_tokens": 3},
    "DoubleConv": {"filters": 6, "kernel_size": 5},
    "DoubleConvSE": {"filters": 6, "ratio": 2},
    "InputScaling": {"mode": "caffe"},
    "JoinViews": {},
    "MetadataEmbedding": {"width": 5},
    "PatchEmbedding": {"width": 6, "patch": 2},
    "PatchMerging": {},
    "SpatialSelfAttention": {"key_ratio": 4, "min_key_width": 3},
    "SqueezeExcitation": {"ratio": 2},
    "StackViews": {},
    "SwinBlock": {"heads": 2, "window": 5, "shift": 1, "mlp_ratio": 2},
    "TokenFusion": {"heads": 4, "width": 20, "dropout": 0.25},
    "WindowAttention": {"heads": 2, "window": 5, "shift": 1},
}


@pytest.mark.parametrize("name", layers.__all__)
def test_arguments_that_are_not_the_defaults_survive(name):
    layer_class, arguments = getattr(layers, name), ARGUMENTS[name]
    parameters = inspect.signature(layer_class).parameters
    assert arguments.keys() == parameters.keys() - {"kwargs"}
    assert all(parameters[key].default != value for key, value in arguments.items())
    layer = layer_class(**arguments, name="given", dtype="mixed_float16")
    revived = layer_class.from_config(layer.get_config())
    assert {key: getattr(revived, key) for key in arguments} == arguments
    assert (revived.name, revived.dtype_policy.name) == ("given", "mixed_float16")
    assert layer.get_config().items() >= arguments.items()
