"""Checks of the arguments that the layers share; each raises ConfigurationError, with the argument's name."""

from __future__ import annotations

from mmdc_tf.errors import ConfigurationError


def require_whole_number(name: str, value: int, minimum: int = 1) -> int:
    """Returns the value if it is a whole number of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ConfigurationError(
            f"Expected {name} to be a whole number of at least {minimum}. Received: {name}={value!r}. "
            f"Pass an int such as {name}={minimum}."
        )
    return value


def require_whole_numbers(**values: int) -> None:
    """As ``require_whole_number``, for several arguments of at least 1."""
    for name, value in values.items():
        require_whole_number(name, value)


def require_rate(name: str, value: float) -> float:
    """Returns the value if it is a dropout rate, 0 ≤ value < 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < 1.0:
        raise ConfigurationError(
            f"Expected {name} to be a number of at least 0 and below 1. Received: {name}={value!r}. "
            f"Pass the share to drop, such as {name}=0.1."
        )
    return float(value)


def require_last_axis(layer: str, shape: tuple[int | None, ...]) -> int:
    """Returns the length of a shape's last axis (channels or features), which decides a layer's weights."""
    size = shape[-1]
    if size is None:
        raise ConfigurationError(
            f"Expected {layer} to be given an input whose last axis has a fixed length. Received: shape={shape}. "
            "Give the length where the model's input is declared."
        )
    return size
