"""Which devices train a fold: the first one, or all that this machine has."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from mmdc_tf.errors import ConfigurationError

ONE, ALL = "one", "all"
DEVICES = (ONE, ALL)


def find_strategy(
    devices: str, batch_size: int, jit: bool, say: Callable[[str], object] = print
) -> tf.distribute.MirroredStrategy | None:
    """What spreads each batch over the devices of this machine; None where one device trains.

    The batch stays the recipe's, and with it the learning rate: each device gets its part of the same batch, so that
    the training is the one of a single device (``mmdc_tf.training.spread_model``), faster.

    Args:
        devices: ``"one"``, or ``"all"``: every GPU, or every logical processor where there is no GPU.
        batch_size: images a step, all devices together.
        jit: whether steps are to be compiled with XLA.
        say: prints a line.

    Raises:
        ConfigurationError: an unknown word, more devices than images in a batch, or several devices with ``jit``.
    """
    if devices not in DEVICES:
        raise ConfigurationError(
            f"Expected devices to be one of {', '.join(DEVICES)}. Received: devices={devices!r}. Correct it."
        )
    if devices == ONE:
        return None
    found = [device.name for device in tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")]
    if len(found) == 1:
        say(f"note: all devices are one, {found[0]}: it trains as usual")
        return None
    if len(found) > batch_size:
        raise ConfigurationError(
            f"Expected at least one image of a batch for each device. Received: devices={len(found)}, "
            f"batch_size={batch_size}. Give a larger --batch-size, show fewer devices (CUDA_VISIBLE_DEVICES), or leave "
            "--devices all out."
        )
    if jit:
        raise ConfigurationError(
            f"Expected --jit on one device: XLA cannot compile a step of several. Received: devices={len(found)}, "
            "jit=True. Leave --jit or --devices all out."
        )
    say(f"{len(found)} devices train each fold together: {', '.join(found)}; {_shares(len(found), batch_size)}")
    return _strategy(tuple(found))


@functools.cache
def _strategy(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    """One for all networks of a process: a second would number its sums between devices as the first has."""
    return tf.distribute.MirroredStrategy(list(devices))


def _shares(devices: int, batch_size: int) -> str:
    least, most = batch_size // devices, -(-batch_size // devices)
    each = f"{least}" if least == most else f"{least} or {most}"
    return f"of a batch of {batch_size} images each gets {each}, and the learning rate stays"
