"""Whether a folder holds the official weight files of the backbones; without TensorFlow."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from mmdc_tf.errors import WeightsError, did_you_mean

WITHOUT_FOLDER = ("none", "imagenet")


def require_weights(weights: str, backbones: Iterable[str]) -> None:
    """Refuses a value of ``--weights`` that cannot be used.

    Args:
        weights: ``"none"``, ``"imagenet"`` or a folder.
        backbones: names; those that ``backbones.toml`` does not list are passed over.

    Raises:
        WeightsError: it is no folder, or lacks files; names them all.
    """
    folder = Path(weights).expanduser()
    if weights in WITHOUT_FOLDER:
        return
    if not folder.is_dir():
        hint = did_you_mean(weights, WITHOUT_FOLDER, "Correct the path, or use --weights none (random weights).")
        raise WeightsError(
            f"Expected imagenet, none or a folder of weight files. Received: --weights {weights} (no such folder). "
            f"{hint}"
        )
    text = resources.files("mmdc_tf").joinpath("models/backbones.toml").read_text(encoding="utf-8")
    files = {entry["name"]: entry["weights_file"] for entry in tomllib.loads(text)["backbone"]}
    wanted = {name: files[name] for name in sorted(set(backbones)) if name in files}
    missing = [f"{file} for {name}" for name, file in wanted.items() if not (folder / file).is_file()]
    if missing:
        raise WeightsError(
            f"Expected the file{'s' * (len(missing) > 1)} {', '.join(missing)}. Received: --weights {weights} without "
            f"{'them' if len(missing) > 1 else 'it'}. Put the official keras-applications files there, or use "
            "--weights none (random initialisation)."
        )
