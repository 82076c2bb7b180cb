"""The environment of the libraries that the benchmarks compare with: made once, again when requirements.txt changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mmdc_tf.errors import ConfigurationError

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
INSTALLED = "installed.txt"  # a copy of the requirements, written when all of them are there


def default_peers() -> Path:
    """``$XDG_CACHE_HOME/mmdc_tf/benchmark-peers``, or ``~/.cache/mmdc_tf/benchmark-peers``."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "mmdc_tf" / "benchmark-peers"


def peers_python(folder: Path) -> Path:
    """The Python of the peers' environment, which is made first where it is absent or of other requirements.

    Args:
        folder: absent, empty, or an environment that was made here.

    Raises:
        ConfigurationError: the folder holds something else; nothing of it is deleted.
        subprocess.CalledProcessError: pip failed, and said why.
    """
    folder = folder.expanduser().resolve()
    wanted, installed = REQUIREMENTS.read_text(encoding="utf-8"), folder / INSTALLED
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not installed.is_file() or installed.read_text(encoding="utf-8") != wanted:
        _make(folder, python)
        installed.write_text(wanted, encoding="utf-8")
    return python


def _make(folder: Path, python: Path) -> None:
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
            raise ConfigurationError(
                f"Expected a folder for the peers' environment that is new or empty. Received: peers={folder} with "
                "other files. Choose another folder."
            )
        shutil.rmtree(folder)
    print(f"making the peers' environment in {folder}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS]
    subprocess.run([str(part) for part in install], check=True, stdout=sys.stderr)
