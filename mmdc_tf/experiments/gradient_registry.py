"""A leak of TensorFlow: each traced training step stays in its registry of custom gradients, with all weights.

An optimiser's all-reduce, which Keras calls for one device too, is a custom gradient; in a graph it is registered
under a new name and never removed. Ten networks in one process would keep ten sets of weights and optimiser moments.
TensorFlow has no public way to remove an entry; where its internals change, nothing is removed and nothing breaks.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

import keras

PREFIX = "CustomGradient-"


def custom_gradients() -> set[str]:
    """The names of all custom gradients that graphs of this process have registered so far."""
    return {name for name in _registry() if name.startswith(PREFIX)}


def forget_gradients(names: Iterable[str]) -> None:
    """Removes entries; only those of networks that are not differentiated any more may be given."""
    registry = _registry()
    for name in names:
        registry.pop(name, None)


def clear_networks(before: set[str]) -> None:
    """Gives back the memory of networks that nothing refers to any more.

    Args:
        before: as ``custom_gradients`` gave them before these networks were built.
    """
    forget_gradients(custom_gradients() - before)
    keras.utils.clear_session(free_memory=True)
    gc.collect()


def _registry() -> dict[str, Any]:
    try:
        from tensorflow.python.framework.ops import gradient_registry
    except ImportError:
        return {}
    return getattr(gradient_registry, "_registry", {})
