"""What a run folder was made with: settings that must stay, and the machine."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from mmdc_tf.errors import ConfigurationError
from mmdc_tf.io import read_json, write_json

PACKAGES = ("mmdc_tf", "tensorflow", "keras", "numpy", "pandas", "opencv-python", "scikit-learn", "ImageHash")


def require_same(path: Path, content: dict[str, Any]) -> None:
    """Writes ``content`` where the file is absent; where it is there it must say the same.

    Raises:
        ConfigurationError: names what differs.
    """
    stored = read_json(path)
    if stored is None:
        write_json(path, content)
        return
    before, now = _flat(stored), _flat(json.loads(json.dumps(content)))
    differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if differing:
        changes = "; ".join(f"{key}: {before.get(key)!r} → {now.get(key)!r}" for key in differing)
        raise ConfigurationError(
            f"Expected the configuration and dataset that {path.parent} was made with. Received: {changes}. "
            "Use another --output, the same options, or --fresh to start over."
        )


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"training": {"epochs": 4}}`` as ``{"training.epochs": 4}``: a message then names what differs and no more."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def set_aside(folder: Path) -> Path | None:
    """Renames an earlier result so that a fresh run loses nothing; returns its new place."""
    if not folder.exists():
        return None
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    return folder.rename(folder.with_name(f"{folder.name}.before-{stamp}"))


def environment(fingerprint: str) -> dict[str, Any]:
    """Versions, machine, git revision and the dataset's fingerprint."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_revision": _git_revision(),
        "dataset_fingerprint": fingerprint,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """The revision of the checkout that the package runs from; None for an installed package."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
