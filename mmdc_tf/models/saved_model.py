"""Saved networks from disk, which may come from strangers: no code in them is run, nothing outside is read."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from mmdc_tf.errors import ConfigurationError, kind_and_line

CONFIG = "config.json"
MEMBERS = frozenset({"metadata.json", CONFIG, "model.weights.h5"})
"""All that Keras writes for a network without files of its own."""
MOST_EXPANSION, SMALL = 20, 200 * 2**20
"""Weights hardly compress: an archive may unpack to so many times its size, or to so many bytes."""
HOLD_CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
MODULES = ("keras", "mmdc_tf", "builtins")
"""Whose classes a network is made of; Keras takes no function of ``builtins`` that is not its own."""
_AGAIN = "Copy it from the training's folder again."
_NOT_RUN = "Code from a file could do anything on this machine, so it is not run: use a model that mmdc-tf run wrote."


def load_saved_model(file: Path) -> keras.Model:
    """Loads a network in Keras' safe mode, after a look at what the file holds.

    Keras from 3.15.1 refuses by itself what lies deeper: weights that are kept in other files, links, and weights
    that claim more than is stored (CVE-2026-1669, CVE-2026-0897).

    Args:
        file: as ``model.save("….keras")`` writes it.

    Raises:
        ConfigurationError: it is no such archive, holds more than a network, unpacks to far more than its size, holds
            code, names a class of another package, or Keras cannot load it. The message says which.
    """
    try:
        _require_plain(file)
        return keras.models.load_model(file, compile=False)  # safe mode, the default
    except ConfigurationError:
        raise
    except Exception as error:  # Keras raises errors of many classes on files that it did not write
        raise _refused(file, kind_and_line(error, 400), _AGAIN) from error


def _require_plain(file: Path) -> None:
    if not zipfile.is_zipfile(file):
        raise _refused(file, "empty, cut off, or no .keras archive", _AGAIN)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        others = [one.filename for one in members if one.filename not in MEMBERS]
        if others:
            raise _refused(
                file,
                f"{others[0][:100]!r}, one of {len(others):,} that are no part of a network",
                "Use a model that mmdc-tf run wrote.",
            )
        size = sum(one.file_size for one in members)
        if size > max(SMALL, MOST_EXPANSION * file.stat().st_size):
            raise _refused(file, f"unpacks to {size // 2**20:,} MB, far more than weights do", _AGAIN)
        _require_no_code(file, json.loads(archive.read(CONFIG)))


def _require_no_code(file: Path, config: Any) -> None:
    for part in _parts(config):
        module, name = part.get("module"), part["class_name"]
        if name in HOLD_CODE:
            raise _refused(file, f"a layer {name}, which holds code", _NOT_RUN)
        if module is not None and str(module).partition(".")[0] not in MODULES:
            raise _refused(file, f"a part {module}.{name}"[:200], _NOT_RUN)


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """All that names a class, at any depth."""
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "class_name" in one:
                yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _refused(file: Path, reason: str, advice: str) -> ConfigurationError:
    return ConfigurationError(f"Expected a model that Keras can load. Received: {file} ({reason}). {advice}")
